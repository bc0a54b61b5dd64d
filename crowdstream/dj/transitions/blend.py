"""Long blend: one track fades in as the other fades out, with a bass swap on the phrase."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    EASY_CHANGE,
    Fit,
    TransitionContext,
    swap_bass,
    swap_voices,
    tempo_rows,
)

KIND = "bass swap"
LENGTHS: dict[float, float] = {8: 0.8, 16: 1.0, 32: 0.9}  # bars: factor on the score
BARS = tuple(LENGTHS)
TURN = 0.5
MELODIES = 0.8
BEATMATCHED = True
BESIDE = 0.8  # linear gain of both in the middle: with only one bass, about as loud as one track


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: suits tracks with compatible keys and tempos that are both calm there."""
    rest = 1 - 0.5 * (meeting.out.energy(0, meeting.beats) + meeting.into.energy(0, meeting.beats))
    length = LENGTHS.get(meeting.bars, 0.8)
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.7 + 0.3 * rest) * length * (1 - 0.6 * min(1.0, hurry))
    place = "calm" if rest > 0.5 else "driving"
    swap = "stems" if meeting.out.has("bass") and meeting.into.has("bass") else "EQ"
    return Fit(score, f"both are {place} there; bass swap by {swap}")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Fade in over the first half and out over the second; swap the basses in the middle."""
    beats = meeting.beats
    half = beats / 2
    return [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "level", BESIDE, half),
        AutomationPoint(half / 2, "out", "level", BESIDE, half / 2),
        AutomationPoint(half, "in", "level", 1, half / 2),
        AutomationPoint(half, "out", "level", 0, half),
        *swap_bass(meeting, half),
        *swap_voices(meeting, half),
        *tempo_rows(meeting),
    ]
