"""Drop swap: the incoming track's build under the outgoing track, which its drop then replaces."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    FADE_LEAD_BEATS,
    FADE_OUT_BEATS,
    Fit,
    TransitionContext,
    bass_of,
    swap_voices,
    tempo_rows,
    tempo_strain,
)

KIND = "drop swap"
BARS: tuple[float, ...] = (4, 8, 16)
LEAD_AT = 1.0
MELODY_OVERLAP = 0.6
BEATMATCHED = True
UNDER_GAIN = 0.6  # linear gain of the build under a track at full level


def fit(context: TransitionContext) -> Fit:
    """Rate it: needs a drop of the incoming track at the end of the transition."""
    place = context.into.at(context.beats)
    if not any(abs(place - drop) < 1e-6 for drop in context.into.features.starts("drop")):
        return Fit(0.0, "the incoming track has no drop at the end of the transition")
    before = context.into.energy(0, context.beats)
    after = context.into.energy(context.beats, context.beats + 32)
    rise = max(0.0, min(1.0, after - before))
    score = (0.7 + 0.3 * rise + 0.1 * max(0.0, context.energy_rise)) * (
        1 - 0.5 * tempo_strain(context)
    )
    return Fit(min(1.0, score), "the drop lands on the phrase where the outgoing track ends")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Fade in the build without its bass; on the drop, everything changes."""
    beats = context.beats
    handed = [row for row in swap_voices(context, beats) if row.target == "in"]
    return [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "level", UNDER_GAIN, beats / 2),
        AutomationPoint(beats / 2, "in", "level", 0.8, beats / 2 - 1),
        AutomationPoint(beats, "in", "level", 1),
        AutomationPoint(0, "in", bass_of(context.into), 0),
        AutomationPoint(beats, "in", bass_of(context.into), 1),
        AutomationPoint(beats / 2, "out", "filter", 0.35, beats / 2),
        AutomationPoint(beats - 4, "out", "level", 0.6, 4),
        AutomationPoint(beats - FADE_LEAD_BEATS, "out", bass_of(context.out), 0, FADE_OUT_BEATS),
        *handed,
        *tempo_rows(context),
    ]
