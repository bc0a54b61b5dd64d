"""What comes next: as a set file says, or as the planner chooses from a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.setfile.controls import problem
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition
from crowdstream.system.text import composed

if TYPE_CHECKING:
    from crowdstream.dj.planning.candidates import Candidates
    from crowdstream.dj.planning.planner import Planner, Wish


class NothingToPlay(Exception):
    """There is no track. The message says why and what to do."""


@dataclass(frozen=True)
class SelectionRequest:
    """What the next track is to be. `energy`: 0 to 1, None: as planned. `tempo`: of the clock, 0
    any. `path`: this one and no other. `banned`, `before`: paths that may not come, and those that
    were played, the latest last."""

    energy: float | None = None
    tempo: float = 0.0
    path: str = ""
    banned: frozenset[str] = frozenset()
    before: tuple[str, ...] = ()


class TrackSelector(Protocol):
    """Makes a set, track by track. `ends`: it does."""

    ends: bool

    def first(self, asked: SelectionRequest) -> Set:
        """A set to begin with. Raises `NothingToPlay`."""

    def next(self, mix: Set, asked: SelectionRequest) -> Set | None:
        """The set with one more track; None where there is none."""

    def stale(self, asked: SelectionRequest, path: str) -> bool:
        """Whether a track that was chosen to come next was played and others, by now, were not."""

    def resumed(self, mix: Set) -> Set:
        """What another DJ has begun, with what is to come after that."""

    def find(self, text: str) -> str:
        """The path of a track that a person names. Raises LookupError, saying why."""


def found(paths: list[str], text: str) -> str:
    """The one of `paths` that is `text` or ends with it. Raises LookupError."""
    if text in paths:
        return text
    wanted = composed(text)
    fits = [path for path in paths if composed(path).endswith(wanted)
            or composed(name_of(path)).startswith(wanted)]  # fmt: skip
    if len(fits) == 1:
        return fits[0]
    many = f"{len(fits)} tracks are called so: say more of the path"
    raise LookupError(many if fits else "the DJ knows no such track")


class SetFileSelector:
    """A set file: its tracks in their order, and then the end."""

    ends = True

    def __init__(self, mix: Set) -> None:
        self._mix = mix

    def first(self, asked: SelectionRequest) -> Set:
        """The whole set."""
        mix = self._mix
        for path in asked.banned:
            mix = without(mix, path)
        if not mix.entries:
            raise NothingToPlay("none of the set's tracks can be played")
        return mix

    def next(self, mix: Set, asked: SelectionRequest) -> Set | None:
        """A set is what it is, but for a track of it that a person asks for."""
        entry = next((one for one in self._mix.entries if one.path == asked.path), None)
        return replace(mix, entries=(*mix.entries, entry)) if entry is not None else None

    def stale(self, asked: SelectionRequest, path: str) -> bool:
        """A set is what it is."""
        return False

    def resumed(self, mix: Set) -> Set:
        """See `Chooser`."""
        last = mix.entries[-1]
        paths = [entry.path for entry in self._mix.entries]
        if last.path not in paths:
            return mix
        at = paths.index(last.path)
        last = replace(last, transition=self._mix.entries[at].transition)
        return replace(mix, entries=(*mix.entries[:-1], last, *self._mix.entries[at + 1 :]))

    def find(self, text: str) -> str:
        """See `Chooser`."""
        return found([entry.path for entry in self._mix.entries], text)


def without(mix: Set, path: str, after: int = -1) -> Set:
    """The set without a track, as far as it comes later than number `after`.

    The track before goes into the one behind it in the same way, but for moves of stems that
    that one has not.
    """
    kept = [*mix.entries[: after + 1]]
    kept += [entry for entry in mix.entries[after + 1 :] if entry.path != path]
    if kept and kept[-1].transition is not None and kept[-1] is not mix.entries[-1]:
        kept[-1] = replace(kept[-1], transition=None)
    return replace(mix, entries=fitted(kept))


def fitted(entries: Sequence[SetEntry]) -> tuple[SetEntry, ...]:
    """Entries whose transitions move only stems that the track behind them has."""
    return (*(_into(entry, after) for entry, after in pairwise(entries)), *entries[-1:])


def _into(entry: SetEntry, after: SetEntry) -> SetEntry:
    way = entry.transition
    if way is None:
        return entry
    rows = tuple(row for row in way.rows if row.who != "in" or not problem(row, after.stems))
    return replace(entry, transition=replace(way, rows=rows))


class EndlessSelector:
    """The planner's choice, without an end. `shelf` gives the tracks that there are by now."""

    ends = False

    def __init__(
        self, planner: Callable[[Candidates], Planner], shelf: Callable[[], Candidates],
        energy: Callable[[], float],
    ) -> None:  # fmt: skip
        """`energy`: of the plan, at this time of the night."""
        self._make = planner
        self._shelf = shelf
        self._energy = energy

    def _banned(self, shelf: Candidates, asked: SelectionRequest) -> frozenset[str]:
        if not asked.path:
            return asked.banned
        return frozenset(card.path for card in shelf.cards if card.path != asked.path)

    def _wish(self, shelf: Candidates, asked: SelectionRequest) -> Wish:
        from crowdstream.dj.planning.planner import Wish

        energy = self._energy() if asked.energy is None else asked.energy
        return Wish(energy, asked.tempo, banned=self._banned(shelf, asked), again=True,
                    before=asked.before)  # fmt: skip

    def first(self, asked: SelectionRequest) -> Set:
        """See `Chooser`."""
        from crowdstream.dj.planning.planner import PlanError

        shelf = self._shelf()
        try:
            return self._make(shelf).first(self._wish(shelf, asked))
        except PlanError as error:
            raise NothingToPlay(str(error)) from None

    def next(self, mix: Set, asked: SelectionRequest) -> Set | None:
        """See `Chooser`. A track is not played again while there are others.

        Where the planner knows no way, one track ends and the other begins.
        """
        from crowdstream.dj.planning.planner import PlanError

        shelf = self._shelf()
        planner, wish = self._make(shelf), self._wish(shelf, asked)
        choice = planner.next(mix, wish)
        if choice is not None:
            return choice.added_to(mix)
        last = mix.entries[-1]
        try:
            into = planner.first(replace(wish, before=(*wish.before, last.path)))
        except PlanError:
            return None
        rows = (AutomationPoint(0.0, "clock", "tempo", into.bpm),)
        cut = Transition("cut", 0, rows, "no other way leads there from what plays")
        return mix.appended(cut, last.leave, into.entries[0])

    def stale(self, asked: SelectionRequest, path: str) -> bool:
        """See `Chooser`: more tracks may have been analysed meanwhile."""
        played = {*asked.before, *asked.banned}
        return path in played and any(card.path not in played for card in self._shelf().cards)

    def resumed(self, mix: Set) -> Set:
        """See `Chooser`."""
        return mix

    def find(self, text: str) -> str:
        """See `Chooser`."""
        return found([card.path for card in self._shelf().cards], text)
