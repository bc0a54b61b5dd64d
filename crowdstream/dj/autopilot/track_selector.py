"""Select the next track: in the order of a set file, or by the planner from a library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.setfile.controls import problem
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition
from crowdstream.library.database import LibraryError
from crowdstream.system.text import folded, normalize_accents

if TYPE_CHECKING:
    from crowdstream.dj.planning.candidates import Candidates
    from crowdstream.dj.planning.planner import Planner, TrackRequest


class NothingToPlay(Exception):
    """No track can be played. The message gives the reason and the remedy."""


@dataclass(frozen=True)
class SelectionRequest:
    """Requirements for the next track.

    `energy`: 0 to 1, None as planned. `tempo`: of the clock in beats per minute, 0 for any.
    `path`: only this track. `banned`: paths to exclude. `before`: paths that were played, the
    latest last. `kinds`: the kinds of the latest transitions, the latest last. `folders`: choose
    only tracks below these folders; empty: any. `tags`: choose only tracks with one of these tags;
    empty: any.
    """

    energy: float | None = None
    tempo: float = 0.0
    path: str = ""
    banned: frozenset[str] = frozenset()
    before: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def allows(self, path: str, tags: Collection[str] = ()) -> bool:
        """Return whether a track is below one of the folders and has one of the tags, if any.

        `tags`: of the track, in the form of `folded`.
        """
        inside = not self.folders or any(
            path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in self.folders
        )
        return inside and (not self.tags or any(folded(tag) in tags for tag in self.tags))


class TrackSelector(Protocol):
    """Extends a set track by track. `ends`: whether the set has an end."""

    ends: bool

    def first(self, request: SelectionRequest) -> Set:
        """Return a set to start with. Raise `NothingToPlay`."""

    def next(self, mix: Set, request: SelectionRequest) -> Set | None:
        """Return the set with one more track, or None if there is none."""

    def stale(self, request: SelectionRequest, path: str) -> bool:
        """Return whether a chosen track is to be replaced.

        That is so if it is a repeat, or not analysed, and analysed unplayed tracks are available.
        """

    def allows(self, request: SelectionRequest, path: str) -> bool:
        """Return whether a chosen track is in the folders and has the tags of the request."""

    def resumed(self, mix: Set) -> Set:
        """Return another DJ's set with the tracks that are to follow it."""

    def find(self, text: str) -> str:
        """Return the path of the track that a person names. Raise LookupError with the reason."""

    def is_lost(self, path: str) -> bool:
        """Return whether a track cannot be read because its whole folder is missing."""

    def problem(self) -> str:
        """Return which folder is missing, and why; empty if none is."""

    def overdue(self, playing: str, following: str) -> bool:
        """Return whether the playing track is to end soon, for the sake of the following one."""


@dataclass(frozen=True)
class Source:
    """A folder to choose from.

    `excluded`: tracks that are not in it. `contains`: returns whether a path is in it.
    `unanalysed`: returns a track that is not analysed yet and not among the given paths, or None.
    `choose`: called with the path of a track that was chosen from this source.
    """

    excluded: frozenset[str]
    unanalysed: Callable[[Collection[str]], SetEntry | None] | None
    choose: Callable[[str], None] = lambda _path: None
    contains: Callable[[str], bool] = lambda _path: True


class Sources(Protocol):
    """Where music comes from; see `music_folder.MusicSources`."""

    def candidates(self) -> Candidates:
        """Return the tracks of all sources, available or not."""

    def sources(self, banned: frozenset[str]) -> Sequence[Source]:
        """Return the sources that have something to play, the preferred one first."""

    def problem(self) -> str:
        """See `TrackSelector`."""

    def is_lost(self, path: str) -> bool:
        """See `TrackSelector`."""

    def overdue(self, playing: str, following: str) -> bool:
        """See `TrackSelector`."""


class _OneSource:
    # A folder that is always there.
    def __init__(
        self, candidates: Callable[[], Candidates],
        unanalysed: Callable[[Collection[str]], SetEntry | None] | None,
    ) -> None:  # fmt: skip
        self.candidates = candidates
        self._source = Source(frozenset(), unanalysed)

    def sources(self, banned: frozenset[str]) -> Sequence[Source]:
        return (self._source,)

    def problem(self) -> str:
        return ""

    def is_lost(self, path: str) -> bool:
        return False

    def overdue(self, playing: str, following: str) -> bool:
        return False


def found(paths: list[str], text: str) -> str:
    """Return the one path that equals `text`, ends or starts with it. Raise LookupError."""
    if text in paths:
        return text
    wanted = normalize_accents(text)
    fits = [path for path in paths if normalize_accents(path).endswith(wanted)
            or normalize_accents(name_of(path)).startswith(wanted)]  # fmt: skip
    if len(fits) == 1:
        return fits[0]
    many = f"{len(fits)} tracks match: give more of the path"
    raise LookupError(many if fits else "the DJ knows no such track")


class SetFileSelector:
    """Plays the tracks of a set file in their order, and ends."""

    ends = True

    def __init__(self, mix: Set) -> None:
        self._mix = mix

    def first(self, request: SelectionRequest) -> Set:
        """Return the whole set, without banned tracks."""
        mix = self._mix
        for path in request.banned:
            mix = without(mix, path)
        if not mix.entries:
            raise NothingToPlay("none of the set's tracks can be played")
        return mix

    def next(self, mix: Set, request: SelectionRequest) -> Set | None:
        """Append a track of the set file that a person requested; None without a request."""
        entry = next((one for one in self._mix.entries if one.path == request.path), None)
        return replace(mix, entries=(*mix.entries, entry)) if entry is not None else None

    def stale(self, request: SelectionRequest, path: str) -> bool:
        """Return False: the order of a set file is fixed."""
        return False

    def allows(self, request: SelectionRequest, path: str) -> bool:
        """Return True: a set file is played as it is."""
        return True

    def resumed(self, mix: Set) -> Set:
        """See `TrackSelector`."""
        last = mix.entries[-1]
        paths = [entry.path for entry in self._mix.entries]
        if last.path not in paths:
            return mix
        at = paths.index(last.path)
        own = self._mix.entries[at]
        # Without a transition, it was to play to the end of its file.
        leave = own.leave if last.transition is None else last.leave
        last = replace(last, leave=leave, transition=own.transition)
        return replace(mix, entries=(*mix.entries[:-1], last, *self._mix.entries[at + 1 :]))

    def find(self, text: str) -> str:
        """See `TrackSelector`."""
        return found([entry.path for entry in self._mix.entries], text)

    def is_lost(self, path: str) -> bool:
        """Return False: each track of a set file is tried."""
        return False

    def problem(self) -> str:
        """Return an empty string: the tracks of a set file may be in several folders."""
        return ""

    def overdue(self, playing: str, following: str) -> bool:
        """Return False: a set file has its own times."""
        return False


def without(mix: Set, path: str, after: int = -1) -> Set:
    """Return the set without a track, where it comes later than number `after`.

    The track before it keeps its transition into the track behind it, except for moves of stems
    that the new track does not have.
    """
    kept = [*mix.entries[: after + 1]]
    kept += [entry for entry in mix.entries[after + 1 :] if entry.path != path]
    if kept and kept[-1].transition is not None and kept[-1] is not mix.entries[-1]:
        kept[-1] = replace(kept[-1], transition=None)
    return replace(mix, entries=fitted(kept))


def fitted(entries: Sequence[SetEntry]) -> tuple[SetEntry, ...]:
    """Drop automation of stems that the incoming track of a transition does not have."""
    return (*(_into(entry, after) for entry, after in pairwise(entries)), *entries[-1:])


def _into(entry: SetEntry, after: SetEntry) -> SetEntry:
    transition = entry.transition
    if transition is None:
        return entry
    rows = tuple(
        row for row in transition.rows if row.target != "in" or not problem(row, after.stems)
    )
    return replace(entry, transition=replace(transition, rows=rows))


class EndlessSelector:
    """Lets the planner choose, endlessly. `candidates` returns the tracks available by now."""

    ends = False

    def __init__(
        self, planner: Callable[[Candidates], Planner], candidates: Callable[[], Candidates],
        energy: Callable[[], float],
        unanalysed: Callable[[Collection[str]], SetEntry | None] | None = None,
        sources: Sources | None = None,
    ) -> None:  # fmt: skip
        """`energy`: returns the planned energy, 0 to 1, at the present time.

        `unanalysed`: returns a track that is not analysed yet and not among the given paths, or
        None; None instead of the function if nothing analyses the folder. `sources`: used instead
        of `candidates` and `unanalysed`, for folders that may be missing.
        """
        self._make_planner = planner
        self._sources = sources or _OneSource(candidates, unanalysed)
        self._candidates = self._sources.candidates
        self._energy = energy
        self._analyses = sources is not None or unanalysed is not None

    def _banned(self, candidates: Candidates, request: SelectionRequest) -> frozenset[str]:
        if not request.path:
            inside = {
                card.path for card in candidates.cards if request.allows(card.path, card.tags)
            }
            if not inside - request.banned:
                return request.banned  # other music is better than silence
            return request.banned | {card.path for card in candidates.cards} - inside
        return frozenset(card.path for card in candidates.cards if card.path != request.path)

    def _track_request(self, candidates: Candidates, request: SelectionRequest) -> TrackRequest:
        from crowdstream.dj.planning.planner import TrackRequest

        energy = self._energy() if request.energy is None else request.energy
        return TrackRequest(
            energy,
            request.tempo,
            banned=self._banned(candidates, request),
            allow_repeats=True,
            before=request.before,
            kinds=request.kinds,
        )

    def _limited(self, request: SelectionRequest) -> list[tuple[Source, SelectionRequest]]:
        # The request to each source, which excludes the tracks of all others, and damaged ones.
        banned = request.banned | self._candidates().damaged
        return [
            (source, replace(request, banned=banned | source.excluded))
            for source in self._sources.sources(banned)
        ]

    def first(self, request: SelectionRequest) -> Set:
        """See `TrackSelector`."""
        candidates = self._candidates()
        problem: NothingToPlay | None = None
        for source, limited in self._limited(request):
            try:
                mix = self._first(candidates, source, limited)
            except NothingToPlay as error:
                problem = problem or error
            else:
                source.choose(mix.entries[0].path)
                return mix
        missing = self._sources.problem()
        if missing:
            raise NothingToPlay(f"there is nothing to play ({missing}); the DJ looks again every "
                                "few seconds")  # fmt: skip
        raise problem or NothingToPlay(self._no_track(candidates))

    def _first(self, candidates: Candidates, source: Source, request: SelectionRequest) -> Set:
        from crowdstream.dj.planning.planner import PlanError

        if self._only_repeats(candidates, request):
            entry = self._as_it_is(candidates, source, request)
            if entry is not None:
                return Set(entry.bpm, (entry,))
        try:
            return self._make_planner(candidates).first(self._track_request(candidates, request))
        except (PlanError, LibraryError) as error:
            if candidates.cards or candidates.left_out or not self._analyses:
                raise NothingToPlay(str(error)) from None
            raise NothingToPlay(self._no_track(candidates)) from None

    def _no_track(self, candidates: Candidates) -> str:
        if self._analyses and not candidates.cards and not candidates.left_out:
            return "no track was found; the folder is searched again every few seconds"
        return "none of the tracks can be played; the folder is searched again every few seconds"

    def _only_repeats(self, candidates: Candidates, request: SelectionRequest) -> bool:
        played = {*request.before, *request.banned}
        return not request.path and all(card.path in played for card in candidates.cards)

    def _as_it_is(
        self, candidates: Candidates, source: Source, request: SelectionRequest
    ) -> SetEntry | None:
        if source.unanalysed is None:
            return None
        known = {card.path for card in candidates.cards if card.path not in source.excluded}
        return source.unanalysed({*known, *request.before, *request.banned} - source.excluded)

    def next(self, mix: Set, request: SelectionRequest) -> Set | None:
        """See `TrackSelector`. No track is repeated while unplayed ones are available.

        That includes tracks that are not analysed yet; these play as they are.

        If the planner finds no transition, one track ends and the next one starts.
        """
        candidates = self._candidates()
        for source, limited in self._limited(request):
            made = self._next(candidates, source, mix, limited)
            if made is not None:
                source.choose(made.entries[-1].path)
                return made
        return None

    def _next(
        self, candidates: Candidates, source: Source, mix: Set, request: SelectionRequest
    ) -> Set | None:
        from crowdstream.dj.planning.planner import PlanError

        planner, track_request = (
            self._make_planner(candidates),
            self._track_request(candidates, request),
        )
        last = mix.entries[-1]
        played = replace(request, before=(*request.before, last.path))
        into = None
        if self._only_repeats(candidates, played):
            entry = self._as_it_is(candidates, source, played)
            into = Set(entry.bpm, (entry,)) if entry is not None else None
        if into is None:
            try:
                choice = planner.next(mix, track_request)
                if choice is not None:
                    return choice.added_to(mix)
                into = planner.first(self._track_request(candidates, played))
            except (PlanError, LibraryError):
                return None
        rows = (AutomationPoint(0.0, "clock", "tempo", into.bpm),)
        why = "no other transition fits these two tracks"
        if not into.entries[0].confidence or not last.confidence:
            why = "tracks that are not analysed do not overlap"
        cut = Transition("cut", 0, rows, why)
        return mix.appended(cut, last.leave, into.entries[0])

    def stale(self, request: SelectionRequest, path: str) -> bool:
        """See `TrackSelector`: more tracks may have been analysed since, or a folder is back."""
        candidates = self._candidates()
        for source, limited in self._limited(request):
            played = {*limited.before, *limited.banned}
            cards = {card.path for card in candidates.cards}
            if not source.contains(path):
                entry = self._as_it_is(candidates, source, limited)
                return bool(cards - played) or entry is not None
            return (path in played or path not in cards) and bool(cards - played)
        return False

    def allows(self, request: SelectionRequest, path: str) -> bool:
        """See `TrackSelector`."""
        candidates = self._candidates()
        tags = candidates.card(path).tags if path in candidates else frozenset[str]()
        return request.allows(path, tags)

    def resumed(self, mix: Set) -> Set:
        """See `TrackSelector`."""
        return mix

    def find(self, text: str) -> str:
        """See `TrackSelector`."""
        return found([card.path for card in self._candidates().cards], text)

    def is_lost(self, path: str) -> bool:
        """See `TrackSelector`."""
        return self._sources.is_lost(path)

    def problem(self) -> str:
        """See `TrackSelector`."""
        return self._sources.problem()

    def overdue(self, playing: str, following: str) -> bool:
        """See `TrackSelector`."""
        return self._sources.overdue(playing, following)
