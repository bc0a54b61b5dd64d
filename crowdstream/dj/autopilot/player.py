"""Play a mix on a server, track by track and ahead of time, without ever falling silent.

Each track loops its last phrase (the safety loop) until it is released, which happens when the
next track is loaded. A late load, a bad file, a crashed DJ and a DJ on hold therefore all sound
the same: the phrase repeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crowdstream.dj.autopilot import first_track, handover, recovery
from crowdstream.dj.autopilot.command_scheduler import CommandScheduler
from crowdstream.dj.autopilot.crowd import STEP_SECONDS, CrowdInput
from crowdstream.dj.autopilot.first_track import RETRY_SECONDS
from crowdstream.dj.autopilot.manual_override import DECKS, TEMPO, ManualOverride, touched
from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import ended_at, flat, place_of, recast
from crowdstream.dj.autopilot.track_selector import (
    NothingToPlay,
    SelectionRequest,
    TrackSelector,
    fitted,
    without,
)
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import TimedCommand, moves, tempo_map

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # after the start, commands of an earlier DJ may still arrive
DOUBT_SECONDS = 4.0  # between two checks for a better next track
ENOUGH_SECONDS = 10.0  # before a transition; enough to load a different track
TAIL_SECONDS = 5.0  # time for the previous track to end before the next one is loaded
STUCK_LAPS = 2  # repeats of the phrase until a load is given up
BAD_SECONDS = 600.0  # until a track that failed to load is tried again
STRETCH = 0.08  # maximum relative deviation from a track's own tempo


class Player:
    """One DJ. Call `tick` about every 25 ms until `state.finished`.

    `state` is what it plays and has decided; only the player replaces it. `handover`, `recovery`
    and `first_track` return decisions from the state and the server's status, and the player
    applies them.
    """

    def __init__(
        self, link: ServerLink, chooser: TrackSelector, floor: CrowdInput,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.link = link
        self.chooser = chooser
        self.floor = floor
        self.hands = ManualOverride()
        self.out = CommandScheduler(link, self._ours)
        self.told: dict[str, Any] | None = None  # state of an earlier DJ
        self._now = monotonic
        self.state = State(since=monotonic())
        self._began: float | None = None
        self._last = (0.0, 120.0)  # the server's beat and tempo

    def tick(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Receive, decide and send; return the messages that are not for the player."""
        now = self._now()
        left = [event for event in self.link.tick() if not self._event(*event, now)]
        if not self.link.there:
            self._say(self.link.trouble)
        if not self.link.fresh():
            # The server may be dead, and a decision from old status would be wrong.
            return left
        if self._began is None:
            self._began = now
        if self.link.anew:
            self.link.anew = False
            self._rebuild()
        self._last = float(self.link.status.get("beat", 0.0)), self.link.bpm
        self.floor.tick(now)
        if self.state.mix is None:
            self._begin(now, self._began)
        elif not self.state.finished:
            self._look(now, self.link.beat)
        return left

    def _say(self, note: str) -> None:
        self.state = replace(self.state, note=note)

    # Messages from the server

    def _event(self, address: str, values: tuple[Any, ...], now: float) -> bool:
        state = self.state
        if address == "/changed":
            self._changed(str(values[0]), values[1:], now)
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/load"):
            deck = str(values[0])[6:7]
            if deck in state.superseded:
                self.state = replace(state, superseded=state.superseded - {deck})
            elif state.stage == Stage.LOADING and state.decks.get(state.next) == deck:
                if address == "/done":
                    self._loaded()
                else:
                    self.state = state.at(Stage.NONE, self._now())  # the pending load is answered
                    self._bad(" ".join(map(str, values[1:])), now)
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/unload"):
            self.state = replace(state, leaving=state.leaving - {str(values[0])[6:7]})
        elif address == "/fail" and values[:1] in (("/watch",), ("/dj/here",)):
            self._say(f"the server refuses the DJ: {' '.join(map(str, values[1:]))}")
        elif address == "/dj/replaced":
            self.state = replace(state, note="another DJ has taken over", finished=True)
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
                log.info("%s is under manual control (%s)", what, address)

    # Start

    def _begin(self, now: float, since: float) -> None:
        if self.told is None and now < since + first_track.RESUME_SECONDS:
            return
        told, self.told = self.told or {}, {}
        decision = first_track.begin(self.state, self.link, self.hands, told, now)
        if isinstance(decision, first_track.TakeOver):
            self._take_over(decision)
            self.state = self.state.remembering(told)
            self._say("continuing the mix of another DJ")
        elif isinstance(decision, first_track.Busy):
            for deck in decision.decks if decision.take else ():
                self.hands.take(deck, now)
            decks = ", ".join(decision.decks)
            note = f"deck {decks} is already playing: stop it, or send /dj/give all"
            self.state = replace(self.state, looked_at=now, note=note)
        elif isinstance(decision, first_track.Search):
            self.state = replace(self.state, looked_at=now)
            try:
                self._start(self.chooser.first(self.asked(now)))
            except NothingToPlay as error:
                self._say(str(error))

    def learn(self, told: dict[str, Any]) -> None:
        """Take the state of an earlier DJ, empty if there was none."""
        self.told = told

    def _start(self, mix: Set) -> None:
        # Start the first track of a set as soon as it is loaded.
        self.state = self.state.begun(mix, self._now())
        self.out.clear()

    def _take_over(self, found: first_track.TakeOver) -> None:
        self._start(self.chooser.resumed(found.mix))
        state, link = self.state, self.link
        assert state.mix is not None
        history, path = state.history, state.mix.entries[0].path
        if history[-1:] != (path,):
            history += (path,)
        decks = {0: found.deck, 1: found.coming} if found.coming else {0: found.deck}
        self.state = replace(
            state, index=0, offset=found.offset, decks=decks, history=history,
            used=state.used | found.left,
        )
        if not found.coming:
            self.state = replace(self.state, offset=recovery.realigned(self.state, link))
            return
        self.state = self.state.at(Stage.GOING, self._now())
        # Schedule the rest of the transition, and send what was missed of it.
        made = handover.shifted(self.state, self._heard(), 1)
        self.out.add(move for move in made if move.beat > link.beat)
        self.out.now(
            move for move in made
            if move.beat <= link.beat and not move.address.endswith(first_track.ONCE)
        )

    def _rebuild(self) -> None:
        # The new server knows nothing of what was on the decks.
        mix = first_track.rebuilt(self.state, *self._last)
        if mix is None:
            return
        self.hands.give("all")
        self.state = replace(self.state, decks={}, used=frozenset(), leaving=frozenset())
        self._start(mix)

    # Commands from people

    def hold(self, on: bool) -> None:
        """Hold the playing track, or end the hold."""
        self.state = replace(self.state, holding=on)

    def set_energy(self, energy: float | None) -> None:
        """Set the energy of the next tracks, 0 to 1; None follows the crowd."""
        self.state = replace(self.state, energy=energy)

    def ban(self, path: str) -> None:
        """Exclude a track from playing."""
        self.state = replace(self.state, banned=self.state.banned | {path})

    def wish(self, path: str) -> None:
        """Queue a track behind earlier requests, and lift a ban on it."""
        state = self.state
        self.state = replace(
            state, banned=state.banned - {path}, wished=(*state.wished, path)
        )

    def end_at(self, going: float) -> None:
        """Start the mix-out of the playing track at a beat of the set."""
        assert self.state.mix is not None
        mix = ended_at(self.state.mix, self.state.index, going)
        self.state = replace(self.state, mix=mix)

    def give(self, what: str) -> None:
        """Release a deck, the tempo or `all` from manual control."""
        for one in self.hands.give(what):
            self._given(one)

    def _given(self, what: str) -> None:
        decision = recovery.given(self.state, self.link, what)
        if isinstance(decision, recovery.StopDeck):
            self.link.at(decision.beat, f"/deck/{decision.deck}/stop")
            self.state = replace(self.state, used=self.state.used | {decision.deck})
        elif isinstance(decision, recovery.PlayOn):
            self.state = replace(self.state, armed=(), offset=decision.offset)

    # Tasks of each tick

    def _look(self, now: float, beat: float) -> None:
        self._plan(now)
        self._load(now)
        self._pass(now, beat)
        self._arm()
        self.out.tick(beat)
        self._follow(now, beat)
        standing = {deck for deck in DECKS if self.link.deck(deck, "state") != "playing"}
        for deck in self.hands.tick(now, standing):
            self._given(deck)
        self._revive(now)

    def _pass(self, now: float, beat: float) -> None:
        around = handover.Surroundings(
            now, beat, self.link.bpm, self.hands, self.chooser.ends, self._heard
        )
        state, decision = self.state, handover.decide(self.state, around)
        if isinstance(decision, handover.ComeIn):
            self.out.add(decision.moves)
            state = replace(state, offset=decision.offset, laps=0, note=decision.note)
            self.state = state.at(Stage.GOING, self._now())
            log.info("%s", decision.note)
        elif isinstance(decision, handover.Arrive):
            history = (*state.history[-handover.MAX_HISTORY :], decision.mix.entries[0].path)
            self.state = replace(
                state.at(Stage.NONE, self._now()), mix=decision.mix, index=0,
                decks={0: decision.deck}, used=state.used | decision.left, before=None,
                looked_at=0.0, granted="", history=history, note=decision.note,
            )
        elif isinstance(decision, handover.GoRound):
            self.state = replace(
                state, offset=decision.offset, laps=state.laps + 1, note=decision.note
            )
        elif isinstance(decision, handover.Close):
            self.out.add(decision.moves)
            self.state = replace(state, closing=True)
        elif isinstance(decision, handover.Finish):
            self.state = replace(state, finished=True)

    def _arm(self) -> None:
        wanted = handover.loop_wanted(self.state, self.hands)
        if wanted is not None:
            self.state = replace(self.state, armed=wanted)
            self.link.send(f"/deck/{wanted[0]}/loop/set", *wanted[1:])

    def _revive(self, now: float) -> None:
        sounds = any(self.link.sounds(deck) for deck in DECKS)
        silence = recovery.revive(self.state, sounds, self.link.bpm, now)
        self.state = replace(self.state, quiet=silence.since)
        if silence.begin is not None:
            self._start(silence.begin)

    def _heard(self) -> Set:
        # The set as it is played: at one tempo while the tempo is not the plan's.
        assert self.state.mix is not None
        free = self.floor.leads(self._now()) or TEMPO in self.hands
        return flat(self.state.mix, self.link.bpm) if free else self.state.mix

    def asked(self, now: float) -> SelectionRequest:
        """Return the requirements for the next track."""
        state = self.state
        energy = self.floor.energy(now) if state.energy is None else state.energy
        wished = state.wished[0] if state.wished else ""
        bad = {path for path, when in state.bad.items() if now < when + BAD_SECONDS}
        return SelectionRequest(energy, self.floor.wanted(now) or 0.0, wished, state.banned | bad,
                     state.history[:-1])  # fmt: skip

    def _plan(self, now: float) -> None:
        state = self.state
        assert state.mix is not None
        coming = state.coming
        wishes = bool(state.wished) and state.stage == Stage.NONE and state.index >= 0
        wishes = wishes and not (coming and coming.path == state.granted)
        if state.closing:
            return
        if coming and not wishes:
            self._doubt(coming.path, now)
            return
        if state.looked_at and now < state.looked_at + RETRY_SECONDS and not wishes:
            return
        asked, heard = self.asked(now), self._heard()
        made = self.chooser.next(replace(heard, entries=heard.entries[: state.next]), asked)
        state = replace(state, looked_at=now)
        if asked.path:
            state = replace(state, granted=state.wished[0], wished=state.wished[1:])
            if made is None:
                state = replace(state, note=f"no transition leads into {name_of(asked.path)}")
        mix = state.mix
        if made is not None and mix is not None:
            # Keep only the added track: `heard` has the tempo of this moment.
            rest = mix.entries[state.next :]
            planned = replace(mix, entries=fitted((*made.entries, *rest)))
            state = replace(state, before=mix, looked_at=0.0, mix=planned)
        self.state = state

    def _doubt(self, path: str, now: float) -> None:
        # Replace a repeat by an unplayed track if there is time to load it.
        state = self.state
        going = state.index < 0 or state.stage == Stage.GOING
        if going or now < state.doubted_at + DOUBT_SECONDS:
            return
        self.state = state = replace(state, doubted_at=now)
        if state.mix is None or path not in state.history or state.wished:
            return
        asked = replace(self.asked(now), before=state.history)
        if self.time_left() > ENOUGH_SECONDS and self.chooser.stale(asked, path):
            self.reconsider()

    def time_left(self) -> float:
        """Return the seconds until the mix-out of the playing track."""
        assert self.state.mix is not None
        going = self.state.offset + place_of(self.state.mix, self.state.index).going
        return (going - self.link.beat) * 60.0 / self.link.bpm

    def _free_deck(self) -> str:
        # Choose a deck for the next track; empty if none is free.
        decks = self.state.decks
        first = DECKS.find(decks.get(self.state.index, "D")) + 1
        busy = {*self.out.decks(), *decks.values(), *self.hands}
        free = [
            deck for deck in DECKS[first:] + DECKS[:first]
            if deck not in busy and not self.link.sounds(deck)
        ]
        # Prefer empty decks: a person may have prepared a stopped one.
        return min(free, key=lambda deck: self.link.deck(deck, "state") != "empty", default="")

    def _load(self, now: float) -> None:
        self._change_deck()
        state = self.state
        if state.stage == Stage.LOADING and state.laps >= STUCK_LAPS:
            self._bad("loading takes too long", now)
            return
        if state.stage != Stage.NONE or state.coming is None:
            return
        if not self._make_room(now):
            return
        deck = self._free_deck()
        if deck:
            decks = {**self.state.decks, state.next: deck}
            self.state = replace(self.state.at(Stage.LOADING, self._now()), decks=decks)
            self.link.send(f"/deck/{deck}/load", state.coming.path)

    def _change_deck(self) -> None:
        # If the next track's deck comes under manual control, use another deck.
        state = self.state
        deck = state.decks.get(state.next, "")
        if state.stage not in (Stage.LOADING, Stage.READY) or deck not in self.hands:
            return
        dropped = frozenset({deck} if state.stage == Stage.LOADING else ())
        decks = {number: one for number, one in state.decks.items() if number != state.next}
        self.state = replace(
            state.at(Stage.NONE, self._now()), decks=decks, superseded=state.superseded | dropped
        )

    def _make_room(self, now: float) -> bool:
        # Return whether the used decks have released their memory, or have had time to.
        used = self.state.used - set(self.hands)
        self.state = replace(self.state, used=used)
        tail = now < self.state.since + TAIL_SECONDS
        if any(map(self._runs, used)) and tail:
            return False  # the previous track is still ending
        leaving = set(self.state.leaving)
        for deck in sorted(used):
            # Memory may be short, and a loaded track occupies some.
            if self.link.deck(deck, "state") not in ("empty", "playing", "broken"):
                self.link.send(f"/deck/{deck}/unload")
                leaving.add(deck)
        wait = bool(leaving) and tail  # their memory is released in a moment
        self.state = replace(
            self.state, used=frozenset(), leaving=frozenset(leaving if wait else ())
        )
        return not wait

    def _runs(self, deck: str) -> bool:
        return self.link.deck(deck, "state") in ("playing", "broken")

    def _loaded(self) -> None:
        state = self.state
        deck = state.decks[state.next]
        chain = str(self.link.deck(deck, "fx") or "").split()
        for slot, there in enumerate(chain, 1):
            if there != "-":  # an effect of an earlier track
                self.link.send(f"/deck/{deck}/fx/remove", slot)
        made = recast(moves(self._heard(), state.next), state.decks)
        self.out.now(move for move in made if move.stage == "prepare")
        self.state = self.state.at(Stage.READY, self._now())

    def _bad(self, reason: str, now: float) -> None:
        state = self.state
        assert state.coming is not None
        path = state.coming.path
        log.warning("%s is skipped: %s", path, reason)
        note = f"{name_of(path)} is skipped: {reason}"
        self.state = replace(state, note=note, bad={**state.bad, path: now})
        self.drop_next()

    def reconsider(self) -> None:
        """Drop the next track, which may come later: a person requests another one."""
        state = self.state
        assert state.mix is not None
        if state.before is None and not self.chooser.ends:
            # It was chosen by another DJ.
            before = replace(state.mix, entries=state.mix.entries[: state.next])
            self.state = state = replace(state, before=before)
        if state.before is not None:
            self.drop_next()
        else:
            self.state = state.without_deck(self._now())
        self.state = replace(self.state, looked_at=0.0)

    def drop_next(self) -> None:
        """Drop the next track; another one will be selected."""
        state = self.state
        assert state.mix is not None and state.coming is not None
        mix = state.before
        if mix is None:
            mix = without(state.mix, state.coming.path, state.index)
        state = replace(
            state, mix=mix if mix.entries else None, before=None, looked_at=0.0, laps=0
        )
        self.state = state.without_deck(self._now())

    def _ours(self, move: TimedCommand) -> bool:
        if move.address == "/clock/tempo":
            return TEMPO not in self.hands and not self.floor.leads(self._now())
        return not (move.address.startswith("/deck/") and move.address[6:7] in self.hands)

    def _follow(self, now: float, beat: float) -> None:
        state = self.state
        if state.mix is None or TEMPO in self.hands or state.index < 0 or not self.floor.due(now):
            return
        on = state.mix.entries[: 2 if state.stage == Stage.GOING else 1]
        own = [entry.bpm / entry.ratio for entry in on]
        comfort = max(own) * (1 - STRETCH), min(own) * (1 + STRETCH)
        near = replace(state.mix, entries=state.mix.entries[:2])
        plan = tempo_map(near).bpm(beat - state.offset)
        bpm = self.floor.step(now, self.link.bpm, plan, (comfort[0], max(comfort)))
        if bpm is not None:
            self.link.send("/clock/tempo", bpm, self.link.bpm / 60.0 * STEP_SECONDS)
