"""Plays a mix on a server: track by track, ahead of time, and never into silence.

Each track loops its last phrase unless it is let out, and it is let out when the next one is
loaded. So a load that is late, a bad file, a DJ that dies or is told to wait sound the same: the
phrase goes round once more. Beats of the set and of the server's clock are `offset` apart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crowdstream.dj.live import beginning, mending, passing
from crowdstream.dj.live.beginning import RETRY_SECONDS
from crowdstream.dj.live.chooser import Asked, Chooser, fitted, without
from crowdstream.dj.live.floor import STEP_SECONDS, Floor
from crowdstream.dj.live.hands import DECKS, TEMPO, Hands, touched
from crowdstream.dj.live.link import Link
from crowdstream.dj.live.notes import Resume, name_of
from crowdstream.dj.live.outgoing import Outgoing
from crowdstream.dj.live.timing import flat, place_of, recast
from crowdstream.dj.score import Move, moves, tempo_map
from crowdstream.dj.sets import Set

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # after the start: what another DJ before this one had sent still acts
DOUBT_SECONDS = 4.0  # between two looks whether there is a better next track
ENOUGH_SECONDS = 10.0  # before a transition, in which another track can be loaded
TAIL_SECONDS = 5.0  # that the track before may take to end, before the next one is loaded
STUCK_LAPS = 2  # of a phrase that a load may be late, before another track is taken
BAD_SECONDS = 600.0  # after which a track that could not be loaded is tried again
STRETCH = 0.08  # of a track's own tempo that it bears


class Player:
    """One DJ. Call `tick` every 25 ms or so, until `finished`.

    The set begins with the track that plays: those before it are forgotten as they end. So
    `index` is 0, and -1 before the first one plays; `index` + 1 is the track that comes.
    """

    def __init__(
        self, link: Link, chooser: Chooser, floor: Floor,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.link = link
        self.chooser = chooser
        self.floor = floor
        self.hands = Hands()
        self.out = Outgoing(link, self._ours)
        self.mix: Set | None = None
        self.index = -1
        self.offset = 0.0
        self.decks: dict[int, str] = {}
        self.used: set[str] = set()  # decks with tracks of its own that are not wanted any more
        self.leaving: set[str] = set()  # decks that are being emptied
        self.superseded: set[str] = set()  # decks whose next reply is to a load that was dropped
        self.stage = "none"  # of the track that comes: none, loading, ready, going
        self.holding = False
        self.energy: float | None = None
        self.banned: set[str] = set()
        self.bad: dict[str, float] = {}  # what could not be loaded, and when
        self.wished: list[str] = []
        self.granted = ""  # the latest wish that was planned
        self.history: list[str] = []
        self.note = "looking for the server"
        self.finished = False
        self.told: dict[str, Any] | None = None  # what an earlier DJ has said of itself
        self.looked_at = 0.0  # for a track
        self.doubted_at = 0.0  # whether another one would be better
        self._now = monotonic
        self.before: Set | None = None
        self.closing = False
        self.laps = 0
        self.armed: tuple[Any, ...] = ()
        self.since = monotonic()  # of the stage
        self._began: float | None = None
        self.quiet: float | None = None
        self._last = (0.0, 120.0)  # beat and tempo

    def tick(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Hear, decide, send; what was heard that is not for the player."""
        now = self._now()
        left = [event for event in self.link.tick() if not self._event(*event, now)]
        if not self.link.there:
            self.note = self.link.trouble
        if not self.link.fresh():
            # What would be decided now is perhaps decided about a server that is dead.
            return left
        if self._began is None:
            self._began = now
        if self.link.anew:
            self.link.anew = False
            beginning.rebuild(self, *self._last)
        self._last = float(self.link.status.get("beat", 0.0)), self.link.bpm
        self.floor.tick(now)
        if self.mix is None:
            beginning.begin(self, now, self._began)
        elif not self.finished:
            self._look(now, self.link.beat)
        return left

    # What it hears ---------------------------------------------------------------------------

    def _event(self, address: str, values: tuple[Any, ...], now: float) -> bool:
        if address == "/changed":
            self._changed(str(values[0]), values[1:], now)
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/load"):
            deck = str(values[0])[6:7]
            if deck in self.superseded:
                self.superseded.discard(deck)
            elif self.stage == "loading" and self.decks.get(self.index + 1) == deck:
                if address == "/done":
                    self._loaded()
                else:
                    self.reach("none")  # this was the reply
                    self._bad(" ".join(map(str, values[1:])), now)
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/unload"):
            self.leaving.discard(str(values[0])[6:7])
        elif address == "/fail" and values[:1] in (("/watch",), ("/dj/here",)):
            self.note = f"the server refuses: {' '.join(map(str, values[1:]))}"
        elif address == "/dj/replaced":
            self.note, self.finished = "another DJ has taken over", True
        else:
            return False
        return True

    def _changed(self, address: str, arguments: tuple[Any, ...], now: float) -> None:
        if address == "/dance/total_movement":
            self.floor.moved(float(arguments[0]), now)
            return
        if self._began is None or now < self._began + GRACE_SECONDS:
            return
        for what in touched(address, arguments):
            if self.hands.take(what, now):
                log.info("%s is in a person's hands (%s)", what, address)

    # How it begins ---------------------------------------------------------------------------

    def start(self, mix: Set) -> None:
        """Begin with the first track of a set as soon as it is loaded."""
        self.used |= set(self.decks.values())
        self.mix, self.index, self.decks, self.armed = mix, -1, {}, ()
        self.before, self.closing, self.quiet, self.laps = None, False, None, 0
        self.superseded.clear()
        self.out.clear()
        self.reach("none")

    def go_on(self, deck: str, offset: float, following: str) -> None:
        """Take over, after `start`, what plays already. `following`: deck of what comes in."""
        self.index, self.offset, self.decks = 0, offset, {0: deck}
        assert self.mix is not None
        if self.history[-1:] != [self.mix.entries[0].path]:
            self.history.append(self.mix.entries[0].path)
        if following:
            self.decks[1] = following
            self.reach("going")

    def at(self) -> Resume | None:
        """Where it is, for another DJ to go on from; None before anything plays."""
        if self.mix is None or self.index < 0:
            return None
        return Resume(self.mix, self.offset, self.decks.get(0, ""), self.decks.get(1, ""))

    def remembered(self) -> dict[str, Any]:
        """What people have said, and the latest tracks, as JSON holds it; see `remember`."""
        return {
            "hold": int(self.holding), "energy": self.energy, "wished": self.wished[:10],
            "banned": sorted(self.banned)[:30], "played": self.history[-30:],
        }  # fmt: skip

    def remember(self, told: dict[str, Any]) -> None:
        """Take over what an earlier DJ knew."""
        note = told.get("memory")
        if not isinstance(note, dict):
            return
        energy = note.get("energy")
        self.holding = note.get("hold") == 1
        self.energy = min(1.0, max(0.0, energy)) if isinstance(energy, int | float) else None
        self.wished = _texts(note.get("wished"))
        self.banned |= set(_texts(note.get("banned")))
        self.history = _texts(note.get("played"))

    # What it looks after ---------------------------------------------------------------------

    def _look(self, now: float, beat: float) -> None:
        self._plan(now)
        self._load(now)
        passing.decide(self, now, beat)
        passing.arm(self)
        self.out.tick(beat)
        self._follow(now, beat)
        standing = {deck for deck in DECKS if self.link.deck(deck, "state") != "playing"}
        for deck in self.hands.tick(now, standing):
            mending.given(self, deck)
        mending.revive(self, now)

    def reach(self, stage: str) -> None:
        """The track that comes is at this stage from now on."""
        self.stage, self.since = stage, self._now()

    def heard(self) -> Set:
        """The set as it is played: at one tempo while that is not the plan's."""
        assert self.mix is not None
        free = self.floor.leads(self._now()) or TEMPO in self.hands
        return flat(self.mix, self.link.bpm) if free else self.mix

    def asked(self, now: float) -> Asked:
        """What the next track is to be."""
        energy = self.floor.energy(now) if self.energy is None else self.energy
        wished = self.wished[0] if self.wished else ""
        bad = {path for path, when in self.bad.items() if now < when + BAD_SECONDS}
        return Asked(energy, self.floor.wanted(now) or 0.0, wished, frozenset(self.banned | bad),
                     tuple(self.history[:-1]))  # fmt: skip

    def _plan(self, now: float) -> None:
        assert self.mix is not None
        rest = self.mix.entries[self.index + 1 :]
        wishes = self.wished and self.stage == "none" and self.index >= 0
        wishes = wishes and not (rest and rest[0].path == self.granted)
        if self.closing:
            return
        if rest and not wishes:
            self._doubt(rest[0].path, now)
            return
        if self.looked_at and now < self.looked_at + RETRY_SECONDS and not wishes:
            return
        self.looked_at = now
        asked = self.asked(now)
        heard = self.heard()
        heard = replace(heard, entries=heard.entries[: self.index + 1])
        made = self.chooser.next(heard, asked)
        if asked.path:
            self.granted = self.wished.pop(0)
            if made is None:
                self.note = f"{name_of(asked.path)} can't follow what plays"
        if made is not None:
            # Only what was added is taken over: `heard` is the set at the tempo of this moment.
            self.before, self.looked_at = self.mix, 0.0
            self.mix = replace(self.mix, entries=fitted((*made.entries, *rest)))

    def _doubt(self, path: str, now: float) -> None:
        # A repeat gives way to a track that has not been heard, if there is time to load it.
        if self.index < 0 or self.stage == "going" or now < self.doubted_at + DOUBT_SECONDS:
            return
        self.doubted_at = now
        mix = self.mix
        if mix is None or path not in self.history or self.wished:
            return
        left = self.offset + place_of(mix, self.index).going - self.link.beat
        asked = self.asked(now)
        if left * 60.0 / self.link.bpm > ENOUGH_SECONDS and self.chooser.stale(
            replace(asked, before=tuple(self.history)), path
        ):
            self.reconsider()

    def free_deck(self) -> str:
        """A deck for the track that comes; empty where none is free."""
        first = DECKS.find(self.decks.get(self.index, "D")) + 1
        busy = {*self.out.decks(), *self.decks.values(), *self.hands}
        free = [
            deck for deck in DECKS[first:] + DECKS[:first]
            if deck not in busy and not self.link.sounds(deck)
        ]
        # What stands on a deck may be what somebody has prepared.
        return min(free, key=lambda deck: self.link.deck(deck, "state") != "empty", default="")

    def _load(self, now: float) -> None:
        assert self.mix is not None
        number = self.index + 1
        if self.stage in ("loading", "ready") and self.decks.get(number) in self.hands:
            deck = self.decks.pop(number)  # another deck will do
            if self.stage == "loading":
                self.superseded.add(deck)
            self.reach("none")
        if self.stage == "loading" and self.laps >= STUCK_LAPS:
            self._bad("it does not load", now)
            return
        if self.stage != "none" or number >= len(self.mix.entries):
            return
        self.used -= set(self.hands)
        if any(map(self._runs, self.used)) and now < self.since + TAIL_SECONDS:
            return  # the track before is on its way out
        for deck in sorted(self.used):
            # Memory may be short, and what stands on a deck takes of it.
            if self.link.deck(deck, "state") not in ("empty", "playing", "broken"):
                self.link.send(f"/deck/{deck}/unload")
                self.leaving.add(deck)
        self.used.clear()
        if self.leaving and now < self.since + TAIL_SECONDS:
            return  # what it takes of memory is free in a moment
        self.leaving.clear()
        deck = self.free_deck()
        if deck:
            self.decks[number] = deck
            self.reach("loading")
            self.link.send(f"/deck/{deck}/load", self.mix.entries[number].path)

    def _runs(self, deck: str) -> bool:
        return self.link.deck(deck, "state") in ("playing", "broken")

    def _loaded(self) -> None:
        number = self.index + 1
        deck = self.decks[number]
        chain = str(self.link.deck(deck, "fx") or "").split()
        for slot, there in enumerate(chain, 1):
            if there != "-":  # of a track before
                self.link.send(f"/deck/{deck}/fx/remove", slot)
        made = recast(moves(self.heard(), number), self.decks)
        self.out.now(move for move in made if move.stage == "prepare")
        self.reach("ready")

    def _bad(self, reason: str, now: float) -> None:
        assert self.mix is not None
        path = self.mix.entries[self.index + 1].path
        log.warning("%s is left out: %s", path, reason)
        self.note = f"{name_of(path)} is left out: {reason}"
        self.bad[path] = now
        self.drop_next()

    def reconsider(self) -> None:
        """What was loaded next may wait: somebody wishes for another one."""
        assert self.mix is not None
        if self.before is None and not self.chooser.ends:
            # It was another DJ's choice.
            self.before = replace(self.mix, entries=self.mix.entries[: self.index + 1])
        if self.before is not None:
            self.drop_next()
        else:
            self.leave_next()
        self.looked_at = 0.0

    def leave_next(self) -> None:
        """The deck of the track that comes is free again."""
        if self.stage == "loading":
            self.superseded |= {self.decks.get(self.index + 1, "")} - {""}
        self.used |= {self.decks.pop(self.index + 1, "")} - {""}
        self.reach("none")

    def drop_next(self) -> None:
        """Another track is to follow than the one that was chosen."""
        assert self.mix is not None
        number = self.index + 1
        path = self.mix.entries[number].path
        mix = self.before
        if mix is None:
            mix = without(self.mix, path, self.index)
        self.mix = mix if mix.entries else None
        self.before, self.looked_at, self.laps = None, 0.0, 0
        self.leave_next()

    def _ours(self, move: Move) -> bool:
        if move.address == "/clock/tempo":
            return TEMPO not in self.hands and not self.floor.leads(self._now())
        return not (move.address.startswith("/deck/") and move.address[6:7] in self.hands)

    def _follow(self, now: float, beat: float) -> None:
        if self.mix is None or TEMPO in self.hands or self.index < 0 or not self.floor.due(now):
            return
        on = self.mix.entries[: 2 if self.stage == "going" else 1]
        own = [entry.bpm / entry.ratio for entry in on]
        comfort = max(own) * (1 - STRETCH), min(own) * (1 + STRETCH)
        near = replace(self.mix, entries=self.mix.entries[:2])
        plan = tempo_map(near).bpm(beat - self.offset)
        bpm = self.floor.step(now, self.link.bpm, plan, (comfort[0], max(comfort)))
        if bpm is not None:
            self.link.send("/clock/tempo", bpm, self.link.bpm / 60.0 * STEP_SECONDS)


def _texts(note: object) -> list[str]:
    return [one for one in note if isinstance(one, str)] if isinstance(note, list) else []
