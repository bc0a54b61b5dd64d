"""Drums first: bring in the drums, then replace everything else on one beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    FADE_LEAD_BEATS,
    FADE_OUT_BEATS,
    HANDOVER_BEATS,
    Fit,
    TransitionContext,
    tempo_rows,
    tempo_strain,
)

KIND = "drums first"
BARS: tuple[float, ...] = (8, 16)
LEAD_AT = 0.5
MELODY_OVERLAP = 0.0
BEATMATCHED = True
# linear gain of one track's drums under the full other track: 1 to 2 dB more than it
UNDER_GAIN = 0.6


def fit(context: TransitionContext) -> Fit:
    """Rate it: needs drum stems on both sides, active in the incoming track; keys matter little."""
    if not context.into.has("drums") or not context.out.has("drums"):
        return Fit(0.0, "both tracks need a drum stem")
    if context.into.stems_named_like_controls or context.out.stems_named_like_controls:
        return Fit(0.0, "a stem has the name of another control")
    features = context.into.features
    half = context.beats / 2
    drums = features.mean(features.activity("drums"), context.into.at(0), context.into.at(half))
    if drums < 0.3:
        return Fit(0.0, "the incoming track has no drums there")
    clash = 0.15 if context.key.cost > 0.3 else 0.0
    score = (0.45 + 0.2 * drums + clash) * (1 - 0.4 * tempo_strain(context))
    return Fit(score, "the incoming drums carry the change; the melodies never overlap")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Fade in the drums over the first half; swap everything else on one beat in the middle."""
    half = context.beats / 2
    others_in = [name for name in context.into.features.stems if name != "drums"]
    others_out = [name for name in context.out.features.stems if name != "drums"]
    return [
        *(AutomationPoint(0, "in", name, 0) for name in others_in),
        AutomationPoint(0, "in", "drums", 0),
        AutomationPoint(0, "in", "drums", UNDER_GAIN, half),
        AutomationPoint(half - HANDOVER_BEATS, "out", "drums", UNDER_GAIN, HANDOVER_BEATS),
        *(
            AutomationPoint(half - FADE_LEAD_BEATS, "out", name, 0, FADE_OUT_BEATS)
            for name in others_out
        ),
        *(AutomationPoint(half, "in", name, 1, 0.25) for name in others_in),
        AutomationPoint(half, "in", "drums", 1, HANDOVER_BEATS),
        AutomationPoint(half, "out", "drums", 0, half),
        *tempo_rows(context),
    ]
