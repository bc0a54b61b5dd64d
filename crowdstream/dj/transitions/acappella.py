"""A cappella: the outgoing track's vocals over the incoming track's beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.track_features import VOCAL_THRESHOLD
from crowdstream.dj.transitions.base import (
    FADE_LEAD_BEATS,
    FADE_OUT_BEATS,
    Fit,
    TransitionContext,
    tempo_rows,
    tempo_strain,
)

KIND = "a cappella"
BARS: tuple[float, ...] = (8, 16)
LEAD_AT = 0.0
MELODY_OVERLAP = 1.0
BEATMATCHED = True
CHANGE_BEATS = 2.0  # fade of the outgoing beat


def fit(context: TransitionContext) -> Fit:
    """Rate it: needs a vocal stem that is active most of the time, and a compatible key."""
    if not context.out.has("vocals"):
        return Fit(0.0, "the vocals have no stem of their own")
    if context.out.stems_named_like_controls:
        return Fit(0.0, "a stem has the name of another control")
    features = context.out.features
    bars = features.bars(context.out.at(0), context.out.at(context.beats))
    sung = sum(features.voice[bar] > VOCAL_THRESHOLD for bar in bars) / max(1, len(bars))
    if sung < 0.5:
        return Fit(0.0, "too few vocals there")
    if context.into.has_vocals(0, context.beats) and not context.into.has("vocals"):
        return Fit(0.0, "the incoming track has vocals, too")
    if context.key.cost > 0.35:
        return Fit(0.0, f"vocals over {context.key.words}")
    beat = context.into.energy(0, context.beats)
    score = (0.5 + 0.3 * sung + 0.2 * beat) * (1 - 0.5 * tempo_strain(context))
    return Fit(score, f"vocals in {sung:.0%} of these bars, over the new beat")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """The new beat takes over at the start; the vocals stay, and leave with an echo."""
    beats = context.beats
    others = [name for name in context.out.features.stems if name != "vocals"]
    found = [
        *(
            AutomationPoint(-FADE_LEAD_BEATS, "out", name, 0, FADE_OUT_BEATS)
            for name in others
            if name == "bass"
        ),
        *(AutomationPoint(0, "out", name, 0, CHANGE_BEATS) for name in others if name != "bass"),
        AutomationPoint(beats - 8, "out", "echo.feedback", 0.5),
        AutomationPoint(beats - 8, "out", "echo", 0.4, 4),
        AutomationPoint(beats - 4, "out", "vocals", 0, 4),
        *tempo_rows(context),
    ]
    if context.into.has("vocals"):
        found += [
            AutomationPoint(0, "in", "vocals", 0),
            AutomationPoint(beats, "in", "vocals", 1, 0.5),
        ]
    return found
