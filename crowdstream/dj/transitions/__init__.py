"""The DJ's transitions, one module per kind; see `base.TransitionKind`.

    made = propose(blend, TransitionContext(out, into, 16, 124.0, 126.0, key), limit=0.06)
    made.transition.rows, made.score
"""

from __future__ import annotations

from dataclasses import dataclass

from crowdstream.dj.setfile.model import BEATS_PER_BAR, Transition
from crowdstream.dj.transitions import (
    acappella,
    blend,
    cut,
    drop_swap,
    drums_first,
    echo_out,
    eq_swap,
    filter_blend,
    highs_out,
    loop_build,
)
from crowdstream.dj.transitions.base import TransitionContext, TransitionKind
from crowdstream.dj.transitions.conflicts import clashes

KINDS: tuple[TransitionKind, ...] = (
    blend, eq_swap, filter_blend, highs_out, drums_first, acappella, drop_swap, echo_out,
    loop_build, cut,
)  # fmt: skip
WITHOUT_GRID: tuple[TransitionKind, ...] = (
    echo_out,
    cut,
)  # no beatmatching, and no loops
RIDE_FACTOR = 0.95  # on the score of a transition with a tempo ride
OFF_PHRASE = 0.8  # factor on the score if the incoming track takes the lead inside a phrase
MIN_SCORE = 0.02  # a transition with a lower score is not offered


@dataclass(frozen=True)
class Proposal:
    """A transition for a pair of tracks, and its score from 0 to 1."""

    transition: Transition
    context: TransitionContext
    score: float


def rate(kind: TransitionKind, context: TransitionContext, limit: float) -> tuple[float, str]:
    """Rate how well a kind of transition suits two tracks.

    `limit`: maximum tempo change while both play, 0.06 is 6 percent. Return a score from 0
    (impossible) to 1, and the reason.
    """
    if kind.BEATMATCHED and context.strain > limit + 1e-9:
        return 0.0, "the tempos are too far apart"
    out, into = context.out, context.into
    if kind not in WITHOUT_GRID and (out.features.uncertain or into.features.uncertain):
        return 0.0, "a beatgrid is uncertain: the two tracks cannot play at the same time"
    if out.at(context.beats) > out.features.end + 1e-6:
        return 0.0, "the first track ends too early"
    if into.at(context.beats + BEATS_PER_BAR) > into.features.end + 1e-6:
        return 0.0, "the second track ends too early"
    fit = kind.fit(context)
    turn = out.at(kind.LEAD_AT * context.beats)
    placed = 1.0 if any(abs(turn - beat) < 1e-6 for beat in out.features.phrases) else OFF_PHRASE
    harmony = 1 - kind.MELODY_OVERLAP * min(1.0, 1.1 * context.key.cost)
    score = fit.score * harmony * placed * (RIDE_FACTOR if context.ride else 1.0)
    return (score if score >= MIN_SCORE else 0.0), fit.why


def propose(kind: TransitionKind, context: TransitionContext, limit: float) -> Proposal | None:
    """Return the transition, or None if it does not suit the tracks or vocals or basses clash."""
    score, why = rate(kind, context, limit)
    if score <= 0:
        return None
    rows = sorted(kind.rows(context), key=lambda row: row.at)
    found = clashes(context, rows)
    if found.voice_bars or found.bass_bars:
        return None
    if context.ride:
        percent = 100 * (context.target / context.tempo - 1)
        why += f"; the clock rides {percent:+.1f} %, half of it before and half of it after"
    words = f"{why}; {context.key.words}; fits {score:.0%}"
    transition = Transition(kind.KIND, context.bars, tuple(rows), words)
    return Proposal(transition, context, score)
