"""Tempo ride: the clock moves slowly while the outgoing track plays alone, then they blend."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions import blend
from crowdstream.dj.transitions.base import EASY_CHANGE, RIDE_BEATS, Fit, TransitionContext

KIND = "tempo ride"
BARS: tuple[float, ...] = (8, 16)
TURN = blend.TURN
MELODIES = blend.MELODIES
BEATMATCHED = True


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: suits tempos further apart than a blend can hide."""
    if meeting.change <= EASY_CHANGE:
        return Fit(0.0, "the tempos are close anyway")
    if meeting.out.alone < RIDE_BEATS:
        return Fit(0.0, "the first track is too short for a ride")
    base = blend.fit(TransitionContext(meeting.out, meeting.into, meeting.bars, meeting.target,
                             meeting.target, meeting.key))  # fmt: skip
    percent = 100 * (meeting.target / meeting.tempo - 1)
    return Fit(0.95 * base.score, f"the clock rides {percent:+.1f} % before the two blend")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """The blend's automation, with an earlier start of the tempo ramp."""
    kept = [row for row in blend.rows(meeting) if row.who != "clock"]
    ramp = RIDE_BEATS + meeting.beats / 2
    return [AutomationPoint(-RIDE_BEATS, "clock", "tempo", meeting.target, ramp), *kept]
