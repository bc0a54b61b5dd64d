"""The state of a DJ: an immutable value that only its player replaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from crowdstream.dj.autopilot.resume_state import ResumeState
from crowdstream.dj.setfile.model import Set, SetEntry


class Stage(StrEnum):
    """Stage of the next track. The values appear in `/dj/state` and must not change."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"
    MIXING = "going"


FOLLOWING = {
    Stage.NONE: {Stage.NONE, Stage.LOADING, Stage.MIXING},  # GOING: another DJ has started it
    Stage.LOADING: {Stage.NONE, Stage.READY},
    Stage.READY: {Stage.NONE, Stage.MIXING},
    Stage.MIXING: {Stage.NONE},
}
"""Permitted changes of stage. A new start, a dropped track or a finished transition sets NONE."""


@dataclass(frozen=True)
class State:
    """What a DJ plays and has decided.

    The set starts with the playing track, as earlier tracks are dropped when they end. `index` is
    therefore 0, or -1 before the first track plays; `index` + 1 is the next track. `offset` is
    the clock beat at the set's beat 0. `decks` maps the number of a track to its deck.
    """

    mix: Set | None = None
    index: int = -1
    offset: float = 0.0
    decks: Mapping[int, str] = field(default_factory=dict)
    stage: Stage = Stage.NONE
    since: float = 0.0  # time at which the stage was set
    before: Set | None = None  # the set without the track that was chosen last
    closing: bool = False  # the last track of a set file has left its safety loop
    finished: bool = False
    laps: int = 0  # repeats of the playing track's last phrase since the next began to load
    armed: tuple[Any, ...] = ()  # deck and safety loop that were sent last
    loop_limit: float = math.inf  # clock beats of the playing track that its loop may contain
    fading: frozenset[str] = frozenset()  # decks that stop when the first track of the set starts
    silent_since: float | None = None  # start time of a silence
    used: frozenset[str] = frozenset()  # decks with tracks that the DJ no longer needs
    leaving: frozenset[str] = frozenset()  # decks that are being unloaded
    failed: tuple[float, str] | None = None  # when the load of the next track failed, and why
    superseded: frozenset[str] = frozenset()  # decks whose next reply is to a load that was dropped
    searched_at: float = 0.0  # time of the last search for a track
    rechecked_at: float = 0.0  # time of the last check for a better one
    served: str = ""  # path of the latest request that was planned
    note: str = "looking for the server"
    # Requests by people, and what became of tracks.
    holding: bool = False
    eager: bool = False  # start the next track as soon as it is loaded, at a phrase
    closed: bool = False  # play the present track to its end, then nothing
    folders: tuple[str, ...] = ()  # play only tracks below these; empty: all
    tags: tuple[str, ...] = ()  # play only tracks with one of these; empty: all
    energy: float | None = None
    queue: tuple[str, ...] = ()
    banned: frozenset[str] = frozenset()
    bad: Mapping[str, float] = field(default_factory=dict)  # tracks that failed to load, and when
    history: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # of the latest transitions

    @property
    def next(self) -> int:
        """Number in the set of the next track."""
        return self.index + 1

    @property
    def next_entry(self) -> SetEntry | None:
        """The next track, if it has been chosen."""
        entries = self.mix.entries if self.mix is not None else ()
        return entries[self.next] if self.next < len(entries) else None

    @property
    def playing(self) -> SetEntry | None:
        """The playing track."""
        return self.mix.entries[self.index] if self.mix is not None and self.index >= 0 else None

    def at_stage(self, stage: Stage, now: float) -> State:
        """Return the state with the next track at another stage from `now` on."""
        assert stage in FOLLOWING[self.stage], f"{self.stage} to {stage}"
        return replace(self, stage=stage, since=now, failed=None)

    def pending(self) -> frozenset[str]:
        """Return the deck of a load that has not been answered, if there is one."""
        waits = self.stage == Stage.LOADING and self.failed is None
        return frozenset({self.decks[self.next]} if waits else ())

    def with_set(self, mix: Set, now: float) -> State:
        """Return the state with another set, whose first track is not loaded yet."""
        return replace(
            self.at_stage(Stage.NONE, now), mix=mix, index=-1, decks={}, armed=(), before=None,
            closing=False, silent_since=None, laps=0, superseded=frozenset(),
            loop_limit=math.inf, fading=frozenset(), used=self.used | set(self.decks.values()),
            eager=False,
        )

    def without_deck(self, now: float) -> State:
        """Return the state with the deck of the next track released."""
        deck = {self.decks.get(self.next, "")} - {""}
        decks = {number: one for number, one in self.decks.items() if number != self.next}
        return replace(
            self.at_stage(Stage.NONE, now), decks=decks, used=self.used | deck,
            superseded=self.superseded | self.pending(),
        )

    def resume(self) -> ResumeState | None:
        """Return what another DJ needs to take over; None before anything plays."""
        if self.mix is None or self.index < 0:
            return None
        return ResumeState(self.mix, self.offset, self.decks.get(0, ""), self.decks.get(1, ""))

    def memory(self) -> dict[str, Any]:
        """Return people's requests and the latest tracks as JSON values; see `with_memory`."""
        return {
            "hold": int(self.holding), "closed": int(self.closed),
            "folders": list(self.folders), "tags": list(self.tags),
            "energy": self.energy, "wished": list(self.queue[:10]),
            "banned": sorted(self.banned)[:30], "played": list(self.history[-30:]),
            "kinds": list(self.kinds),
        }  # fmt: skip

    def with_memory(self, previous: Mapping[str, Any]) -> State:
        """Return the state with the memory of an earlier DJ."""
        note = previous.get("memory")
        if not isinstance(note, dict):
            return self
        energy = note.get("energy")
        return replace(
            self, holding=note.get("hold") == 1, closed=note.get("closed") == 1,
            folders=_texts(note.get("folders")), tags=_texts(note.get("tags")),
            energy=min(1.0, max(0.0, energy)) if isinstance(energy, int | float) else None,
            queue=_texts(note.get("wished")), banned=self.banned | set(_texts(note.get("banned"))),
            history=_texts(note.get("played")), kinds=_texts(note.get("kinds")),
        )


def _texts(note: object) -> tuple[str, ...]:
    return tuple(one for one in note if isinstance(one, str)) if isinstance(note, list) else ()
