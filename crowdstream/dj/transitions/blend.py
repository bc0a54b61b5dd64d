"""Long blend: one track fades in as the other fades out, with a bass swap on the phrase."""

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

KIND = "bass swap"
LENGTHS: dict[float, float] = {8: 0.8, 16: 1.0, 24: 0.95, 32: 0.9}  # bars: factor on the score
BARS = tuple(LENGTHS)
LEAD_AT = 0.5
MELODY_OVERLAP = 0.8
BEATMATCHED = True
# linear gain of both in the middle: with only one bass, about as loud as one track
CENTRE_GAIN = 0.8


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits tracks with compatible keys and tempos that are both calm there."""
    rest = 1 - context.drive
    length = LENGTHS.get(context.bars, 0.8)
    score = (0.8 + 0.2 * rest) * length * (1 - 0.6 * tempo_strain(context))
    place = "calm" if rest > 0.5 else "driving"
    swap = "stems" if context.out.has("bass") and context.into.has("bass") else "EQ"
    return Fit(score, f"both are {place} there; bass swap by {swap}")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Fade in over the first half and out over the second; swap the basses in the middle."""
    beats = context.beats
    half = beats / 2
    return [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "level", CENTRE_GAIN, half),
        AutomationPoint(half / 2, "out", "level", CENTRE_GAIN, half / 2),
        AutomationPoint(half, "in", "level", 1, half / 2),
        AutomationPoint(half, "out", "level", 0, half),
        *swap_bass(context, half),
        *swap_voices(context, half),
        *tempo_rows(context),
    ]
