"""Where two tracks can meet: the places in each, and the transition that suits them best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from crowdstream.dj.key_compatibility import KeyFit
from crowdstream.dj.setfile.model import BEATS_PER_BAR, SetEntry
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import KINDS, Proposal, loudness_profile, propose, rate
from crowdstream.dj.transitions.base import Side, TransitionContext, TransitionKind

MIN_ALONE_BEATS = 32.0  # of the clock that a track has for itself, if it is long enough
MAX_EXITS = 6
BUILD_BARS = (4, 8, 16)  # before a drop, where a track may enter
RATIOS = (1.0, 0.5, 2.0)
MAX_FOLDED = 0.1  # of the tempo; further off, half or double of it is as far from the clock's
# What a place costs, beside the transition's score of 0 to 1.
TIME_COST = 0.5  # a track that is played twice as long as wanted, or not at all
SKIP_COST = 0.3  # entering at the end of the track
SHORT_COST = 0.4  # entering where nothing is left of it
LOUDNESS_COST = 0.04  # for each dB between the two
SAME_COSTS = (0.2, 0.12, 0.06)  # the same transition as the last time, the time before, and before
REMEMBERED = len(SAME_COSTS)


@dataclass(frozen=True)
class TransitionCandidate:
    """From one track into another. `leave`, `enter`: beats of their own grids."""

    proposal: Proposal
    leave: float
    enter: float
    score: float


@dataclass(frozen=True)
class Goal:
    """What is aimed at: the clock's tempo before and after, the coming track's ratio and key.

    `wanted`: beat of the playing track's grid at which the transition would best begin. `limit`:
    how far the tempo may move while both play. `recent`: the kinds before, last first.
    """

    tempo: float
    target: float
    ratio: float
    key: KeyFit
    wanted: float
    limit: float
    recent: tuple[str, ...] = ()


def fold(bpm: float, clock: float, wished: float = 0.0) -> tuple[float, float]:
    """How a tempo goes with the clock's: its beats per beat of the clock, and the clock's
    tempo at which it has its own.

    One that goes with it in no way is counted as it goes with the tempo that is wished for, and
    where it does not go with that either, as it is.
    """
    for tempo in (clock, wished):
        if tempo:
            ratio = min(RATIOS, key=lambda ratio: abs(bpm / ratio / tempo - 1))
            if abs(bpm / ratio / tempo - 1) <= MAX_FOLDED:
                return ratio, bpm / ratio
    return 1.0, bpm


def entries(facts: TrackFeatures, ratio: float) -> list[float]:
    """Beats at which a track can be entered: first phrases, drops, and the bars before them."""
    latest = facts.begin + 0.5 * (facts.end - facts.begin)
    early = [beat for beat in facts.phrases if beat <= latest]
    found = [beat for beat in early if facts.energy(beat, beat + 16) > 0.05][:3]
    for drop in facts.starts("drop")[:2]:
        builds = (drop - int(bars * BEATS_PER_BAR * ratio) for bars in (0, *BUILD_BARS))
        found += [beat for beat in builds if facts.begin <= beat <= latest]
    found = found or early[:1] or [facts.begin]
    return [float(beat) for beat in sorted(set(found)) if beat % BEATS_PER_BAR == 0]


def exits(facts: TrackFeatures, entry: SetEntry, came: float, wanted: float) -> list[float]:
    """Phrases of a playing track at which a transition may begin; those near `wanted` first.

    `came`: beats of the clock after its start at which it was alone. `wanted`: beat of its grid.
    """
    unit = BEATS_PER_BAR * max(1.0, entry.ratio)
    on_bars = [beat for beat in facts.phrases if (beat - entry.enter) % unit == 0]
    for alone in (MIN_ALONE_BEATS, BEATS_PER_BAR):
        least = entry.enter + max(unit, (came + alone) * entry.ratio)
        found = [float(beat) for beat in on_bars if beat >= least]
        if found:
            return sorted(found, key=lambda beat: (abs(beat - wanted), beat))[:MAX_EXITS]
    # Shorter than a phrase: to its last bar.
    bars = (facts.end - entry.enter) // unit
    return [entry.enter + max(bars * unit, unit, came * entry.ratio)]


def best_way(
    out: TrackFeatures,
    entry: SetEntry,
    came: float,
    into: TrackFeatures,
    goal: Goal,
    kinds: Sequence[TransitionKind] = KINDS,
) -> TransitionCandidate | None:
    """The best way from a playing track into another, None where there is none."""
    found: list[tuple[float, int, TransitionKind, TransitionContext]] = []
    span = max(1.0, goal.wanted - entry.enter)
    starts = entries(into, goal.ratio)
    again: dict[str, float] = defaultdict(float)
    for name, same in zip(goal.recent, SAME_COSTS, strict=False):
        again[name] += same
    for leave in exits(out, entry, came, goal.wanted):
        alone = (leave - entry.enter) / entry.ratio - came
        side = Side(out, leave, entry.ratio, alone)
        late = TIME_COST * min(1.5, abs(leave - goal.wanted) / span)
        before = out.loudness(leave - 32, leave) - out.analysis.loudness.lufs
        for enter in starts:
            cost = late + _cost_of_entry(into, enter)
            for kind in kinds:
                for bars in kind.BARS:
                    other = Side(into, enter, goal.ratio)
                    meeting = TransitionContext(
                        side, other, bars, goal.tempo, goal.target, goal.key, goal.limit
                    )
                    score = rate(kind, meeting, goal.limit)[0]
                    if score <= 0:
                        continue
                    left = (into.end - other.at(meeting.beats)) / goal.ratio
                    short = SHORT_COST * max(0.0, 1 - left / (2 * MIN_ALONE_BEATS))
                    at = other.at(meeting.beats)
                    after = into.loudness(at, at + 32) - into.analysis.loudness.lufs
                    step = LOUDNESS_COST * abs(after - before)
                    value = score - cost - short - step - again[kind.KIND]
                    found.append((value, len(found), kind, meeting))
    # Clashes, and how loud it gets, take longer to find out: asked of the best ones only.
    best: TransitionCandidate | None = None
    for value, _, kind, meeting in sorted(found, key=lambda each: (-each[0], each[1])):
        if best is not None and value <= best.score:
            break
        made = propose(kind, meeting, goal.limit)
        if made is None:
            continue
        score = value - loudness_profile.cost(meeting, made.transition.rows)
        if best is None or score > best.score:
            best = TransitionCandidate(
                made, meeting.out.at(meeting.beats), meeting.into.beat, score
            )
    return best


def _cost_of_entry(into: TrackFeatures, enter: float) -> float:
    return SKIP_COST * max(0.0, enter - into.begin) / max(1, into.end - into.begin)
