"""Cut on the one: the outgoing track stops and the incoming one starts on the same beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import Fit, TransitionContext, lone_tempo_rows

KIND = "cut"
BARS: tuple[float, ...] = (0,)
LEAD_AT = 0.0
MELODY_OVERLAP = 0.0
BEATMATCHED = False


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits two tracks that are equally energetic there."""
    before, after = context.out.energy(-16, 0), context.into.energy(0, 16)
    step = abs(before - after)
    score = 0.36 - 0.3 * step + 0.22 * min(before, after)
    if context.change > context.limit:
        score -= 0.1
    return Fit(max(0.05, score), "both are equally energetic there" if step < 0.2 else
               "one ends, the other starts")  # fmt: skip


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """Only the change of tempo."""
    return lone_tempo_rows(context)
