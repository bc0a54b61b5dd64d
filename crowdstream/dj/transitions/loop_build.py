"""Loop and filter build: ever shorter loops under a high-pass, then the incoming track in full."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows

KIND = "loop build"
BARS: tuple[float, ...] = (0,)
LEAD_AT = 0.0
MELODY_OVERLAP = 0.0
BEATMATCHED = False
LEAD_BEATS = 16.0
WRAP_BEATS = 0.125  # beats after a loop's wrap; the next, shorter loop starts at the same beat
FILTER_END = 0.45  # final position of the filter knob, 0 to 1 (high-pass)


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits an incoming track that starts there at full energy."""
    after, before = context.into.energy(0, 16), context.out.energy(-16, 0)
    if context.out.features.beatless:
        return Fit(0.0, "there is no beat to loop")
    if after < 0.5:
        return Fit(0.0, "the incoming track does not start with enough energy")
    if context.out.solo_beats < LEAD_BEATS:
        return Fit(0.0, "the first track is too short for it")
    apart = 0.12 if context.change > context.limit or context.key.cost >= 1 else 0.0
    score = 0.24 + 0.25 * after + 0.1 * before + apart
    return Fit(min(1.0, score), "a loop build into a track that starts with full energy")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Over four bars, loop four beats, two, one and a half, while a high-pass opens."""
    return [
        AutomationPoint(-16, "out", "loop", 4),
        AutomationPoint(-8 + WRAP_BEATS, "out", "loop", 2),
        AutomationPoint(-4 + WRAP_BEATS, "out", "loop", 1),
        AutomationPoint(-2 + WRAP_BEATS, "out", "loop", 0.5),
        AutomationPoint(-16, "out", "filter", FILTER_END, 15.5),
        AutomationPoint(-16, "out", "resonance", 0.3, 8),
        *lone_tempo_rows(context),
    ]
