"""The voice allocator: assigns the engine's voices to tracks, and handles events about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from crowdstream.control.decks.track import Due, Track
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import VOICES
from crowdstream.desk.opcodes import (
    EV_ENDED,
    EV_LATE,
    EV_MARK,
    EV_REFUSED,
    EV_STARTED,
    FREE,
    OP_CANCEL,
    OP_GRID,
    OP_MARK,
    OP_START,
    OP_STOP,
    PLAYING,
    REFUSED_GRID,
    REFUSED_LOOP,
)

RECONCILE_SECONDS = 0.5  # between a loss of events and the comparison with the desk


class Mark(NamedTuple):
    """An action to be done when the engine has processed a mark, expected by `due` (monotonic).

    `state`: saved state from which a new control can recreate the action, or None.
    """

    due: float
    action: Callable[[], None]
    state: list[Any] | None


class VoiceAllocator:
    """Assigns the engine's voices to tracks. For the control thread.

    `notify` sends an event to all subscribers. Nothing reaches the engine before the engine queue
    is flushed.
    """

    def __init__(
        self,
        desk: Desk,
        outbox: EngineQueue,
        notify: Callable[..., None] = lambda *_, **__: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._outbox = outbox
        self._notify = notify
        self._monotonic = monotonic
        self._voices: list[Track | None] = [None] * VOICES
        self._marks: dict[int, Mark] = {}
        self._events_lost = 0
        self._reconcile_at: float | None = None
        self._reconciled = False  # since the latest loss

    # Allocation --------------------------------------------------------------------------

    def holders(self) -> list[Track | None]:
        """Return the track of each voice; None for a free voice."""
        return list(self._voices)

    def tracks(self) -> list[Track]:
        """Return the tracks that have voices."""
        return [track for track in self._voices if track]

    def sounding(self) -> list[Track]:
        """Return the tracks that are playing."""
        return [track for track in self._voices if track and track.sounding]

    def free_voices(self) -> int:
        """Return the number of free voices."""
        return self._voices.count(None)

    def hold(self, track: Track) -> int:
        """Return the voice of a track, allocating a free one if it has none."""
        if track.voice is None:
            track.voice = self._voices.index(None)
            self._voices[track.voice] = track
        return track.voice

    def _free_voice(self, track: Track) -> None:
        if track.voice is not None and not track.sounding and not track.pending_starts:
            self._voices[track.voice] = None
            track.voice = None

    def later_starts(self, track: Track, frame: int) -> list[Due]:
        """Return the times of a track's starts that are with the engine, later than `frame`."""
        now = max(frame, self._desk.frame)
        return sorted({due for due in track.pending_starts.values() if due.frame > now})

    def held_by(self, deck: int, request: Request) -> list[tuple[Track, list[Due]]]:
        """Return the deck's tracks that have voices, each with the times of its later starts."""
        held = [track for track in self._voices if track and track.deck == deck]
        return [(track, self.later_starts(track, request.frame)) for track in held]

    # Commands to voices ------------------------------------------------------------------

    def stop(self, track: Track, frame: int, request: Request | None = None) -> None:
        """Stop a track's voice, if it has one, and cancel pending starts on it."""
        if track.voice is not None:
            self._stop_voice(track.voice, frame, request)

    def _stop_voice(self, voice: int, frame: int, request: Request | None = None) -> None:
        self._outbox.add(OP_CANCEL, request, target=voice, frame=frame)
        self._outbox.add(OP_STOP, request, target=voice, frame=frame)

    def silence(self, track: Track, frame: int) -> None:
        """Stop a track's voice, and set `track.marked` when the engine has processed the stop."""
        self.stop(track, frame)
        state = ["silent", track.number]
        self.mark(partial(setattr, track, "marked", True), frame, state=state)

    def fail_unstarted(self, track: Track, frame: int, reason: str) -> None:
        """Send `reason` to the senders of starts that an unload at `frame` prevents."""
        # Starts that are due earlier still take place.
        unload_frame = max(frame, self._desk.frame + 1)
        for serial, due in track.pending_starts.items():
            request = self._outbox.sender(serial)
            if request and due.frame >= unload_frame:
                request.fail(f"{track.name} had not started yet: {reason}")

    def change_grid(self, track: Track, slot: int, passed: Callable[[], None]) -> None:
        """Give a track's voice another grid slot (-1: none), now and at its later starts.

        `passed` is called when the engine has processed all commands that name the old slot.
        """
        if track.voice is None:
            passed()
            return
        at = [Due(0), *self.later_starts(track, 0)]
        left = len(at)

        def one_passed() -> None:
            nonlocal left
            left -= 1
            if not left:
                passed()

        for due in at:
            self._outbox.add(
                OP_GRID, frame=due.frame, beat=due.beat, target=track.voice, index=slot
            )
            self.mark(one_passed, due.frame, due.beat)

    def retime(self, frame_of: Callable[[float], int]) -> None:
        """After a change of the clock, update the frames of starts at a beat.

        `frame_of` maps a beat to a frame.
        """
        for track in self.tracks():
            for serial, due in track.pending_starts.items():
                if due.beat is not None:
                    track.pending_starts[serial] = Due(frame_of(due.beat), due.beat)

    def mark(
        self,
        action: Callable[[], None],
        frame: int = 0,
        beat: float | None = None,
        request: Request | None = None,
        state: list[Any] | None = None,
    ) -> None:
        """Call `action` when the engine has processed all commands sent before this one.

        `request`: the command that it is part of, whose sender is notified if it is late. `state`:
        JSON-compatible state from which a new control can recreate the action (see `Snapshotter`).
        """
        ahead = max(0, frame - self._desk.frame) / self._desk.sample_rate
        serial = self._outbox.add(OP_MARK, request, frame=frame, beat=beat)
        self._marks[serial] = Mark(self._monotonic() + ahead + RECONCILE_SECONDS, action, state)

    # Events from the engine --------------------------------------------------------------

    def engine_events(self, events: np.ndarray) -> None:
        """Handle events from the engine."""
        for event in events.tolist():
            _frame, _wanted, serial, kind, _target, value = event
            if kind == EV_MARK:
                mark = self._marks.pop(serial, None)
                if mark:
                    mark.action()
            elif kind == EV_LATE:
                request = self._outbox.sender(serial)
                if request:
                    request.report_late(value / self._desk.sample_rate)
            elif kind == EV_REFUSED:
                self._refused(serial, value)
            elif kind == EV_STARTED:
                self._begun(serial)
            elif kind == EV_ENDED:
                self._ended(serial, int(value))

    def _refused(self, serial: int, reason: float) -> None:
        request = self._outbox.sender(serial)
        if request and reason == REFUSED_LOOP:
            request.fail("the loop does not fit into the track: one of its ends is outside")
        elif request and reason == REFUSED_GRID:
            request.fail("the track has no beat grid: send /deck/<A-D>/grid first")
        elif request:
            request.fail("too many commands are waiting in the engine: this one was dropped")
        mark = self._marks.pop(serial, None)
        if mark:
            self.mark(mark.action, state=mark.state)
        track = self._holder(serial)
        if track:
            del track.pending_starts[serial]
            self._free_voice(track)

    def _holder(self, serial: int) -> Track | None:
        for track in self.tracks():
            if serial in track.pending_starts or track.sounding == serial:
                return track
        return None

    def _begun(self, serial: int) -> None:
        track = self._holder(serial)
        if track:
            track.pending_starts.pop(serial, None)
            track.sounding = serial

    def _ended(self, serial: int, how: int) -> None:
        track = self._holder(serial)
        if track:
            track.pending_starts.pop(serial, None)
            if track.sounding == serial:
                track.sounding = 0
                if how == 0:
                    self._notify("/ended", track.buffer, track.name)
            self._free_voice(track)

    def reconcile(self) -> None:
        """After a loss of engine events, read the voices' states from the desk instead."""
        now = self._monotonic()
        lost = int(self._desk.ledger["events_lost"])
        if lost != self._events_lost:
            self._events_lost = lost
            self._reconcile_at = now + RECONCILE_SECONDS
            self._reconciled = False
        if self._reconcile_at is None or now < self._reconcile_at:
            return
        self._reconcile_at = None
        if not self._reconciled:
            self._reconciled = True
            self._compare_with_desk(now)
        passed = self._desk.frame - round(RECONCILE_SECONDS * self._desk.sample_rate)
        for track in self.tracks():
            for serial in [s for s, due in track.pending_starts.items() if due.frame <= passed]:
                del track.pending_starts[serial]
            if track.pending_starts:  # some may never take place: look again when they are due
                self._reconcile_at = now + RECONCILE_SECONDS
            self._free_voice(track)

    def _compare_with_desk(self, now: float) -> None:
        for serial, mark in list(self._marks.items()):
            if mark.due <= now:
                del self._marks[serial]
                self.mark(mark.action, state=mark.state)
        for track in self.tracks():
            voice = self._desk.voices[track.voice]
            sounds = int(voice["serial"]) if int(voice["state"]) != FREE else 0
            if sounds in track.pending_starts:
                self._begun(sounds)
            if track.sounding and track.sounding != sounds:
                track.sounding = 0

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return pending senders and marks as JSON-compatible state; see `restore`.

        The assignment of voices is part of the tracks' own state.
        """
        coming = [serial for track in self.tracks() for serial in track.pending_starts]
        senders = [(serial, self._outbox.sender(serial)) for serial in coming]
        return {
            "senders": [[serial, one.to_state()] for serial, one in senders if one],
            "marks": [
                [serial, mark.due, mark.state]
                for serial, mark in self._marks.items()
                if mark.state
            ],
        }

    def restore(
        self,
        state: dict[str, Any],
        tracks: Mapping[int, Track],
        held: np.ndarray,
        request: Callable[[list[Any]], Request],
        remake: Callable[[list[Any]], Callable[[], None] | None],
    ) -> None:
        """Restore the state of an earlier control, and the desk's state of `tracks` (by number).

        `held`: commands that the engine has and has not carried out. `request` restores a request
        from its state; `remake` recreates an action from the `state` passed to `mark`, or returns
        None if that is no longer possible.
        """
        for serial, one in state["senders"]:
            self._outbox.record_sender(serial, request(one))
        for serial, due, mark in state["marks"]:
            action = self._remade(mark, tracks, remake)
            if action:
                self._marks[serial] = Mark(due, action, mark)
        self._find_holders(tracks, held)
        self._events_lost = int(self._desk.ledger["events_lost"])
        self._reconcile_at = self._monotonic() + RECONCILE_SECONDS

    @staticmethod
    def _remade(
        state: list[Any],
        tracks: Mapping[int, Track],
        remake: Callable[[list[Any]], Callable[[], None] | None],
    ) -> Callable[[], None] | None:
        if state[0] != "silent":
            return remake(state)
        track = tracks.get(state[1])
        return partial(setattr, track, "marked", True) if track else None

    def _find_holders(self, tracks: Mapping[int, Track], held: np.ndarray) -> None:
        # Assign voices from the saved state, supplemented by the desk, which may be more recent.
        desk = self._desk
        owners = {source: track for track in tracks.values() for source in track.sources}
        for track in tracks.values():
            if track.voice is not None:
                self._voices[track.voice] = track
        for order in held[held["op"] == OP_START]:
            owner, slot = owners.get(int(order["sources"][0])), int(order["target"])
            if owner is None:
                self._outbox.add(OP_CANCEL, target=slot)
            elif self._assign(slot, owner):
                beat = float(order["beat"]) if order["by_beat"] else None
                owner.pending_starts.setdefault(
                    int(order["serial"]), Due(int(order["frame"]), beat)
                )
        for slot in np.flatnonzero(desk.voices["state"][:VOICES] == PLAYING).tolist():
            owner = owners.get(int(desk.voices["sources"][slot, 0]))
            if owner is None:
                self._stop_voice(slot, 0)
            elif self._assign(slot, owner):
                serial = int(desk.voices["serial"][slot])
                owner.pending_starts.pop(serial, None)
                owner.sounding = serial

    def _assign(self, slot: int, track: Track) -> bool:
        # Assign a voice to a track, unless the voice or the track is assigned otherwise.
        if self._voices[slot] not in (None, track) or track.voice not in (None, slot):
            return False
        self._voices[slot], track.voice = track, slot
        return True
