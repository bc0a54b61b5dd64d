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

import crowdstream.control.commands  # noqa: F401  (fills the table)
from crowdstream.control.table import TABLE
from crowdstream.dj.live.chooser import Asked, Chooser, NothingToPlay, without
from crowdstream.dj.live.floor import STEP_SECONDS, Floor
from crowdstream.dj.live.hands import DECKS, TEMPO, Hands, touched
from crowdstream.dj.live.link import Link
from crowdstream.dj.live.notes import entry_of, name_of
from crowdstream.dj.live.timing import (
    flat,
    from_phrase,
    lap,
    loop_of,
    next_bar,
    place_of,
    recast,
    set_beat,
    track_beat,
)
from crowdstream.dj.score import Move, closing, moves, tempo_map
from crowdstream.dj.sets import Set

log = logging.getLogger(__name__)

LEAD_SECONDS = 2.0  # before a transition, in which it is decided on and told to the server
HORIZON_SECONDS = 1.5  # that commands are sent ahead: a person who takes a deck waits no longer
FIRST_SECONDS = 1.0  # before the first track begins
SETTLE_SECONDS = 0.4  # from a load to its start: what prepares it is on its way
GRACE_SECONDS = 3.0  # after the start: what another DJ before this one had sent still acts
QUIET_SECONDS = 1.5  # of silence, after which something is played at once
RETRY_SECONDS = 2.0  # between two searches for a track
STUCK_LAPS = 2  # of a phrase that a load may be late, before another track is taken
STRETCH = 0.08  # of a track's own tempo that it bears
RESUME_SECONDS = 1.5  # that a server may take to say what an earlier DJ did
_ONCE = ("play", "jump", "loop", "exit", "beat")  # last words of commands not to be made up for


class Player:
    """One DJ. Call `tick` every 25 ms or so, until `finished`."""

    def __init__(
        self, link: Link, chooser: Chooser, floor: Floor,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.link = link
        self.chooser = chooser
        self.floor = floor
        self.hands = Hands()
        self.mix: Set | None = None
        self.index = -1  # the track that has the floor
        self.offset = 0.0
        self.decks: dict[int, str] = {}
        self.stage = "none"  # of the track after it: none, loading, ready, going
        self.holding = False
        self.energy: float | None = None
        self.banned: set[str] = set()
        self.wished: list[str] = []
        self.history: list[str] = []
        self.note = "looking for the server"
        self.finished = False
        self.told: dict[str, Any] | None = None  # what an earlier DJ has said of itself
        self._now = monotonic
        self._before: Set | None = None
        self._moves: list[Move] = []
        self._closing = False
        self._laps = 0
        self._armed: tuple[Any, ...] = ()
        self._since = monotonic()  # of the stage
        self._look_at = 0.0
        self._began: float | None = None
        self._quiet: float | None = None
        self._last = (0.0, 120.0)  # beat and tempo

    def tick(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Hear, decide, send; what was heard that is not for the player."""
        now = self._now()
        left = [event for event in self.link.tick() if not self._event(*event, now)]
        if not self.link.there:
            self.note = self.link.trouble
            return left
        if self._began is None:
            self._began = now
        if self.link.anew:
            self.link.anew = False
            self._rebuild()
        self.floor.tick(now)
        if self.mix is None:
            self._begin(now)
        elif not self.finished:
            self._look(now, self.link.beat)
        # As the server said it: what passes after that may be the silence of one that has died.
        self._last = float(self.link.status.get("beat", 0.0)), self.link.bpm
        return left

    # What it hears ---------------------------------------------------------------------------

    def _event(self, address: str, values: tuple[Any, ...], now: float) -> bool:
        if address == "/changed":
            self._changed(str(values[0]), values[1:], now)
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/load"):
            deck = str(values[0])[6:7]
            if self.stage == "loading" and self.decks.get(self.index + 1) == deck:
                if address == "/done":
                    self._loaded(now)
                else:
                    self._bad(" ".join(map(str, values[1:])))
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

    def _begin(self, now: float) -> None:
        assert self._began is not None
        if self.told is None and now < self._began + RESUME_SECONDS:
            return
        if self._resume():
            self.note = "goes on where another DJ was"
            return
        others = [deck for deck in DECKS if self.link.sounds(deck)]
        if others and not self._look_at:
            for deck in others:
                self.hands.take(deck, now)
        if any(deck in self.hands for deck in others):
            self._look_at = now
            self.note = f"deck {', '.join(others)} plays already: stop it, or /dj/give all"
            return
        if now < self._look_at + RETRY_SECONDS and self._look_at:
            return
        self._look_at = now
        try:
            self.start(self.chooser.first(self._asked(now)))
        except NothingToPlay as error:
            self.note = str(error)

    def start(self, mix: Set) -> None:
        """Begin with the first track of a set as soon as it is loaded."""
        self.mix, self.index = mix, -1
        self.decks, self._moves, self._armed = {}, [], ()
        self._before, self._closing, self._quiet = None, False, None
        self._stage("none")

    def _resume(self) -> bool:
        # What an earlier DJ has left on the server, if that still plays.
        try:
            note = (self.told or {})["resume"]
            first = int(note["first"])
            mix = Set(float(note["bpm"]), tuple(entry_of(one) for one in note["entries"]))
            index = int(note["index"]) - first
            decks = {int(number) - first: str(deck) for number, deck in note["decks"].items()}
            offset, deck, path = float(note["offset"]), decks[index], mix.entries[index].path
        except (KeyError, ValueError, TypeError, IndexError, AttributeError):
            return False
        name = str(self.link.deck(deck, "track"))
        if self.link.deck(deck, "state") != "playing" or not name_of(path).startswith(name):
            return False
        # The set began with the first of these tracks: that is another beat than before.
        if first:
            offset = float(note["origin"])
        self.start(mix)
        self.index, self.offset, self.decks = index, offset, {index: deck}
        following = decks.get(index + 1)
        if following and self.link.deck(following, "state") == "playing":
            self.decks[index + 1] = following
            self._stage("going")
            self._make_up(index + 1)
        else:
            self.realign()
        return True

    def _make_up(self, number: int) -> None:
        # The rest of a transition, and what nobody has sent of it meanwhile.
        for move in self._shifted(number):
            if move.beat > self.link.beat:
                self._moves.append(move)
            elif not move.address.endswith(_ONCE):
                self.link.send(move.address, *move.args)

    def _rebuild(self) -> None:
        # The server is another one: the track that played goes on with its phrase.
        if self.mix is None:
            return
        self.hands.give("all")
        beat = self._last[0] - self.offset
        number = max(0, self.index)
        if self.stage == "going" and beat > place_of(self.mix, self.index + 1).begin:
            number = self.index + 1
        entry = from_phrase(self.mix.entries[number], track_beat(self.mix, number, beat))
        entries = (entry, *self.mix.entries[number + 1 :])
        log.info("the server was started anew: the mix goes on with %s", name_of(entry.path))
        self.start(replace(self.mix, bpm=self._last[1], entries=entries))

    # What it looks after ---------------------------------------------------------------------

    def _look(self, now: float, beat: float) -> None:
        self._plan(now)
        self._load(now)
        self._decide(now, beat)
        self._arm(beat)
        self._pump(beat)
        self._follow(now, beat)
        standing = {deck for deck in DECKS if self.link.deck(deck, "state") != "playing"}
        for deck in self.hands.tick(now, standing):
            self.given(deck)
        self._revive(now)

    def _stage(self, stage: str) -> None:
        self.stage, self._since = stage, self._now()

    def heard(self) -> Set:
        """The set as it is played: at one tempo while that is not the plan's."""
        assert self.mix is not None
        free = self.floor.leads(self._now()) or TEMPO in self.hands
        return flat(self.mix, self.link.bpm) if free else self.mix

    def _asked(self, now: float) -> Asked:
        energy = self.floor.energy(now) if self.energy is None else self.energy
        wished = self.wished[0] if self.wished else ""
        return Asked(energy, self.floor.wanted(now) or 0.0, wished, frozenset(self.banned))

    def _plan(self, now: float) -> None:
        assert self.mix is not None
        if self.index + 1 < len(self.mix.entries) or self._closing:
            return
        if self._look_at and now < self._look_at + RETRY_SECONDS:
            return
        self._look_at = now
        asked = self._asked(now)
        made = self.chooser.next(self.heard(), asked)
        if asked.path:
            self.wished.pop(0)
            if made is None:
                self.note = f"{name_of(asked.path)} can't follow what plays"
        if made is not None:
            self._before, self.mix, self._look_at = self.mix, made, 0.0

    def free_deck(self, number: int) -> str:
        """A deck for a track; empty where none is free."""
        usual = number % len(DECKS)
        busy = {move.address[6:7] for move in self._moves} | set(self.decks.values())
        for deck in DECKS[usual:] + DECKS[:usual]:
            if deck not in busy and deck not in self.hands and not self.link.sounds(deck):
                return deck
        return ""

    def _load(self, now: float) -> None:
        assert self.mix is not None
        number = self.index + 1
        if self.stage == "loading" and self._laps >= STUCK_LAPS:
            self._bad("it does not load")
        if self.stage != "none" or number >= len(self.mix.entries):
            return
        deck = self.free_deck(number)
        if deck:
            self.decks[number] = deck
            self._stage("loading")
            self.link.send(f"/deck/{deck}/load", self.mix.entries[number].path)

    def _loaded(self, now: float) -> None:
        number = self.index + 1
        for move in recast(moves(self.heard(), number), self.decks):
            if move.stage == "prepare" and not self._not_ours(move):
                self.link.send(move.address, *move.args)
        self._stage("ready")

    def _bad(self, reason: str) -> None:
        assert self.mix is not None
        path = self.mix.entries[self.index + 1].path
        log.warning("%s is left out: %s", path, reason)
        self.note = f"{name_of(path)} is left out: {reason}"
        self.banned.add(path)
        self.drop_next()

    def drop_next(self) -> None:
        """Another track is to follow than the one that was chosen."""
        assert self.mix is not None
        number = self.index + 1
        path = self.mix.entries[number].path
        self.decks.pop(number, None)
        self.mix = self._before if self._before is not None else (
            without(self.mix, path, self.index)
        )
        self._before, self._look_at, self._laps = None, 0.0, 0
        self._stage("none")
        if not self.mix.entries or number == 0:
            self.mix = self.mix if self.mix.entries and number < len(self.mix.entries) else None

    # When the next one comes -----------------------------------------------------------------

    def _shifted(self, number: int) -> list[Move]:
        found = recast(moves(self.heard(), number), self.decks)
        return [
            replace(move, beat=move.beat + self.offset) for move in found if move.stage == "mix"
        ]

    def _decide(self, now: float, beat: float) -> None:
        assert self.mix is not None
        number = self.index + 1
        if self.stage == "going":
            if beat >= self.offset + place_of(self.mix, number).alone:
                self._arrived(number)
            return
        ready = self.stage == "ready" and now > self._since + SETTLE_SECONDS
        pace = self.link.bpm / 60.0
        if self.index < 0:
            if ready:
                begin = next_bar(beat + FIRST_SECONDS * pace)
                self.offset = begin - place_of(self.mix, 0).begin
                self._go(0)
            return
        place = place_of(self.mix, self.index)
        if self._closing:
            self.finished = beat > self.offset + place.end + 1
            return
        if number >= len(self.mix.entries) and self._ends(place.going, beat, pace):
            return
        earliest = place.going
        if number < len(self.mix.entries):
            way = self.mix.entries[self.index].transition
            earliest += min([0.0, *(row.at for row in way.rows)]) if way else 0.0
        left = (self.offset + earliest - beat) / pace
        if left > LEAD_SECONDS:
            return
        if ready and left > SETTLE_SECONDS and not self._waits():
            self._go(number)
        elif left <= SETTLE_SECONDS:
            self.offset += lap(place)
            self._laps += 1
            self.note = f"{name_of(self.mix.entries[self.index].path)} goes round: {self._why()}"

    def _waits(self) -> bool:
        return self.holding or any(
            self.decks.get(number, "") in self.hands for number in (self.index, self.index + 1)
        )

    def _why(self) -> str:
        if self.holding:
            return "it is held"
        if self.decks.get(self.index, "") in self.hands:
            return f"deck {self.decks[self.index]} is in a person's hands"
        return {"loading": "the next one is still loading"}.get(
            self.stage, "nothing is there to follow"
        )

    def _ends(self, going: float, beat: float, pace: float) -> bool:
        # The last track of a set file: nothing follows, and it may come to its end.
        from crowdstream.dj.live.chooser import Fixed

        near = self.offset + going - beat < 2 * LEAD_SECONDS * pace
        if not isinstance(self.chooser, Fixed) or not near or self.holding:
            return False
        assert self.mix is not None
        self._closing = True
        self._let_out(going)
        self._moves += [
            replace(move, beat=move.beat + self.offset)
            for move in recast(closing(self.mix), self.decks)
        ]
        return True

    def _let_out(self, going: float) -> None:
        exit_at = self.offset + going - 1
        self._moves.append(Move(exit_at, f"/deck/{self.decks[self.index]}/loop/exit", ()))

    def _go(self, number: int) -> None:
        assert self.mix is not None
        made = self._shifted(number)
        if number:
            self._let_out(place_of(self.mix, self.index).going)
        if not any(move.address == f"/deck/{self.decks[number]}/loop" for move in made):
            # From its first beat on it can't end, whatever becomes of the DJ.
            begin = place_of(self.mix, number).begin + self.offset
            loop = f"/deck/{self.decks[number]}/loop/set"
            made.append(Move(begin + 0.5, loop, loop_of(self.mix, number), index=number))
        self._moves += made
        self._laps = 0
        self._stage("going")
        way = self.mix.entries[number - 1].transition if number else None
        name = name_of(self.mix.entries[number].path)
        self.note = f"{name} comes in by {way.kind}" if way else f"{name} comes in"
        log.info("%s", self.note)

    def _arrived(self, number: int) -> None:
        assert self.mix is not None
        self.decks = {one: deck for one, deck in self.decks.items() if one >= number}
        self.index, self._before, self._look_at = number, None, 0.0
        self._stage("none")
        path = self.mix.entries[number].path
        self.history = [*self.history[-50:], path]
        self.note = self.mix.entries[number].why or f"{name_of(path)} plays"

    def _arm(self, beat: float) -> None:
        assert self.mix is not None
        if self.index < 0 or self.stage == "going" or self._closing:
            return
        deck = self.decks[self.index]
        wanted = (self.index, deck, *loop_of(self.mix, self.index))
        if wanted != self._armed and deck not in self.hands:
            self._armed = wanted
            self.link.send(f"/deck/{deck}/loop/set", *wanted[2:])

    def _not_ours(self, move: Move) -> bool:
        if move.address == "/clock/tempo":
            return TEMPO in self.hands or self.floor.leads(self._now())
        return move.address.startswith("/deck/") and move.address[6:7] in self.hands

    def _pump(self, beat: float) -> None:
        soon = beat + HORIZON_SECONDS * self.link.bpm / 60.0
        left = []
        for move in sorted(self._moves, key=lambda move: move.beat):
            timed = TABLE.find(move.address)[0].scheduled
            if move.beat > (soon if timed else beat):
                left.append(move)
            elif self._not_ours(move):
                continue
            elif timed:
                self.link.at(move.beat, move.address, *move.args)
            else:
                self.link.send(move.address, *move.args)
        self._moves = left

    def _follow(self, now: float, beat: float) -> None:
        assert self.mix is not None
        if TEMPO in self.hands or self.index < 0:
            return
        on = [self.index, self.index + 1] if self.stage == "going" else [self.index]
        own = [self.mix.entries[one].bpm / self.mix.entries[one].ratio for one in on]
        comfort = max(own) * (1 - STRETCH), min(own) * (1 + STRETCH)
        plan = tempo_map(self.mix).bpm(beat - self.offset)
        bpm = self.floor.step(now, self.link.bpm, plan, (comfort[0], max(comfort)))
        if bpm is not None:
            self.link.send("/clock/tempo", bpm, self.link.bpm / 60.0 * STEP_SECONDS)

    # When things are otherwise than thought --------------------------------------------------

    def _revive(self, now: float) -> None:
        assert self.mix is not None
        waiting = self.index < 0 and self.stage != "going"
        if waiting or self._closing or any(self.link.sounds(deck) for deck in DECKS):
            self._quiet = None
            return
        if self._quiet is None:
            self._quiet = now
        if now - self._quiet < QUIET_SECONDS + FIRST_SECONDS + SETTLE_SECONDS:
            return
        number = self.index + 1
        if number >= len(self.mix.entries) or self.stage == "going":
            number = max(0, min(number, len(self.mix.entries) - 1))
        log.warning("nothing is heard: %s is played", name_of(self.mix.entries[number].path))
        self.start(replace(self.mix, bpm=self.link.bpm, entries=self.mix.entries[number:]))

    def given(self, what: str) -> None:
        """A deck is the DJ's again."""
        if self.mix is None:
            return
        if self.decks.get(self.index) == what and self.stage != "going":
            self._armed = ()
            if self.link.deck(what, "state") == "playing":
                self.realign()
        elif self.decks.get(self.index + 1) == what and self.stage in ("loading", "ready"):
            self.decks.pop(self.index + 1)
            self._stage("none")

    def realign(self) -> None:
        """Take the place of the set from where the track's playhead is."""
        assert self.mix is not None
        deck, place = self.decks[self.index], place_of(self.mix, self.index)
        at = set_beat(self.mix, self.index, float(self.link.deck(deck, "beat")))
        self.offset = 4.0 * round((float(self.link.status.get("beat", 0.0)) - at) / 4.0)
        while self.offset + place.going < self.link.beat + LEAD_SECONDS * self.link.bpm / 60.0:
            self.offset += lap(place)
