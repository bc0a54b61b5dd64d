"""How far a DJ is: one value, which only its player replaces by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from crowdstream.dj.autopilot.resume_state import ResumeState
from crowdstream.dj.setfile.model import Set, SetEntry


class Stage(StrEnum):
    """How far the track that comes is."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"
    GOING = "going"


FOLLOWING = {
    Stage.NONE: {Stage.NONE, Stage.LOADING, Stage.GOING},  # going: another DJ has begun it
    Stage.LOADING: {Stage.NONE, Stage.READY},
    Stage.READY: {Stage.NONE, Stage.GOING},
    Stage.GOING: {Stage.NONE},
}
"""Which stages may follow each. What is started anew, is left out or has come in is at none."""


@dataclass(frozen=True)
class State:
    """What a DJ plays and has decided.

    The set begins with the track that plays: those before it are forgotten as they end. So
    `index` is 0, and -1 before the first one plays; `index` + 1 is the track that comes. Beats
    of the set and of the server's clock are `offset` apart.
    """

    mix: Set | None = None
    index: int = -1
    offset: float = 0.0
    decks: Mapping[int, str] = field(default_factory=dict)
    stage: Stage = Stage.NONE
    since: float = 0.0  # when it was reached
    before: Set | None = None  # the set without what was chosen last
    closing: bool = False  # the last track of a set file is let out
    finished: bool = False
    laps: int = 0  # that the track that plays has gone round for want of the next one
    armed: tuple[Any, ...] = ()  # deck, and the loop that it was told last
    quiet: float | None = None  # since when nothing is heard
    used: frozenset[str] = frozenset()  # decks with tracks of its own that are not wanted any more
    leaving: frozenset[str] = frozenset()  # decks that are being emptied
    superseded: frozenset[str] = frozenset()  # decks whose next reply is to a load that was dropped
    looked_at: float = 0.0  # for a track
    doubted_at: float = 0.0  # whether another one would be better
    granted: str = ""  # the latest wish that was planned
    note: str = "looking for the server"
    # What people have said, and what has become of tracks.
    holding: bool = False
    energy: float | None = None
    wished: tuple[str, ...] = ()
    banned: frozenset[str] = frozenset()
    bad: Mapping[str, float] = field(default_factory=dict)  # what could not be loaded, and when
    history: tuple[str, ...] = ()

    @property
    def next(self) -> int:
        """The place in the set of the track that comes."""
        return self.index + 1

    @property
    def coming(self) -> SetEntry | None:
        """The track that comes, if it is chosen."""
        entries = self.mix.entries if self.mix is not None else ()
        return entries[self.next] if self.next < len(entries) else None

    @property
    def playing(self) -> SetEntry | None:
        """The track that plays."""
        return self.mix.entries[self.index] if self.mix is not None and self.index >= 0 else None

    def at(self, stage: Stage, now: float) -> State:
        """The track that comes is at another stage from now on."""
        assert stage in FOLLOWING[self.stage], f"{self.stage} to {stage}"
        return replace(self, stage=stage, since=now)

    def begun(self, mix: Set, now: float) -> State:
        """With another set, whose first track is to be loaded; what was said stays."""
        return replace(
            self.at(Stage.NONE, now), mix=mix, index=-1, decks={}, armed=(), before=None,
            closing=False, quiet=None, laps=0, superseded=frozenset(),
            used=self.used | set(self.decks.values()),
        )

    def without_deck(self, now: float) -> State:
        """The deck of the track that comes is free again."""
        deck = {self.decks.get(self.next, "")} - {""}
        dropped = deck if self.stage == Stage.LOADING else set()
        decks = {number: one for number, one in self.decks.items() if number != self.next}
        return replace(
            self.at(Stage.NONE, now), decks=decks, used=self.used | deck,
            superseded=self.superseded | dropped,
        )

    def resume(self) -> ResumeState | None:
        """Where it is, for another DJ to go on from; None before anything plays."""
        if self.mix is None or self.index < 0:
            return None
        return ResumeState(self.mix, self.offset, self.decks.get(0, ""), self.decks.get(1, ""))

    def remembered(self) -> dict[str, Any]:
        """What people have said, and the latest tracks, as JSON holds it; see `remembering`."""
        return {
            "hold": int(self.holding), "energy": self.energy, "wished": list(self.wished[:10]),
            "banned": sorted(self.banned)[:30], "played": list(self.history[-30:]),
        }  # fmt: skip

    def remembering(self, told: Mapping[str, Any]) -> State:
        """With what an earlier DJ knew."""
        note = told.get("memory")
        if not isinstance(note, dict):
            return self
        energy = note.get("energy")
        return replace(
            self, holding=note.get("hold") == 1,
            energy=min(1.0, max(0.0, energy)) if isinstance(energy, int | float) else None,
            wished=_texts(note.get("wished")), banned=self.banned | set(_texts(note.get("banned"))),
            history=_texts(note.get("played")),
        )


def _texts(note: object) -> tuple[str, ...]:
    return tuple(one for one in note if isinstance(one, str)) if isinstance(note, list) else ()
