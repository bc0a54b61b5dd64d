"""Where two tracks can meet: the places in each, and the transition that suits them best."""

from __future__ import annotations

from dataclasses import dataclass

from crowdstream.dj.camelot import KeyFit
from crowdstream.dj.facts import Facts
from crowdstream.dj.sets import BEATS_PER_BAR, Entry
from crowdstream.dj.transitions import Proposal, proposals
from crowdstream.dj.transitions.base import Side

LEAST_ALONE_BEATS = 32  # of the clock that a track has for itself, if it is long enough
MOST_EXITS = 5
MOST_ENTRIES = 5
BUILD_BARS = (4, 8, 16)  # before a drop, where a track may enter
RATIOS = (1.0, 0.5, 2.0)
# What a place costs, beside the transition's score of 0 to 1.
TIME_COST = 0.5  # a track that is played twice as long as wanted, or not at all
SKIP_COST = 0.15  # entering at half of the track
LOUDNESS_COST = 0.04  # for each dB between the two


@dataclass(frozen=True)
class Place:
    """A way from one track into another. `leave`: beat of the one that goes, of its own grid."""

    proposal: Proposal
    leave: float
    enter: float
    score: float


def fold(bpm: float, clock: float) -> tuple[float, float]:
    """How a tempo is nearest to the clock's: its beats per beat of the clock, and the clock's
    tempo at which it has its own."""
    ratio = min(RATIOS, key=lambda ratio: abs(bpm / ratio / clock - 1))
    return ratio, bpm / ratio


def entries(facts: Facts, ratio: float) -> list[float]:
    """Beats at which a track can be entered: first phrases, drops, and the bars before them."""
    latest = facts.begin + 0.5 * (facts.end - facts.begin)
    early = [beat for beat in facts.phrases if beat <= latest]
    found = [beat for beat in early if facts.energy(beat, beat + 16) > 0.05][:3]
    for drop in facts.starts("drop")[:2]:
        if drop <= latest:
            found.append(drop)
        found += [
            before for bars in BUILD_BARS
            if facts.begin <= (before := drop - int(bars * BEATS_PER_BAR * ratio)) <= latest
        ]  # fmt: skip
    if not found:
        found = early[:1] or [facts.begin]
    return [float(beat) for beat in sorted(set(found)) if beat % BEATS_PER_BAR == 0]


def exits(facts: Facts, entry: Entry, came: float, wanted: float) -> list[float]:
    """Phrases of a playing track at which a transition may begin; those near `wanted` first.

    `came`: beats of the clock after its start at which it was alone. `wanted`: beat of its grid.
    """
    unit = BEATS_PER_BAR * max(1.0, entry.ratio)
    on_bars = [beat for beat in facts.phrases if (beat - entry.enter) % unit == 0]
    least = entry.enter + (came + LEAST_ALONE_BEATS) * entry.ratio
    found = [beat for beat in on_bars if beat >= least]
    if not found:
        least = entry.enter + max(came * entry.ratio, unit)
        found = [beat for beat in on_bars if beat >= least]
    if not found:  # shorter than a phrase: to its last bar
        last = facts.end - (facts.end - entry.enter) % unit
        found = [int(max(last, least))]
    return [float(beat) for beat in sorted(found, key=lambda beat: abs(beat - wanted))][:MOST_EXITS]


def best_place(
    out: Facts, entry: Entry, came: float, wanted: float, into: Facts, key: KeyFit,
    tempo: float, limit: float, target: float, ratio: float,
) -> Place | None:  # fmt: skip
    """The best way from a playing track into another, None where there is none.

    `target`: the clock's tempo after it. Other arguments as for `exits` and `proposals`.
    """
    best: Place | None = None
    span = max(1.0, wanted - entry.enter)
    length = max(1, into.end - into.begin)
    ways = entries(into, ratio)
    for leave in exits(out, entry, came, wanted):
        side = Side(out, leave, entry.ratio)
        late = TIME_COST * min(1.5, abs(leave - wanted) / span)
        before = out.loudness(leave - 32, leave) - out.analysis.loudness.lufs
        for enter in ways:
            skipped = SKIP_COST * 2 * max(0.0, enter - into.begin) / length
            for made in proposals(side, Side(into, enter, ratio), key, tempo, target, limit)[:2]:
                beats = made.transition.beats
                at = enter + beats * ratio
                after = into.loudness(at, at + 32) - into.analysis.loudness.lufs
                step = LOUDNESS_COST * abs(after - before)
                score = made.score - late - skipped - step
                if best is None or score > best.score:
                    best = Place(made, leave + beats * entry.ratio, enter, score)
    return best
