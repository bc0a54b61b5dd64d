"""The transitions that the DJ knows, one module each; see `base.Kind`.

    best = proposals(out, into, key, tempo, target, limit)[0]
    best.transition, best.score
"""

from __future__ import annotations

from dataclasses import dataclass

from crowdstream.dj.camelot import KeyFit
from crowdstream.dj.clashes import Clashes, clashes
from crowdstream.dj.sets import BEATS_PER_BAR, Row, Transition
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
from crowdstream.dj.transitions.base import Fit, Kind, Meeting, Side

KINDS: tuple[Kind, ...] = (
    blend, drums_first, acappella, drop_swap, echo_out, loop_build, cut, ride,
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A transition for a meeting, its score from 0 to 1, and what would clash in it."""

    transition: Transition
    meeting: Meeting
    score: float
    clashes: Clashes


def propose(kind: Kind, meeting: Meeting, limit: float) -> Proposal | None:
    """A transition of one kind; None where it does not fit.

    `limit`: how far the tempo may move while both play, 0.06 is 6 percent.
    """
    if kind.BEATMATCHED and meeting.change > limit + 1e-9:
        return None
    if not _room(kind, meeting):
        return None
    fit: Fit = kind.fit(meeting)
    if fit.score <= 0:
        return None
    rows: list[Row] = kind.rows(meeting)
    found = clashes(meeting, rows)
    if found.voice_bars or found.bass_bars:
        return None
    harmony = 1 - kind.MELODIES * min(1.0, meeting.key.cost * 1.1)
    score = fit.score * harmony
    if score < 0.02:
        return None
    why = f"{fit.why} ({meeting.key.words}, score {score:.2f})"
    rows.sort(key=lambda row: row.at)
    return Proposal(
        Transition(kind.KIND, meeting.bars, tuple(rows), why), meeting, score, found
    )


def _room(kind: Kind, meeting: Meeting) -> bool:
    out, into = meeting.out, meeting.into
    if out.at(meeting.beats) > out.facts.end + 1e-6:
        return False
    return into.at(meeting.beats + BEATS_PER_BAR) <= into.facts.end + 1e-6


def proposals(
    out: Side, into: Side, key: KeyFit, tempo: float, target: float, limit: float
) -> list[Proposal]:
    """All that fit these two places, the best first."""
    found: list[Proposal] = []
    for kind in KINDS:
        for bars in kind.BARS:
            made = propose(kind, Meeting(out, into, bars, tempo, target, key), limit)
            if made is not None:
                found.append(made)
    return sorted(found, key=lambda proposal: -proposal.score)
