"""The transitions that the DJ knows, one module each; see `base.Kind`.

    made = propose(blend, Meeting(out, into, 16, 124.0, 126.0, key), limit=0.06)
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
    loop_build,
    ride,
)
from crowdstream.dj.transitions.base import TransitionContext, TransitionKind
from crowdstream.dj.transitions.conflicts import clashes

KINDS: tuple[TransitionKind, ...] = (
    blend, drums_first, acappella, drop_swap, echo_out, loop_build, cut, ride,
)  # fmt: skip
WITHOUT_GRID: tuple[TransitionKind, ...] = (
    echo_out,
    cut,
)  # nothing is laid upon beats, or looped by them
OFF_PHRASE = 0.8  # of the score, where the new track takes the lead within a phrase
MIN_SCORE = 0.02  # below that a transition is none


@dataclass(frozen=True)
class Proposal:
    """A transition for a meeting, and its score from 0 to 1."""

    transition: Transition
    meeting: TransitionContext
    score: float


def rate(kind: TransitionKind, meeting: TransitionContext, limit: float) -> tuple[float, str]:
    """How well a kind suits a meeting, 0 to 1, and why; 0 where it can't be.

    `limit`: how far the tempo may move while both play, 0.06 is 6 percent.
    """
    if kind.BEATMATCHED and meeting.change > limit + 1e-9:
        return 0.0, "the tempi are too far apart"
    out, into = meeting.out, meeting.into
    if kind not in WITHOUT_GRID and (out.facts.uncertain or into.facts.uncertain):
        return 0.0, "a beat grid is uncertain: the two can't play at the same time"
    if out.at(meeting.beats) > out.facts.end + 1e-6:
        return 0.0, "the first track ends before"
    if into.at(meeting.beats + BEATS_PER_BAR) > into.facts.end + 1e-6:
        return 0.0, "the second track ends before"
    fit = kind.fit(meeting)
    turn = out.at(kind.TURN * meeting.beats)
    placed = 1.0 if any(abs(turn - beat) < 1e-6 for beat in out.facts.phrases) else OFF_PHRASE
    harmony = 1 - kind.MELODIES * min(1.0, 1.1 * meeting.key.cost)
    score = fit.score * harmony * placed
    return (score if score >= MIN_SCORE else 0.0), fit.why


def propose(kind: TransitionKind, meeting: TransitionContext, limit: float) -> Proposal | None:
    """The transition; None where it does not fit, or where voices or basses would clash."""
    score, why = rate(kind, meeting, limit)
    if score <= 0:
        return None
    rows = sorted(kind.rows(meeting), key=lambda row: row.at)
    found = clashes(meeting, rows)
    if found.voice_bars or found.bass_bars:
        return None
    words = f"{why}; {meeting.key.words}; fits {score:.0%}"
    transition = Transition(kind.KIND, meeting.bars, tuple(rows), words)
    return Proposal(transition, meeting, score)
