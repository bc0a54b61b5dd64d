"""Loop and filter build: ever shorter loops that thin out, and the other one in full."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows

KIND = "loop build"
BARS: tuple[float, ...] = (0,)
TURN = 0.0
MELODIES = 0.0
BEATMATCHED = False
LEAD_BEATS = 16.0
ROUND = 0.125  # beats after which the longer loop has gone round: the next begins at the same beat
THIN = 0.45  # of the high-pass's way at the end


def fit(meeting: TransitionContext) -> Fit:
    """For a coming track that begins there with all its force."""
    after, before = meeting.into.energy(0, 16), meeting.out.energy(-16, 0)
    if meeting.out.facts.beatless:
        return Fit(0.0, "there is no beat to loop")
    if after < 0.5:
        return Fit(0.0, "the coming track does not begin with force")
    if meeting.out.alone < LEAD_BEATS:
        return Fit(0.0, "the first track is too short for it")
    apart = 0.12 if meeting.change > meeting.limit or meeting.key.cost >= 1 else 0.0
    score = 0.24 + 0.25 * after + 0.1 * before + apart
    return Fit(min(1.0, score), "a build of loops, into a track that begins with force")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Four bars: loops of four beats, two, one, a half, while a high-pass opens."""
    return [
        AutomationPoint(-16, "out", "loop", 4),
        AutomationPoint(-8 + ROUND, "out", "loop", 2),
        AutomationPoint(-4 + ROUND, "out", "loop", 1),
        AutomationPoint(-2 + ROUND, "out", "loop", 0.5),
        AutomationPoint(-16, "out", "filter", THIN, 15.5),
        AutomationPoint(-16, "out", "resonance", 0.3, 8),
        *lone_tempo_rows(meeting),
    ]
