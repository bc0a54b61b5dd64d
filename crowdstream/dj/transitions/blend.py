"""The long blend: one comes up while the other goes, and the basses change places on the phrase."""

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
LENGTHS: dict[float, float] = {8: 0.8, 16: 1.0, 32: 0.9}  # bars, and how well each suits it
BARS = tuple(LENGTHS)
TURN = 0.5
MELODIES = 0.8
BEATMATCHED = True
BESIDE = 0.8  # gain of both in the middle, where only one bass is there: about as loud as one


def fit(meeting: TransitionContext) -> Fit:
    """For tracks that agree in key and tempo and are at rest where they meet."""
    rest = 1 - 0.5 * (meeting.out.energy(0, meeting.beats) + meeting.into.energy(0, meeting.beats))
    length = LENGTHS.get(meeting.bars, 0.8)
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.7 + 0.3 * rest) * length * (1 - 0.6 * min(1.0, hurry))
    place = "calm" if rest > 0.5 else "driving"
    swap = "stems" if meeting.out.has("bass") and meeting.into.has("bass") else "EQ"
    return Fit(score, f"both are {place} there; the basses change places by {swap}")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Half of it to come up, half of it to go; the swap in the middle."""
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
