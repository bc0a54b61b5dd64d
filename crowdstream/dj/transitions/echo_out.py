"""Echo out: the outgoing track stops on the phrase, and its echo tail fades over the next one."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows, rides_alone

KIND = "echo out"
BARS: tuple[float, ...] = (0,)
LEAD_AT = 0.0
MELODY_OVERLAP = 0.1
BEATMATCHED = False
LEAD_BEATS = 4.0
ECHO_BEATS = 0.75


def fit(context: TransitionContext) -> Fit:
    """Rate it: possible for any two tracks, and preferred if little else is."""
    if context.out.solo_beats < LEAD_BEATS:
        return Fit(0.0, "the first track is too short for it")
    score = 0.4 + (0.15 if context.key.cost >= 0.35 else 0.0)
    if context.change > context.limit or context.key.cost >= 1:
        score += 0.2
    # An echo of vocals would ring into the other track's vocals.
    if context.out.has_vocals(-4, 0) and context.into.has_vocals(0, 8):
        score *= 0.6
    if context.into.energy(0, 16) < 0.25:
        score *= 0.7
    if context.change > context.limit:
        reason = "the tempos are too far apart to play together"
    elif context.key.cost >= 0.35:
        reason = "the keys would clash if both played"
    else:
        reason = "it clears the air between the two"
    return Fit(score, reason)


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """The delay time is set in seconds: the clock's tempo may change while the echo rings."""
    tempo = context.target if rides_alone(context) else context.tempo
    return [
        AutomationPoint(-LEAD_BEATS, "out", "echo", 0.0),
        AutomationPoint(-LEAD_BEATS, "out", "echo.seconds", round(60 * ECHO_BEATS / tempo, 4)),
        AutomationPoint(-LEAD_BEATS, "out", "echo.feedback", 0.55),
        AutomationPoint(-LEAD_BEATS, "out", "echo", 0.6, LEAD_BEATS - 0.5),
        *lone_tempo_rows(context),
    ]
