"""Filter blend: the incoming track through a high-pass filter, then the outgoing one."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    Fit,
    TransitionContext,
    swap_bass,
    swap_voices,
    tempo_rows,
    tempo_strain,
)

KIND = "filter blend"
LENGTHS: dict[float, float] = {8: 1.0, 16: 0.95}  # bars: factor on the score
BARS = tuple(LENGTHS)
LEAD_AT = 0.5
MELODY_OVERLAP = 0.6
BEATMATCHED = True
CLOSED = 0.55  # position of the filter knob, 0 to 1, at which a track has neither bass nor body
RESONANCE = 0.25
OPEN_BEATS = 4.0  # in which the filter opens, before the incoming track leads


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits driving sections in compatible keys, in which a sweep adds tension."""
    score = (0.6 + 0.25 * context.drive) * LENGTHS.get(context.bars, 0.8)
    score *= 1 - 0.5 * tempo_strain(context)
    return Fit(score, "one high-pass filter opens as the other one closes")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Open the filter of the incoming track towards the middle; then close the other one's."""
    beats = context.beats
    half = beats / 2
    return [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "filter", CLOSED),
        AutomationPoint(0, "in", "resonance", RESONANCE),
        AutomationPoint(0, "in", "level", 1, half),
        AutomationPoint(half - OPEN_BEATS, "in", "filter", 0, OPEN_BEATS),
        AutomationPoint(half - OPEN_BEATS, "in", "resonance", 0, OPEN_BEATS),
        AutomationPoint(half, "out", "resonance", RESONANCE, half),
        AutomationPoint(half, "out", "filter", CLOSED, half),
        AutomationPoint(half, "out", "level", 0.7, half / 2),
        AutomationPoint(half + half / 2, "out", "level", 0, half / 2),
        *swap_bass(context, half),
        *swap_voices(context, half),
        *tempo_rows(context),
    ]
