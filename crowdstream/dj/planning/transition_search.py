"""Search for the best transition between two tracks: mix-out point, mix-in point and kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crowdstream.dj.key_compatibility import KeyFit
from crowdstream.dj.setfile.model import BEATS_PER_BAR, SetEntry
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import KINDS, Proposal, loudness_profile, propose, rate
from crowdstream.dj.transitions.base import (
    Side,
    TransitionContext,
    TransitionKind,
    can_ride,
)

MIN_SOLO_BEATS = 32.0  # clock beats that a track plays by itself, if it is long enough
MAX_EXITS = 6
BUILD_BARS = (4, 8, 16)  # mix-in points this long before a drop
RATIOS = (1.0, 0.5, 2.0)
# Relative tempo difference up to which tracks play in half or double time: that which a tempo ride
# bridges at the usual limit.
MAX_RATIO_MISMATCH = 0.12
# Costs that are subtracted from the transition's score of 0 to 1.
TIME_COST = 0.5  # the current track plays for twice the wanted time, or not at all
SKIP_COST = 0.3  # the mix-in point is at the end of the track
SHORT_COST = 0.4  # nothing is left of the track after the transition
LOUDNESS_COST = 0.04  # per dB of difference between the two
# Beyond this difference, trims do not even it out: 1 dB goes unnoticed, and a full-scale peak can
# be raised by 4.5 dB.
EVEN_DB, UNEVEN_COST = 5.0, 0.15  # per dB beyond
ALONE_COST = 0.28  # the two never play together: that is for the tracks that cannot
REPEAT_COSTS = (0.2, 0.12, 0.06)  # the same kind as the last transition, the one before, and before
# No kind makes up more than a third of this many transitions, unless only it is possible.
REMEMBERED_KINDS, MAX_KIND_SHARE = 12, 1 / 3
SHARE_COST = 0.6


@dataclass(frozen=True)
class TransitionCandidate:
    """A transition into another track. `leave`, `enter`: beats of the tracks' own grids."""

    proposal: Proposal
    leave: float
    enter: float
    score: float


@dataclass(frozen=True)
class Goal:
    """The target of the search.

    `tempo`, `target`: of the clock in beats per minute, before and after. `ratio`: beats of the
    incoming track per clock beat. `wanted`: beat of the playing track's grid at which the
    transition should start. `limit`: maximum tempo change while both play. `recent`: kinds of the
    previous transitions, the last one first.
    """

    tempo: float
    target: float
    ratio: float
    key: KeyFit
    wanted: float
    limit: float
    recent: tuple[str, ...] = ()


def match_tempo_ratio(bpm: float, clock: float, requested: float = 0.0) -> tuple[float, float]:
    """Match a track's tempo to the clock in single, half or double time.

    Return the track's beats per clock beat, and the clock tempo at which the track plays at its
    own speed. A tempo that does not match the clock is matched to `requested`; if it does not match
    that either, the ratio is 1.
    """
    for tempo in (clock, requested):
        if tempo:
            ratio = min(RATIOS, key=lambda ratio: abs(bpm / ratio / tempo - 1))
            if abs(bpm / ratio / tempo - 1) <= MAX_RATIO_MISMATCH:
                return ratio, bpm / ratio
    return 1.0, bpm


def entries(features: TrackFeatures, ratio: float) -> list[float]:
    """Return the mix-in points in beats: the first phrases, drops, and the bars before drops."""
    latest = features.begin + 0.5 * (features.end - features.begin)
    early = [beat for beat in features.phrases if beat <= latest]
    found = [beat for beat in early if features.energy(beat, beat + 16) > 0.05][:3]
    for drop in features.starts("drop")[:2]:
        builds = (drop - int(bars * BEATS_PER_BAR * ratio) for bars in (0, *BUILD_BARS))
        found += [beat for beat in builds if features.begin <= beat <= latest]
    found = found or early[:1] or [features.begin]
    return [float(beat) for beat in sorted(set(found)) if beat % features.meter == 0]


def exits(
    features: TrackFeatures, entry: SetEntry, mix_in_beats: float, wanted: float
) -> list[float]:
    """Return the mix-out points of the playing track, on phrases, the nearest to `wanted` first.

    `mix_in_beats`: length of its mix-in in clock beats. `wanted`: beat of its grid.
    """
    unit = BEATS_PER_BAR * max(1.0, entry.ratio)
    on_bars = [beat for beat in features.phrases if (beat - entry.enter) % unit == 0]
    for alone in (MIN_SOLO_BEATS, BEATS_PER_BAR):
        least = entry.enter + max(unit, (mix_in_beats + alone) * entry.ratio)
        found = [float(beat) for beat in on_bars if beat >= least]
        if found:
            return sorted(found, key=lambda beat: (abs(beat - wanted), beat))[:MAX_EXITS]
    # Shorter than a phrase: use its last bar line.
    bars = (features.end - entry.enter) // unit
    return [entry.enter + max(bars * unit, unit, mix_in_beats * entry.ratio)]


def find_transition(
    out: TrackFeatures,
    entry: SetEntry,
    mix_in_beats: float,
    into: TrackFeatures,
    goal: Goal,
    kinds: Sequence[TransitionKind] = KINDS,
) -> TransitionCandidate | None:
    """Return the best transition from the playing track into another, or None."""
    found: list[tuple[float, int, TransitionKind, TransitionContext]] = []
    span = max(1.0, goal.wanted - entry.enter)
    starts = entries(into, goal.ratio)
    repeat_cost = _repeat_cost(goal.recent)
    for leave in exits(out, entry, mix_in_beats, goal.wanted):
        alone = (leave - entry.enter) / entry.ratio - mix_in_beats
        side = Side(out, leave, entry.ratio, alone)
        late = TIME_COST * min(1.5, abs(leave - goal.wanted) / span)
        before = out.loudness(leave - 32, leave) - out.analysis.loudness.lufs
        for enter in starts:
            cost = late + _cost_of_entry(into, enter)
            for kind in kinds:
                for bars in kind.BARS:
                    other = Side(into, enter, goal.ratio)
                    context = TransitionContext(
                        side, other, bars, goal.tempo, goal.target, goal.key, goal.limit
                    )
                    score = rate(kind, context, goal.limit)[0]
                    if kind.BEATMATCHED and can_ride(context):
                        ride = replace(context, ride=True)
                        riding = rate(kind, ride, goal.limit)[0]
                        if riding > score:
                            score, context = riding, ride
                    if score <= 0:
                        continue
                    left = (into.end - other.at(context.beats)) / goal.ratio
                    short = SHORT_COST * max(0.0, 1 - left / (2 * MIN_SOLO_BEATS))
                    at = other.at(context.beats)
                    after = into.loudness(at, at + 32) - into.analysis.loudness.lufs
                    apart = abs(after - before)
                    step = LOUDNESS_COST * apart + UNEVEN_COST * max(0.0, apart - EVEN_DB)
                    alone_cost = 0.0 if bars else ALONE_COST
                    value = score - cost - short - step - alone_cost - repeat_cost[kind.KIND]
                    found.append((value, len(found), kind, context))
    # Clashes and loudness take longer to compute, so only the best candidates are examined.
    best: TransitionCandidate | None = None
    for value, _, kind, context in sorted(found, key=lambda each: (-each[0], each[1])):
        if best is not None and value <= best.score:
            break
        made = propose(kind, context, goal.limit)
        if made is None:
            continue
        score = value - loudness_profile.cost(context, made.transition.rows)
        if best is None or score > best.score:
            best = TransitionCandidate(
                made, context.out.at(context.beats), context.into.beat, score
            )
    return best


def _repeat_cost(recent: Sequence[str]) -> dict[str, float]:
    cost: dict[str, float] = defaultdict(float)
    for name, same in zip(recent, REPEAT_COSTS, strict=False):
        cost[name] += same
    before = recent[: REMEMBERED_KINDS - 1]
    for name in set(before):
        # Of few transitions, one more than a third is no monotony yet.
        if before.count(name) + 1 > max(2, MAX_KIND_SHARE * (len(before) + 1)):
            cost[name] += SHARE_COST
    return cost


def _cost_of_entry(into: TrackFeatures, enter: float) -> float:
    return SKIP_COST * max(0.0, enter - into.begin) / max(1, into.end - into.begin)
