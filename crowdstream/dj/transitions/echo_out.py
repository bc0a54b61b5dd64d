"""Echo out: the one that goes stops on the phrase and rings away over the other one."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows, rides

KIND = "echo out"
BARS: tuple[float, ...] = (0,)
TURN = 0.0
MELODIES = 0.1
BEATMATCHED = False
LEAD_BEATS = 4.0
ECHO_BEATS = 0.75


def fit(meeting: TransitionContext) -> Fit:
    """For any two tracks; the better, the less else would fit."""
    if meeting.out.alone < LEAD_BEATS:
        return Fit(0.0, "the first track is too short for it")
    score = 0.4 + (0.15 if meeting.key.cost >= 0.35 else 0.0)
    if meeting.change > meeting.limit or meeting.key.cost >= 1:
        score += 0.2
    # Echoes of a voice would ring into another one.
    if meeting.out.sings(-4, 0) and meeting.into.sings(0, 8):
        score *= 0.6
    if meeting.into.energy(0, 16) < 0.25:
        score *= 0.7
    if meeting.change > meeting.limit:
        reason = "the tempi are too far apart to play together"
    elif meeting.key.cost >= 0.35:
        reason = "the keys would rub if they met"
    else:
        reason = "it clears the air between the two"
    return Fit(score, reason)


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """The echo's time is in seconds: the clock may have another tempo while it rings."""
    tempo = meeting.target if rides(meeting) else meeting.tempo
    return [
        AutomationPoint(-LEAD_BEATS, "out", "echo", 0.0),
        AutomationPoint(-LEAD_BEATS, "out", "echo.seconds", round(60 * ECHO_BEATS / tempo, 4)),
        AutomationPoint(-LEAD_BEATS, "out", "echo.feedback", 0.55),
        AutomationPoint(-LEAD_BEATS, "out", "echo", 0.6, LEAD_BEATS - 0.5),
        *lone_tempo_rows(meeting),
    ]
