"""Tempo ride: the clock moves slowly while the outgoing track plays alone, then they blend."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions import blend
from crowdstream.dj.transitions.base import EASY_CHANGE, RIDE_BEATS, Fit, TransitionContext

KIND = "tempo ride"
BARS: tuple[float, ...] = (8, 16)
LEAD_AT = blend.LEAD_AT
MELODY_OVERLAP = blend.MELODY_OVERLAP
BEATMATCHED = True


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits tempos further apart than a blend can hide."""
    if context.change <= EASY_CHANGE:
        return Fit(0.0, "the tempos are close anyway")
    if context.out.solo_beats < RIDE_BEATS:
        return Fit(0.0, "the first track is too short for a ride")
    base = blend.fit(TransitionContext(context.out, context.into, context.bars, context.target,
                             context.target, context.key))  # fmt: skip
    percent = 100 * (context.target / context.tempo - 1)
    return Fit(0.95 * base.score, f"the clock rides {percent:+.1f} % before the two blend")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """The blend's automation, with an earlier start of the tempo ramp."""
    kept = [row for row in blend.rows(context) if row.target != "clock"]
    ramp = RIDE_BEATS + context.beats / 2
    return [AutomationPoint(-RIDE_BEATS, "clock", "tempo", context.target, ramp), *kept]
