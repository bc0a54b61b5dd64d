"""Play a mix on a server, track by track and ahead of time, without ever falling silent.

Each track loops its last phrase (the safety loop) until it is released, which happens when the
next track is loaded. A late load, a bad file, a crashed DJ and a DJ on hold therefore all sound
the same: the phrase repeats.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from crowdstream.dj.autopilot import first_track, handover, recovery
from crowdstream.dj.autopilot.crowd import STEP_SECONDS, CrowdInput
from crowdstream.dj.autopilot.first_track import RETRY_SECONDS
from crowdstream.dj.autopilot.handover import LEAD_SECONDS
from crowdstream.dj.autopilot.manual_override import DECKS, TEMPO, ManualOverride, affected
from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.server_link import STALE_SECONDS, CommandScheduler, ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import (
    PHRASE_BEATS,
    at_constant_tempo,
    beat_at,
    place_of,
    reassigned,
    with_mix_out,
)
from crowdstream.dj.autopilot.track_selector import (
    NothingToPlay,
    SelectionRequest,
    TrackSelector,
    fitted,
    without,
)
from crowdstream.dj.setfile.model import BEATS_PER_BAR, Set
from crowdstream.dj.setfile.timed_commands import TimedCommand, tempo_map, track_commands

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # after the start, commands of an earlier DJ may still arrive
QUERY_SECONDS = 0.4  # between two queries for the state of an earlier DJ, until one is answered
RECHECK_SECONDS = 4.0  # between two checks for a better next track
MIN_LOAD_SECONDS = 10.0  # before a transition; enough to load a different track
TAIL_SECONDS = 5.0  # time for the previous track to end before the next one is loaded
TAKEN_SECONDS = 0.2  # from a failed load to the report that a person has taken its deck
MAX_LATE_LAPS = 2  # repeats of the phrase until a load is given up
RETRY_BAD_SECONDS = 600.0  # until a track that failed to load is tried again
END_SECONDS = 0.005  # of a file that are not played, as the server rounds its length
REPLACED = "another DJ has taken over"
STRETCH = 0.08  # maximum relative deviation from a track's own tempo


class Player:
    """One DJ. Call `tick` about every 25 ms until `state.finished`.

    `state` is what it plays and has decided; only the player replaces it. `handover`, `recovery`
    and `first_track` return decisions from the state and the server's status, and the player
    applies them.
    """

    def __init__(
        self, link: ServerLink, selector: TrackSelector, crowd: CrowdInput,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.link = link
        self.selector = selector
        self.crowd = crowd
        self.override = ManualOverride()
        self.scheduler = CommandScheduler(link, self._is_ours)
        self.previous_state: dict[str, Any] | None = None  # state of an earlier DJ
        self._now = monotonic
        self.state = State(since=monotonic())
        self._ready_at: float | None = None
        self._queried_at = 0.0
        self._reported = ""  # the latest problem in the log
        self._last = (0.0, 120.0)  # the server's beat and tempo
        self._beat_at = (-math.inf, 0.0)  # the latest beat that was acted on, and when

    def tick(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Receive, decide and send; return the messages that are not for the player."""
        now = self._now()
        left = [event for event in self.link.tick() if not self._event(*event, now)]
        if not self.link.connected:
            self._set_note(self.link.problem)
        if not self.link.fresh():
            # The server may be dead, and a decision from old status would be wrong.
            return left
        if self._ready_at is None:
            self._ready_at = self._queried_at = now
        if self.link.restarted:
            self.link.restarted = False
            self._rebuild()
        elif float(self.link.status.get("beat", 0.0)) < self._last[0] - 1.0:
            self._follow_reset(now)
        self._beat_at = self.link.beat, now
        self._last = float(self.link.status.get("beat", 0.0)), self.link.bpm
        self.crowd.tick(now)
        if self.state.mix is None and self.state.closed:
            self._set_note("closed")
        elif self.state.mix is None:
            self._begin(now, self._ready_at)
        elif not self.state.finished:
            self._control(now, self.link.beat)
        return left

    def _set_note(self, note: str) -> None:
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
                    reason = " ".join(map(str, values[1:]))
                    self.state = replace(state, failed=(now, reason))
        elif address in ("/done", "/fail") and values and str(values[0]).endswith("/unload"):
            self.state = replace(state, leaving=state.leaving - {str(values[0])[6:7]})
        elif address == "/fail" and values[:1] in (("/changes/subscribe",), ("/dj/register",)):
            reason = " ".join(map(str, values[1:]))
            self._set_note(f"the server refuses the DJ: {reason}")
            # A heartbeat registers, unless another DJ did while this one was not heard.
            if values[0] == "/dj/register" and "not registered" in reason:
                self.state = replace(state, note=REPLACED, finished=True)
        elif address == "/cancelled" and values and str(values[0]).startswith("/cancel"):
            self._send_again(now)
        elif address == "/dj/replaced":
            self.state = replace(state, note=REPLACED, finished=True)
        else:
            return False
        return True

    def _changed(self, address: str, arguments: tuple[Any, ...], now: float) -> None:
        if address == "/dance/total_movement":
            self.crowd.report(float(arguments[0]), now)
            return
        if self._ready_at is None or now < self._ready_at + GRACE_SECONDS:
            return
        for what in affected(address, arguments):
            if self.override.take(what, now):
                log.info("%s is under manual control (%s)", what, address)

    # Start

    def _begin(self, now: float, since: float) -> None:
        if self.previous_state is None and now < since + first_track.RESUME_SECONDS:
            if now >= self._queried_at + QUERY_SECONDS:
                # A packet of the reply was lost.
                self._queried_at = now
                self.link.send("/dj/status", reliable=False)
            return
        previous_state, self.previous_state = self.previous_state or {}, {}
        decision = first_track.begin(self.state, self.link, self.override, previous_state, now)
        hours = State().with_memory(previous_state)
        if previous_state and not isinstance(decision, first_track.TakeOver):
            self.state = replace(
                self.state, closed=hours.closed, folders=hours.folders, tags=hours.tags
            )
            if hours.closed:
                return
        if isinstance(decision, first_track.TakeOver):
            self.state = self.state.with_memory(previous_state)
            self._take_over(decision)
            self._set_note("continuing the mix of another DJ")
        elif isinstance(decision, first_track.Busy):
            for deck in decision.decks if decision.take else ():
                self.override.take(deck, now)
            decks = ", ".join(decision.decks)
            note = f"deck {decks} is already playing: stop it, or send /dj/release all"
            self.state = replace(self.state, searched_at=now, note=note)
        elif isinstance(decision, first_track.Search):
            self.state = replace(self.state, searched_at=now)
            try:
                self._start(self.selector.first(self.selection_request(now)))
            except NothingToPlay as error:
                self._report_problem(error)

    def _report_problem(self, error: NothingToPlay) -> None:
        if str(error) != self._reported:
            log.warning("%s", error)
        self._reported = str(error)
        self._set_note(str(error))

    def set_previous_state(self, previous_state: dict[str, Any]) -> None:
        """Take the state of an earlier DJ, empty if there was none."""
        self.previous_state = previous_state

    def _start(self, mix: Set) -> None:
        # Start the first track of a set as soon as it is loaded.
        self.state = self.state.with_set(mix, self._now())
        self.scheduler.clear()

    def _take_over(self, found: first_track.TakeOver) -> None:
        self._start(self.selector.resumed(found.mix))
        state, link = self.state, self.link
        assert state.mix is not None
        history, path = state.history, state.mix.entries[0].path
        if history[-1:] != (path,):
            history += (path,)
        decks = {0: found.deck, 1: found.next_deck} if found.next_deck else {0: found.deck}
        self.state = replace(
            state,
            index=0,
            offset=found.offset,
            decks=decks,
            history=history,
            used=state.used | found.left,
        )
        if not found.next_deck:
            self.state = replace(self.state, offset=recovery.realigned_offset(self.state, link))
            self._send_again(self._now())
            return
        self.state = self.state.at_stage(Stage.MIXING, self._now())
        # Schedule the rest of the transition, and send what was missed of it.
        made = handover.transition_commands(self.state, self._effective_set(), 1)
        self.scheduler.add(command for command in made if command.beat > link.beat)
        self.scheduler.now(
            command
            for command in made
            if command.beat <= link.beat and not command.address.endswith(first_track.NOT_SENT_LATE)
        )

    def _rebuild(self) -> None:
        # The new server knows nothing of what was on the decks.
        mix = first_track.set_after_restart(self.state, *self._last)
        if mix is None:
            return
        self.override.release("all")
        self.state = replace(self.state, decks={}, used=frozenset(), leaving=frozenset())
        self._start(mix)

    def _follow_reset(self, now: float) -> None:
        # A person has reset the clock, to which `offset` refers: the decks play on, and the
        # server has discarded all commands that were scheduled.
        beat, at = self._beat_at
        expected = beat + (now - at) * self.link.bpm / 60.0
        shift = BEATS_PER_BAR * round((self.link.beat - expected) / BEATS_PER_BAR)
        self.state = replace(self.state, offset=self.state.offset + shift)
        self._send_again(now)

    def _send_again(self, now: float) -> None:
        # Schedule what is left of the latest transition: it was discarded, or sent by nobody.
        self.state = state = replace(self.state, closing=False)
        self.scheduler.clear()
        if state.mix is None:
            return
        commands: Sequence[TimedCommand] = ()
        if state.stage == Stage.MIXING:
            context = self._context(now, self.link.beat)
            commands = handover.start_transition(state, state.mix, context).commands
        elif state.index >= 0:
            commands = handover.mix_in_commands(state, self._effective_set())
        self.scheduler.add(one for one in commands if one.beat > self.link.beat)

    # Commands from people

    def hold(self, on: bool) -> None:
        """Hold the playing track, or end the hold."""
        self.state = replace(self.state, holding=on, eager=False)

    def set_energy(self, energy: float | None) -> None:
        """Set the energy of the next tracks, 0 to 1; None follows the crowd."""
        self.state = replace(self.state, energy=energy)

    def set_hours(self, is_open: bool) -> None:
        """Open, or close: the present track plays to its end, and no other one follows."""
        state = self.state
        if is_open == (not state.closed):
            return
        self.state = state = replace(state, closed=not is_open, searched_at=0.0)
        if state.mix is None:
            return
        if is_open:
            if self.selector.ends and state.index >= 0 and not state.closing:
                self.state = replace(state, mix=self.selector.resumed(state.mix))
            return
        if state.index < 0 and state.stage != Stage.MIXING:
            # Nothing plays yet.
            self.state = self._idle()
            return
        if state.next_entry is not None and state.stage != Stage.MIXING:
            self.reconsider()
        self._end_with_track()

    def _end_with_track(self) -> None:
        # Let the playing track play to the end of its file.
        state = self.state
        mix = state.mix
        if mix is None or state.index < 0 or state.stage != Stage.NONE:
            return
        entry = mix.entries[state.index]
        if state.next_entry is not None:  # of a set file, which is continued if it is opened
            entry = replace(entry, transition=None)
            mix = replace(mix, entries=(*mix.entries[: state.index], entry))
            self.state = state = replace(state, mix=mix)
        length = float(self.link.deck(state.decks.get(state.index, ""), "length") or 0.0)
        last = beat_at(entry, length - END_SECONDS) if length else entry.leave
        if last > entry.leave and entry.transition is None:
            entries = (*mix.entries[: state.index], replace(entry, leave=last))
            self.state = replace(state, mix=replace(mix, entries=entries))

    def _idle(self) -> State:
        # The state of a DJ that plays nothing and remembers people's requests.
        state = self.state
        memory = {"memory": state.memory()}
        used = state.used | set(state.decks.values())
        now = self._now()
        idle = State(since=now, used=frozenset(used), bad=state.bad).with_memory(memory)
        note = "closed" if state.closed else state.note
        return replace(
            idle, banned=state.banned, closed=state.closed, searched_at=now, note=note
        )

    def set_folders(self, folders: tuple[str, ...]) -> None:
        """Choose only tracks below these folders from the next one on; empty: any."""
        self._restrict(folders, self.state.tags)

    def set_tags(self, tags: tuple[str, ...]) -> None:
        """Choose only tracks with one of these tags from the next one on; empty: any."""
        self._restrict(self.state.folders, tags)

    def _restrict(self, folders: tuple[str, ...], tags: tuple[str, ...]) -> None:
        state = self.state
        if (folders, tags) == (state.folders, state.tags):
            return
        self.state = replace(state, folders=folders, tags=tags)
        next_entry = state.next_entry
        if next_entry is None or state.stage == Stage.MIXING or state.index < 0:
            return
        if self.selector.ends:
            return
        request = self.selection_request(self._now())
        inside = self.selector.allows(request, next_entry.path)
        if not inside and self.time_left() > MIN_LOAD_SECONDS:
            self.reconsider()

    def ban(self, path: str) -> None:
        """Exclude a track from playing."""
        self.state = replace(self.state, banned=self.state.banned | {path})

    def enqueue(self, path: str) -> None:
        """Queue a track behind earlier requests, and lift a ban on it."""
        state = self.state
        self.state = replace(state, banned=state.banned - {path}, queue=(*state.queue, path))

    def end_at(self, mix_out: float) -> None:
        """Start the mix-out of the playing track at a beat of the set."""
        assert self.state.mix is not None
        mix = with_mix_out(self.state.mix, self.state.index, mix_out)
        self.state = replace(self.state, mix=mix)

    def request_next(self) -> None:
        """Start the next track at the next phrase of the playing one, once it is loaded."""
        if self.state.stage == Stage.READY:
            self._bring_forward()
        else:
            self.state = replace(self.state, eager=True)

    def _bring_forward(self) -> None:
        # Start the next track, which is loaded, at the next phrase of the playing one.
        state = self.state
        assert state.mix is not None
        place = place_of(state.mix, state.index)
        soon = self.link.beat - state.offset + (LEAD_SECONDS + 1) * self.link.bpm / 60.0
        passed = max(0.0, soon - place.begin)
        mix_out = place.begin + -(-passed // PHRASE_BEATS) * PHRASE_BEATS
        if mix_out < place.mix_out:
            self.end_at(max(mix_out, place.mix_in_end))

    def release(self, what: str) -> None:
        """Release a deck, the tempo or `all` from manual control."""
        for one in self.override.release(what):
            self._released(one)

    def _released(self, what: str) -> None:
        decision = recovery.after_release(self.state, self.link, what)
        if isinstance(decision, recovery.StopDeck):
            self.link.schedule(decision.beat, f"/deck/{decision.deck}/stop")
            self.state = replace(self.state, used=self.state.used | {decision.deck})
        elif isinstance(decision, recovery.ResumeTrack):
            self.state = replace(self.state, armed=(), offset=decision.offset)

    # Tasks of each tick

    def _control(self, now: float, beat: float) -> None:
        self._check_memory(now)
        self._plan(now)
        self._load(now)
        self._move_on()
        self._hand_over(now, beat)
        self._set_loop()
        self.scheduler.tick(beat)
        self._follow_crowd(now, beat)
        standing = {deck for deck in DECKS if not self.link.runs(deck)}
        for deck in self.override.tick(now, standing):
            self._released(deck)
        self._check_silence(now)

    def _context(self, now: float, beat: float) -> handover.HandoverContext:
        return handover.HandoverContext(
            now, beat, self.link.bpm, self.override, self.selector.ends or self.state.closed,
            self._effective_set, self.selector.problem,
        )  # fmt: skip

    def _hand_over(self, now: float, beat: float) -> None:
        state, decision = self.state, handover.decide(self.state, self._context(now, beat))
        if isinstance(decision, handover.StartTransition):
            self.scheduler.add(decision.commands)
            state = replace(
                state, offset=decision.offset, laps=0, eager=False, note=decision.note
            )
            self.state = state.at_stage(Stage.MIXING, self._now())
            log.info("%s", decision.note)
        elif isinstance(decision, handover.FinishTransition):
            history = (*state.history[-handover.MAX_HISTORY :], decision.mix.entries[0].path)
            transition = state.playing.transition if state.playing is not None else None
            kind = (transition.kind,) if transition is not None else ()
            self.state = replace(
                state.at_stage(Stage.NONE, self._now()),
                mix=decision.mix,
                index=0,
                decks={0: decision.deck},
                used=state.used | decision.left,
                before=None,
                loop_limit=math.inf,
                fading=frozenset(),
                searched_at=0.0,
                served="",
                history=history,
                kinds=(*state.kinds, *kind)[-handover.MAX_KINDS :],
                note=decision.note,
            )
        elif isinstance(decision, handover.RepeatPhrase):
            self.state = replace(
                state, offset=decision.offset, laps=state.laps + 1, note=decision.note
            )
        elif isinstance(decision, handover.EndSet):
            self.scheduler.add(decision.commands)
            self.state = replace(state, closing=True)
        elif isinstance(decision, handover.SetFinished) and self.selector.ends and not state.closed:
            self.state = replace(state, finished=True)
        elif isinstance(decision, handover.SetFinished):
            # Closed, or opened again when the last track could not be continued any more.
            self.state = self._idle()

    def _set_loop(self) -> None:
        wanted = handover.pending_loop(self.state, self.override)
        # A start may wait for its file: until then, the server refuses a loop.
        if wanted is not None and self.link.runs(wanted[0]):
            self.state = replace(self.state, armed=wanted)
            self.link.send(f"/deck/{wanted[0]}/loop/set", *wanted[1:])

    def _check_silence(self, now: float) -> None:
        audible = any(self.link.audible(deck) for deck in DECKS)
        silence = recovery.check_silence(self.state, audible, self.link.bpm, now)
        self.state = replace(self.state, silent_since=silence.since)
        if silence.ends:
            self.state = self._idle()
        elif silence.begin is not None:
            self._start(silence.begin)

    def _check_memory(self, now: float) -> None:
        # Files that can no longer be read: of the next track, which has to be another one, and of
        # the playing one, which has to be left in time.
        state = self.state
        # The status may still be that of the deck's earlier track.
        ready = state.stage == Stage.READY and now > state.since + STALE_SECONDS
        if ready and self.link.deck(state.decks[state.next], "state") == "broken":
            self._skip("its file cannot be read any more", now)
        deck = self.state.decks.get(self.state.index, "")
        if deck in self.override:
            return
        decision = recovery.check_memory(self.state, self.link)
        if isinstance(decision, recovery.PlayFromMemory):
            if state.loop_limit == math.inf:
                log.warning("%s", decision.note)
            self.state = replace(
                self.state, mix=decision.mix, loop_limit=decision.loop_limit, note=decision.note
            )
        elif isinstance(decision, recovery.StartOver):
            self._start_over(decision.fading, now)

    def _start_over(self, fading: frozenset[str], now: float) -> None:
        if now < self.state.searched_at + RETRY_SECONDS:
            return
        self.state = replace(self.state, searched_at=now)
        try:
            mix = self.selector.first(self.selection_request(now))
        except NothingToPlay as error:
            self._report_problem(error)
            return
        log.warning("what plays cannot be read any more: starting %s", name_of(mix.entries[0].path))
        self._start(mix)
        # These decks play what is left of them in memory meanwhile, so nothing waits for them.
        self.state = replace(self.state, fading=fading, used=self.state.used - fading)

    def _move_on(self) -> None:
        # End the playing track early: for a person's request, or as the folder is back.
        state = self.state
        playing, following = state.playing, state.next_entry
        if state.stage != Stage.READY or state.holding or playing is None or following is None:
            return
        if state.decks.get(state.index, "") in self.override:
            return
        if state.eager or self.selector.overdue(playing.path, following.path):
            self.state = replace(state, eager=False)
            self._bring_forward()

    def _effective_set(self) -> Set:
        # The set as it is played: at one tempo while the tempo is not the plan's.
        assert self.state.mix is not None
        free = self.crowd.leads(self._now()) or TEMPO in self.override
        return at_constant_tempo(self.state.mix, self.link.bpm) if free else self.state.mix

    def selection_request(self, now: float) -> SelectionRequest:
        """Return the requirements for the next track."""
        state = self.state
        energy = self.crowd.energy(now) if state.energy is None else state.energy
        requested_path = state.queue[0] if state.queue else ""
        bad = {path for path, when in state.bad.items() if now < when + RETRY_BAD_SECONDS}
        return SelectionRequest(
            energy,
            self.crowd.wanted_bpm(now) or 0.0,
            requested_path,
            state.banned | bad,
            state.history[:-1] if state.index >= 0 else state.history,
            state.kinds,
            state.folders,
            state.tags,
        )

    def _plan(self, now: float) -> None:
        state = self.state
        assert state.mix is not None
        next_entry = state.next_entry
        requested = bool(state.queue) and state.stage == Stage.NONE and state.index >= 0
        requested = requested and not (next_entry and next_entry.path == state.served)
        if state.closing or (state.closed and state.index >= 0):
            self._end_with_track()
            return
        if next_entry and not requested:
            self._recheck(next_entry.path, now)
            return
        if state.searched_at and now < state.searched_at + RETRY_SECONDS and not requested:
            return
        request, effective_set = self.selection_request(now), self._effective_set()
        made = self.selector.next(
            replace(effective_set, entries=effective_set.entries[: state.next]), request
        )
        state = replace(state, searched_at=now)
        problem = self.selector.problem() if made is None else ""
        if problem and problem != self._reported:
            log.warning("there is nothing else to play: %s", problem)
        self._reported = problem
        if request.path:
            state = replace(state, served=state.queue[0], queue=state.queue[1:])
            if made is None:
                state = replace(state, note=f"no transition leads into {name_of(request.path)}")
        mix = state.mix
        if made is not None and mix is not None:
            # Keep only the added track: `effective_set` has the tempo of this moment.
            rest = mix.entries[state.next :]
            planned = replace(mix, entries=fitted((*made.entries, *rest)))
            state = replace(state, before=mix, searched_at=0.0, mix=planned)
            entry, transition = made.entries[-1], made.entries[-2].transition
            how = f"{transition.kind}, {transition.why}" if transition else "cut"
            log.info("next: %s (%s); %s", name_of(entry.path), entry.why, how)
        self.state = state

    def _recheck(self, path: str, now: float) -> None:
        # Replace a repeat, or a track that was not analysed, if there is time to load another one.
        state = self.state
        busy = state.index < 0 or state.stage == Stage.MIXING
        if busy or now < state.rechecked_at + RECHECK_SECONDS:
            return
        self.state = state = replace(state, rechecked_at=now)
        if state.mix is None or state.queue:
            return
        request = replace(self.selection_request(now), before=state.history)
        if self.time_left() > MIN_LOAD_SECONDS and self.selector.stale(request, path):
            self.reconsider()

    def time_left(self) -> float:
        """Return the seconds until the mix-out of the playing track."""
        assert self.state.mix is not None
        mix_out = self.state.offset + place_of(self.state.mix, self.state.index).mix_out
        return (mix_out - self.link.beat) * 60.0 / self.link.bpm

    def _free_deck(self) -> str:
        # Choose a deck for the next track; empty if none is free.
        decks = self.state.decks
        first = DECKS.find(decks.get(self.state.index, "D")) + 1
        busy = {*self.scheduler.decks(), *decks.values(), *self.override}
        free = [
            deck
            for deck in DECKS[first:] + DECKS[:first]
            if deck not in busy and not self.link.audible(deck)
        ]
        # Prefer empty decks: a person may have prepared a stopped one.
        return min(free, key=lambda deck: self.link.deck(deck, "state") != "empty", default="")

    def _load(self, now: float) -> None:
        self._change_deck()
        state = self.state
        if state.failed is not None and now >= state.failed[0] + TAKEN_SECONDS:
            self._skip(state.failed[1], now)
            return
        if state.stage == Stage.LOADING and state.laps >= MAX_LATE_LAPS:
            self._skip("loading takes too long", now)
            return
        if state.stage != Stage.NONE or state.next_entry is None:
            return
        if not self._make_room(now):
            return
        deck = self._free_deck()
        if deck:
            decks = {**self.state.decks, state.next: deck}
            self.state = replace(
                self.state.at_stage(Stage.LOADING, self._now()), decks=decks, laps=0
            )
            self.link.send(f"/deck/{deck}/load", state.next_entry.path)

    def _change_deck(self) -> None:
        # If the next track's deck comes under manual control, use another deck.
        state = self.state
        deck = state.decks.get(state.next, "")
        if state.stage not in (Stage.LOADING, Stage.READY) or deck not in self.override:
            return
        decks = {number: one for number, one in state.decks.items() if number != state.next}
        self.state = replace(
            state.at_stage(Stage.NONE, self._now()),
            decks=decks,
            superseded=state.superseded | state.pending(),
        )

    def _make_room(self, now: float) -> bool:
        # Return whether the used decks have released their memory, or have had time to.
        used = self.state.used - set(self.override)
        self.state = replace(self.state, used=used)
        tail = now < self.state.since + TAIL_SECONDS
        if any(map(self._runs, used)) and tail:
            return False  # the previous track is still ending
        leaving = set(self.state.leaving)
        for deck in sorted(used):
            # Memory may be short, and a loaded track occupies some.
            if self.link.deck(deck, "state") != "empty" and not self._runs(deck):
                self.link.send(f"/deck/{deck}/unload")
                leaving.add(deck)
        wait = bool(leaving) and tail  # their memory is released in a moment
        self.state = replace(
            self.state, used=frozenset(), leaving=frozenset(leaving if wait else ())
        )
        return not wait

    def _runs(self, deck: str) -> bool:
        return self.link.runs(deck)

    def _loaded(self) -> None:
        state = self.state
        deck = state.decks[state.next]
        chain = str(self.link.deck(deck, "fx") or "").split()
        for slot, there in enumerate(chain, 1):
            if there != "-":  # an effect of an earlier track
                self.link.send(f"/deck/{deck}/fx/remove", slot)
        made = reassigned(track_commands(self._effective_set(), state.next), state.decks)
        self.scheduler.now(command for command in made if command.stage == "prepare")
        self.state = self.state.at_stage(Stage.READY, self._now())

    def _skip(self, reason: str, now: float) -> None:
        state = self.state
        assert state.next_entry is not None
        path = state.next_entry.path
        log.warning("%s is skipped: %s", path, reason)
        note = f"{name_of(path)} is skipped: {reason}"
        # The tracks of a missing folder are not bad, and are no candidates until it is back.
        bad = state.bad if self.selector.is_lost(path) else {**state.bad, path: now}
        self.state = replace(state, note=note, bad=bad)
        self.drop_next()

    def reconsider(self) -> None:
        """Drop the next track, which may come later: a person requests another one."""
        state = self.state
        assert state.mix is not None
        if state.before is None and not self.selector.ends:
            # It was chosen by another DJ.
            before = replace(state.mix, entries=state.mix.entries[: state.next])
            self.state = state = replace(state, before=before)
        if state.before is not None:
            self.drop_next()
        else:
            self.state = state.without_deck(self._now())
        self.state = replace(self.state, searched_at=0.0)

    def drop_next(self) -> None:
        """Drop the next track; another one will be selected."""
        state = self.state
        assert state.mix is not None and state.next_entry is not None
        mix = state.before
        if mix is None:
            mix = without(state.mix, state.next_entry.path, state.index)
        state = replace(
            state, mix=mix if mix.entries else None, before=None, searched_at=0.0, laps=0
        )
        self.state = state.without_deck(self._now())

    def _is_ours(self, command: TimedCommand) -> bool:
        if command.address == "/clock/tempo":
            return TEMPO not in self.override and not self.crowd.leads(self._now())
        return not (command.address.startswith("/deck/") and command.address[6:7] in self.override)

    def _follow_crowd(self, now: float, beat: float) -> None:
        state = self.state
        if (
            state.mix is None
            or TEMPO in self.override
            or state.index < 0
            or not self.crowd.due(now)
        ):
            return
        on = state.mix.entries[: 2 if state.stage == Stage.MIXING else 1]
        own = [entry.bpm / entry.ratio for entry in on]
        comfort = max(own) * (1 - STRETCH), min(own) * (1 + STRETCH)
        near = replace(state.mix, entries=state.mix.entries[:2])
        plan = tempo_map(near).bpm(beat - state.offset)
        bpm = self.crowd.step(now, self.link.bpm, plan, (comfort[0], max(comfort)))
        if bpm is not None:
            self.link.send("/clock/tempo", bpm, self.link.bpm / 60.0 * STEP_SECONDS)
