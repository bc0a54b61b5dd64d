"""Loop and filter build: ever shorter loops under a high-pass, then the incoming track in full."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows

KIND = "loop build"
BARS: tuple[float, ...] = (0,)
TURN = 0.0
MELODIES = 0.0
BEATMATCHED = False
LEAD_BEATS = 16.0
ROUND = 0.125  # beats after a loop's wrap; the next, shorter loop starts at the same beat
THIN = 0.45  # final position of the filter knob, 0 to 1 (high-pass)


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: suits an incoming track that starts there at full energy."""
    after, before = meeting.into.energy(0, 16), meeting.out.energy(-16, 0)
    if meeting.out.facts.beatless:
        return Fit(0.0, "there is no beat to loop")
    if after < 0.5:
        return Fit(0.0, "the incoming track does not start with enough energy")
    if meeting.out.alone < LEAD_BEATS:
        return Fit(0.0, "the first track is too short for it")
    apart = 0.12 if meeting.change > meeting.limit or meeting.key.cost >= 1 else 0.0
    score = 0.24 + 0.25 * after + 0.1 * before + apart
    return Fit(min(1.0, score), "a loop build into a track that starts with full energy")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Over four bars, loop four beats, two, one and a half, while a high-pass opens."""
    return [
        AutomationPoint(-16, "out", "loop", 4),
        AutomationPoint(-8 + ROUND, "out", "loop", 2),
        AutomationPoint(-4 + ROUND, "out", "loop", 1),
        AutomationPoint(-2 + ROUND, "out", "loop", 0.5),
        AutomationPoint(-16, "out", "filter", THIN, 15.5),
        AutomationPoint(-16, "out", "resonance", 0.3, 8),
        *lone_tempo_rows(meeting),
    ]
