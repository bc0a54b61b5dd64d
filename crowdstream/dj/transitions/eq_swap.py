"""EQ swap: the incoming highs over the full outgoing track, then all bands change on one beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    HANDOVER_BEATS,
    MID_FADE_BEATS,
    Fit,
    TransitionContext,
    swap_bass,
    tempo_rows,
    tempo_strain,
)

KIND = "EQ swap"
LENGTHS: dict[float, float] = {8: 0.95, 16: 1.0, 24: 0.9, 32: 0.8}  # bars: factor on the score
BARS = tuple(LENGTHS)
LEAD_AT = 0.5
# Hi-hats and the overtones above 2.5 kHz are all that is heard of one track beside the other.
MELODY_OVERLAP = 0.15
BEATMATCHED = True
UNDER_GAIN = 0.7  # linear gain of one track's highs under the other one


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits any keys, and vocals on both sides; both tracks need to have some rhythm."""
    score = (0.5 + 0.2 * context.drive) * LENGTHS.get(context.bars, 0.8)
    score *= 1 - 0.4 * tempo_strain(context)
    return Fit(score, "the bands change places on one beat, so the melodies never overlap")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Fade in the highs over the first half; swap mids and lows in the middle; fade out the rest.

    As the vocals are in the mids, there is one voice at any time.
    """
    half = context.beats / 2
    return [
        AutomationPoint(0, "in", "mid", 0),
        AutomationPoint(0, "in", "high", 0),
        AutomationPoint(0, "in", "high", UNDER_GAIN, half),
        AutomationPoint(half - MID_FADE_BEATS, "out", "mid", 0, MID_FADE_BEATS),
        AutomationPoint(half - MID_FADE_BEATS, "out", "high", UNDER_GAIN, MID_FADE_BEATS),
        AutomationPoint(half, "in", "mid", 1, 0.25),
        AutomationPoint(half, "in", "high", 1, HANDOVER_BEATS),
        AutomationPoint(half, "out", "high", 0, half),
        *swap_bass(context, half),
        *tempo_rows(context),
    ]
