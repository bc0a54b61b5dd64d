"""Planning: which track comes next, where it enters, and the transition into it.

    options = PlanOptions(minutes=60, seed=7, curve=find_curve("wave"))
    planner = Planner(of_library(library), options)
    mix = planner.plan().mix
    choice = planner.next(mix, TrackRequest(energy=0.8))      # one more, for an endless mix

The same tracks, options and seed give the same set.

Make a set entry of a track: from its mix-in point to its end, at the common loudness.

Recognise music that was already played under another name, by audio fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest

from crowdstream.analysis.fingerprint import MAX_SAME_DISTANCE, distance
from crowdstream.dj.key_compatibility import best_key_fit, transposed
from crowdstream.dj.planning.candidates import Candidates, Card
from crowdstream.dj.planning.cost_model import COMFORT, STRETCH, CostModel
from crowdstream.dj.planning.energy_curve import NAMED, Curve
from crowdstream.dj.planning.track_order import find_order
from crowdstream.dj.planning.transition_search import (
    Goal,
    TransitionCandidate,
    find_transition,
    match_tempo_ratio,
)
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Set, SetEntry, Transition
from crowdstream.dj.setfile.timed_commands import placements, tempo_map
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions import loudness_profile
from crowdstream.library.database import LibraryDamaged

TARGET_LUFS = -16.0  # of each track; leaves headroom for two tracks below the limiter
MAX_GAIN_DB, MIN_GAIN_DB = 12.0, -24.0
UNMIXED_CONFIDENCE = 0.5  # maximum of a track that plays alone, whatever the reason
PEAK_DB = 3.0  # peak above full scale to which a quiet track may be raised: the limiter handles it


def entry_of(
    features: TrackFeatures, enter: float, ratio: float, why: str, shift: int = 0
) -> SetEntry:
    """Return a track from a beat of its grid to its end, trimmed to the common loudness.

    `shift`: transposition in semitones.
    """
    loudness = features.analysis.loudness
    gain = min(TARGET_LUFS - loudness.lufs, PEAK_DB - loudness.peak_db, MAX_GAIN_DB)
    unit = BEATS_PER_BAR * max(1.0, ratio)
    leave = enter + max(unit, (features.end - enter) // unit * unit)
    if features.left_out:
        why += f"; {features.left_out}"
    if features.meter != BEATS_PER_BAR:
        why += f"; its bars have {features.meter} beats: it plays alone"
    elif features.uncertain:
        tempo = features.analysis.tempo
        what = "beatgrid" if tempo.uncertain else "downbeat"
        doubt = f" ({tempo.doubt})" if tempo.doubt else ""
        why += f"; its {what} is uncertain{doubt}: it plays alone"
    return SetEntry(
        features.path,
        features.anchors,
        enter,
        leave,
        ratio,
        round(max(MIN_GAIN_DB, gain), 2),
        True,
        transposed(features.analysis.key.name, shift),
        features.stems,
        why,
        confidence=min(features.analysis.tempo.confidence, UNMIXED_CONFIDENCE)
        if features.uncertain else 1.0,
        pitch=float(shift),
    )


RECENT_TRACKS = 20  # tracks: if repeats are allowed, music may return after this many others


class PlayedTracks:
    """Compares fingerprints of candidate tracks; reads each one once."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._fingerprints: dict[str, str] = {}

    def contains(self, path: str, played: Sequence[str], recent_only: bool) -> bool:
        """Return whether the same music is in `played` under another path.

        `recent_only`: look only at the last `RECENT_TRACKS` tracks.
        """
        fingerprint = self._fingerprint(path)
        return bool(fingerprint) and any(
            distance(self._fingerprint(other), fingerprint) <= MAX_SAME_DISTANCE
            for other in (played[-RECENT_TRACKS:] if recent_only else played)
            if other != path and other in self._candidates
        )

    def _fingerprint(self, path: str) -> str:
        if path not in self._fingerprints:
            try:
                found = self._candidates.features(path).analysis.fingerprint
            except LibraryDamaged:
                found = ""
            self._fingerprints[path] = found
        return self._fingerprints[path]


MIN_SECONDS, MAX_SECONDS = 75.0, 210.0  # playing time of a track, if it is long enough
USUAL_SECONDS = 110.0  # typical playing time if there are enough tracks
MAX_RANKED = 1000  # of more candidates, the seed samples this many, different for each place
MAX_COMPARED = 6  # candidates with transitions to compare for each place
PREFERRED_BONUS = 1.0  # bonus for the track that the order of the whole set proposes
FADE_BARS = 8  # fade-out of the last track
WAVE = Curve("wave", NAMED["wave"])


class PlanError(ValueError):
    """No track can be planned. The message gives the reason and the remedy."""


@dataclass(frozen=True)
class PlanOptions:
    """Options for a whole set. `comfort`, `stretch`: tempo limits as in `CostModel`."""

    minutes: float = 60.0
    seed: int = 1
    curve: Curve = WAVE
    comfort: float = COMFORT
    stretch: float = STRETCH


@dataclass(frozen=True)
class TrackRequest:
    """Requirements for the next track.

    `energy`: 0 to 1. `tempo`: of the clock in beats per minute, 0 for the track's own.
    `seconds`: total playing time of the current track. `banned`: paths to exclude. `allow_repeats`:
    allow repeats of the tracks that were played longest ago. `before`: paths played before the
    tracks of the set, the latest last. `kinds`: the kinds of their transitions, the latest last.
    """

    energy: float = 0.5
    tempo: float = 0.0
    seconds: float = 150.0
    banned: frozenset[str] = frozenset()
    allow_repeats: bool = False
    before: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The next track. `leave`, `transition`: of the current track; see `Set.appended`."""

    entry: SetEntry
    transition: Transition
    leave: float
    score: float
    others: tuple[str, ...] = ()

    def added_to(self, mix: Set) -> Set:
        """Return the set with this track appended."""
        return mix.appended(self.transition, self.leave, self.entry)


@dataclass
class Plan:
    """A set, with notes for the user and the alternatives to each track."""

    mix: Set
    notes: list[str] = field(default_factory=list)
    others: list[tuple[str, ...]] = field(default_factory=list)


class Planner:
    """Plans sets from candidate tracks."""

    def __init__(self, candidates: Candidates, options: PlanOptions | None = None) -> None:
        self._candidates = candidates
        self._options = options or PlanOptions()
        self._cost_model = CostModel(
            self._options.seed, self._options.comfort, self._options.stretch
        )
        self._played_tracks = PlayedTracks(candidates)

    # A whole set

    def plan(self) -> Plan:
        """Plan a set of the requested length. Raise `PlanError` if there are no tracks."""
        options = self._options
        wanted = 60.0 * options.minutes
        most = len(self._candidates.cards)
        order = find_order(self._candidates, self._cost_model, options.curve, _count(wanted, most))
        usual = max(MIN_SECONDS, min(MAX_SECONDS, wanted / max(1, len(order))))
        begin = frozenset(
            card.path for card in self._candidates.cards if card.path not in order[:1]
        )
        plan = Plan(self.first(TrackRequest(options.curve.energy(0.0), banned=begin)))
        plan.others.append(())
        order = order[1:]
        while True:
            mix = plan.mix
            tempo, place = tempo_map(mix), placements(mix)[-1]
            begun, end = tempo.second(place.begin), tempo.second(place.end)
            if begun + 1.5 * usual >= wanted and end >= 0.95 * wanted:
                break
            order = order or self._order_from(mix, begun, wanted)
            seconds = (wanted - begun) / (len(order) + 1)
            seconds = max(MIN_SECONDS, min(MAX_SECONDS, seconds))
            share = min(1.0, (begun + seconds) / wanted)
            request = TrackRequest(options.curve.energy(share), seconds=seconds)
            choice = self.next(mix, request, order[0] if order else "")
            if choice is None:
                break
            plan.mix = choice.added_to(mix)
            plan.others.append(choice.others)
            if choice.entry.path != order[0]:
                order = self._order_from(plan.mix, begun + seconds, wanted)
            else:
                order = order[1:]
        plan.mix = self._with_ending(plan.mix, wanted)
        lasts = tempo_map(plan.mix).second(placements(plan.mix)[-1].end)
        if lasts < 0.9 * wanted:
            count = len(plan.mix.entries)
            plan.notes.append(
                f"these {count} tracks last {lasts / 60:.1f} minutes without repeats: "
                f"add more tracks for {options.minutes:g} minutes"
                if count > 1 else f"the only track lasts {lasts / 60:.1f} minutes"
            )  # fmt: skip
        return plan

    def _order_from(self, mix: Set, begun: float, wanted: float) -> list[str]:
        # The order of tracks after the last one, which starts at `begun` seconds.
        played = {entry.path for entry in mix.entries} | self._candidates.damaged
        left = len(self._candidates.cards) - len(played)
        rest = max(0.0, wanted - begun)
        count = min(left, max(1, _count(rest, left + 1) - 1))
        last = self._candidates.card(mix.entries[-1].path)
        share = min(1.0, (begun + rest / (count + 1)) / wanted)
        curve = self._options.curve
        return find_order(self._candidates, self._cost_model, curve, count, share, last, played)

    def _with_ending(self, mix: Set, wanted: float) -> Set:
        # Let the last track end, or fade it out on a phrase near the requested end.
        *before, last = mix.entries
        features = self._candidates.features(last.path)
        tempo, place = tempo_map(mix), placements(mix)[-1]
        if tempo.second(place.end) <= wanted + 30:
            return mix
        stop = last.enter + (tempo.beat(wanted) - place.begin) * last.ratio
        least = last.enter + (place.mix_in_end - place.begin + 4 * BEATS_PER_BAR) * last.ratio
        ends = [beat for beat in features.phrases if beat >= least] or [features.end]
        leave = float(min(ends, key=lambda beat: abs(beat - stop)))
        length = (leave - least) / last.ratio
        bars = min(FADE_BARS, int(length // BEATS_PER_BAR))
        fade = None
        if leave < features.end and bars:
            beats = float(bars * BEATS_PER_BAR)
            fade = Transition("fade out", bars, (AutomationPoint(0, "out", "level", 0, beats),
                                                 AutomationPoint(0, "out", "filter", 0.4, beats)),
                              "the set ends with this phrase")  # fmt: skip
        return replace(mix, entries=(*before, replace(last, leave=leave, transition=fade)))

    # Track by track

    def first(self, request: TrackRequest) -> Set:
        """Start a set with one track. Raise `PlanError` if there is none."""
        cards = self._allowed(request)
        if not cards:
            raise PlanError(self._no_tracks_reason())
        cards = [card for card in cards if card.path not in set(request.before)] or cards

        def cost(card: Card) -> float:
            energy = self._cost_model.energy(self._candidates.energy(card), request.energy)
            tempo = abs(card.tempo - request.tempo) / request.tempo if request.tempo else 0.0
            return energy + tempo + 2 * self._cost_model.chance(card.path)

        card, features = self._first_playable(sorted(cards, key=cost))
        enter = float(features.begin if features.energy(features.begin, features.begin + 16) > 0.02
                      else features.phrases[0])  # fmt: skip
        ratio, bpm = 1.0, features.bpm
        if request.tempo:
            ratio, bpm = match_tempo_ratio(features.bpm, request.tempo)
        bpm = self._cost_model.within(bpm, request.tempo)
        energy = self._candidates.energy(card)
        why = f"opens the set: energy {energy:.2f}, wanted {request.energy:.2f}"
        entry = entry_of(features, enter, ratio, why)
        return Set(bpm, (entry,))

    def _first_playable(self, cards: Sequence[Card]) -> tuple[Card, TrackFeatures]:
        # A track without a whole bar would end before its safety loop.
        short: tuple[Card, TrackFeatures] | None = None
        problem: LibraryDamaged | None = None
        for card in cards:
            try:
                features = self._candidates.features(card.path)
            except LibraryDamaged as error:
                problem = problem or error
                continue
            if features.end - features.begin >= BEATS_PER_BAR:
                return card, features
            short = short or (card, features)
        if short is not None:
            return short
        assert problem is not None  # there is a card
        raise problem

    def _no_tracks_reason(self) -> str:
        if self._candidates.damaged:
            return "the library's entries are corrupt: run crowdstream analyze --again FOLDER"
        left = self._candidates.left_out
        if left:
            shown = "; ".join(left[:3]) + ("; ..." if len(left) > 3 else "")
            return f"no track can be played: {shown}"
        return "there are no analysed tracks: run crowdstream analyze FOLDER"

    def next(self, mix: Set, request: TrackRequest, preferred: str = "") -> Choice | None:
        """Choose the track to follow the last one of `mix`; None if no track is left.

        `preferred`: path of the track to choose if any transition leads into it.
        """
        last = mix.entries[-1]
        if last.path not in self._candidates:
            return None
        try:
            features = self._candidates.features(last.path)
        except LibraryDamaged:
            return None
        if last.anchors != features.anchors:
            return None  # it was analysed after it began to play, so its beats have other numbers
        place, tempo = placements(mix)[-1], tempo_map(mix)
        clock = tempo.bpm(place.end)
        mix_in_beats = place.mix_in_end - place.begin
        end = tempo.second(place.begin) + request.seconds
        wanted = last.enter + (tempo.beat(end) - place.begin) * last.ratio
        own_kinds = (entry.transition.kind for entry in mix.entries[:-1] if entry.transition)
        recent = (*request.kinds, *own_kinds)[::-1]

        def candidate_into(card: Card) -> TransitionCandidate | None:
            # The card may be older than the analysis, to whose grid the tempo has to belong.
            into = self._candidates.features(card.path)
            ratio, own = match_tempo_ratio(into.bpm, clock, request.tempo)
            target = self._cost_model.within(own, request.tempo)
            key = best_key_fit(last.key, card.key)
            goal = Goal(clock, target, ratio, key, wanted, self._options.comfort, recent)
            return find_transition(features, last, mix_in_beats, into, goal)

        found: list[tuple[float, Card, TransitionCandidate]] = []
        for cost, card in self._ranked(mix, request, clock, preferred):
            try:
                candidate = candidate_into(card)
            except LibraryDamaged:
                continue
            if candidate is not None:
                found.append((candidate.score - cost, card, candidate))
            if len(found) == MAX_COMPARED:
                break
        if not found:
            return None
        found.sort(key=lambda each: (-each[0] - PREFERRED_BONUS * (each[1].path == preferred),
                                     each[1].path))  # fmt: skip
        return self._choice(mix, found, request, clock)

    def _choice(
        self,
        mix: Set,
        found: Sequence[tuple[float, Card, TransitionCandidate]],
        request: TrackRequest,
        clock: float,
    ) -> Choice:
        score, card, candidate = found[0]
        features = self._candidates.features(card.path)
        context = candidate.proposal.context
        change = 100 * (context.target / clock - 1)
        energy = self._candidates.energy(card)
        ratio_note = {0.5: ", double time", 2.0: ", half time"}.get(context.into.ratio, "")
        why = (
            f"energy {energy:.2f}, wanted {request.energy:.2f}; {context.key.words}; "
            f"tempo {clock:.2f} to {context.target:.2f} ({change:+.1f} %{ratio_note})"
        )
        others = tuple(
            f"{other.name}: {_score_difference(score - worse)} ({place.proposal.transition.kind}, "
            f"energy {self._candidates.energy(other):.2f}, {place.proposal.context.key.words}, "
            f"tempo {100 * (place.proposal.context.target / clock - 1):+.1f} %)"
            for worse, other, place in found[1:4]
        )
        entry = entry_of(features, candidate.enter, context.into.ratio, why, context.key.shift)
        made = candidate.proposal.transition
        offset_db = loudness_profile.trim_offset(
            context, _trim_at_exit(mix, context.out.beat), entry.gain_db
        )
        made = replace(
            made,
            rows=(
                *made.rows,
                *loudness_profile.trim_offset_rows(context, entry.gain_db, offset_db),
            ),
        )
        return Choice(entry, made, candidate.leave, score, others)

    def _ranked(
        self, mix: Set, request: TrackRequest, clock: float, preferred: str
    ) -> Iterator[tuple[float, Card]]:
        # The preferred track first, then by ascending cost.
        played = _played(mix, request)
        index, cards = len(played), self._eligible(mix, request)
        if len(cards) > MAX_RANKED:
            chances = {card.path: self._cost_model.chance(card.path, index) for card in cards}
            chances[preferred] = -1.0
            cards = nsmallest(MAX_RANKED, cards, key=lambda card: chances[card.path])
        costs = sorted(
            (self._cost(card, clock, mix.entries[-1], request, index), card.path) for card in cards
        )
        costs.sort(key=lambda each: each[1] != preferred)
        duplicates: list[tuple[float, Card]] = []
        for cost, path in costs:
            each = (cost, self._candidates.card(path))
            if self._played_tracks.contains(path, played, request.allow_repeats):
                duplicates.append(each)
            else:
                yield each
        # Repeat recently played music rather than stop the session.
        if request.allow_repeats and len(duplicates) == len(costs):
            yield from duplicates

    def _allowed(self, request: TrackRequest) -> list[Card]:
        candidates = self._candidates
        return [
            card for card in candidates.cards
            if card.path not in request.banned and card.path in candidates
        ]

    def _eligible(self, mix: Set, request: TrackRequest) -> list[Card]:
        played = _played(mix, request)
        cards = self._allowed(request)
        before = set(played)
        fresh = [card for card in cards if card.path not in before]
        if fresh or not request.allow_repeats or not cards:
            return fresh
        recent = set(played[-max(1, len(cards) // 2) :]) if len(cards) > 1 else set()
        return [card for card in cards if card.path not in recent]

    def _cost(
        self, card: Card, clock: float, last: SetEntry, request: TrackRequest, index: int
    ) -> float:
        cost_model = self._cost_model
        return (
            cost_model.energy(self._candidates.energy(card), request.energy)
            + cost_model.step(self._candidates.card(last.path), card, clock, request.tempo)
            + cost_model.chance(card.path, index)
        )


def _played(mix: Set, request: TrackRequest) -> list[str]:
    return [*request.before, *(entry.path for entry in mix.entries)]


def _trim_at_exit(mix: Set, mix_out: float) -> float:
    # The trim in dB of the last track at the beat of its grid at which it starts to leave.
    last = mix.entries[-1]
    if len(mix.entries) > 1:
        into = mix.entries[-2].transition
        rows = into.rows if into is not None else ()
    else:
        rows = mix.mix_in_rows
    return loudness_profile.trim_at(rows, last.gain_db, (mix_out - last.enter) / last.ratio)


def _count(seconds: float, most: int) -> int:
    # The number of tracks at their usual playing time, from 1 to `most`.
    usual = round(seconds / USUAL_SECONDS)
    return max(1, min(usual, most))


def _score_difference(less: float) -> str:
    if less >= 0:
        return f"scores {less:.2f} less"
    return f"scores {-less:.2f} more here, but less with the tracks that follow"
