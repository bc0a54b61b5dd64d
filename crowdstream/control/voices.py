"""Voices: which track has which, and what the engine reports about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from crowdstream.control.buffers import Buffers
from crowdstream.control.context import Context
from crowdstream.control.outbox import Outbox
from crowdstream.control.tracks import Track
from crowdstream.desk.codes import (
    EV_ENDED,
    EV_LATE,
    EV_MARK,
    EV_REFUSED,
    EV_STARTED,
    FREE,
    OP_CANCEL,
    OP_MARK,
    OP_STOP,
    REFUSED_GRID,
    REFUSED_LOOP,
)
from crowdstream.desk.sizes import VOICES

RECONCILE_SECONDS = 0.5  # after reports were lost, until what is known is compared with the desk


class Mark(NamedTuple):
    """What is to be done when the engine has reported something, which it has at `due`."""

    due: float
    action: Callable[[], None]
    note: list[Any] | None


class Voices(Buffers):
    """Buffers whose tracks hold voices of the engine."""

    def __init__(self, outbox: Outbox, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outbox = outbox
        self._voices: list[Track | None] = [None] * VOICES
        self._marks: dict[int, Mark] = {}
        self._events_lost = 0
        self._reconcile_at: float | None = None

    def sounding(self) -> list[Track]:
        """Tracks that play."""
        return [track for track in self._voices if track and track.sounding]

    def free_voices(self) -> int:
        """Voices that no track holds."""
        return self._voices.count(None)

    def _take_voice(self, track: Track) -> int:
        slot = self._voices.index(None)
        self._voices[slot] = track
        track.voice = slot
        return slot

    def _free_voice(self, track: Track) -> None:
        if track.voice is not None and not track.sounding and not track.coming:
            self._voices[track.voice] = None
            track.voice = None

    def _silence(self, track: Track, frame: int) -> None:
        if track.voice is not None:
            self._send_stop(track.voice, frame)
        note = ["silent", track.number]
        self.mark(lambda: setattr(track, "marked", True), frame, note=note)

    def _send_stop(self, voice: int, frame: int, context: Context | None = None) -> None:
        self.outbox.add(OP_CANCEL, context, target=voice, frame=frame)
        self.outbox.add(OP_STOP, context, target=voice, frame=frame)

    def _tell_unstarted(self, track: Track, frame: int, reason: str) -> None:
        # Those due before it leaves do begin.
        leaves = max(frame, self.desk.frame + 1)
        for serial, due in track.coming.items():
            context = self.outbox.sender(serial)
            if context and due.frame >= leaves:
                context.fail(f"{track.name} had not started yet: {reason}")

    def mark(
        self,
        action: Callable[[], None],
        frame: int = 0,
        beat: float | None = None,
        context: Context | None = None,
        note: list[Any] | None = None,
    ) -> None:
        """Call `action` when the engine has done all that it was told before this.

        `context`: whose command it is a part of, who is told when it comes late. `note`: from
        which a later control can make the action anew (see `recall`).
        """
        ahead = max(0, frame - self.desk.frame) / self.desk.sample_rate
        serial = self.outbox.add(OP_MARK, context, frame=frame, beat=beat)
        self._marks[serial] = Mark(self.monotonic() + ahead + RECONCILE_SECONDS, action, note)

    # What comes back ---------------------------------------------------------------------

    def engine_events(self, events: np.ndarray) -> None:
        """Take in what the engine reports."""
        for event in events.tolist():
            _frame, _wanted, serial, kind, _target, value = event
            if kind == EV_MARK:
                mark = self._marks.pop(serial, None)
                if mark:
                    mark.action()
            elif kind == EV_LATE:
                context = self.outbox.sender(serial)
                if context:
                    context.came_late(value / self.desk.sample_rate)
            elif kind == EV_REFUSED:
                self._refused(serial, value)
            elif kind == EV_STARTED:
                self._begun(serial)
            elif kind == EV_ENDED:
                self._ended(serial, int(value))

    def _refused(self, serial: int, reason: float) -> None:
        context = self.outbox.sender(serial)
        if context and reason == REFUSED_LOOP:
            context.fail("such a loop does not fit the track: it ends past it, or before it begins")
        elif context and reason == REFUSED_GRID:
            context.fail("the track has no beat grid: say it with /deck/<A-D>/grid")
        elif context:
            context.fail("too many commands wait in the engine: it was dropped")
        mark = self._marks.pop(serial, None)
        if mark:
            self.mark(mark.action, note=mark.note)
        track = self._holder(serial)
        if track:
            del track.coming[serial]
            self._free_voice(track)

    def _holder(self, serial: int) -> Track | None:
        for track in self._voices:
            if track and (serial in track.coming or track.sounding == serial):
                return track
        return None

    def _begun(self, serial: int) -> None:
        track = self._holder(serial)
        if track:
            track.coming.pop(serial, None)
            track.sounding = serial

    def _ended(self, serial: int, how: int) -> None:
        track = self._holder(serial)
        if track:
            track.coming.pop(serial, None)
            if track.sounding == serial:
                track.sounding = 0
                if how == 0:
                    self._tell("/ended", track.buffer, track.name)
            self._free_voice(track)

    def _reconcile(self) -> None:
        """After reports of the engine were lost: see in the desk what they would have said."""
        now = self.monotonic()
        lost = int(self.desk.ledger["events_lost"])
        if lost != self._events_lost:
            self._events_lost = lost
            self._reconcile_at = now + RECONCILE_SECONDS
        if self._reconcile_at is None or now < self._reconcile_at:
            return
        self._reconcile_at = None
        for serial, mark in list(self._marks.items()):
            if mark.due <= now:
                del self._marks[serial]
                self.mark(mark.action, note=mark.note)
        passed = self.desk.frame - round(RECONCILE_SECONDS * self.desk.sample_rate)
        for track in [track for track in self._voices if track]:
            voice = self.desk.voices[track.voice]
            sounds = int(voice["serial"]) if int(voice["state"]) != FREE else 0
            if sounds in track.coming:
                self._begun(sounds)
            for serial in [s for s, due in track.coming.items() if due.frame <= passed]:
                del track.coming[serial]
            if track.sounding and track.sounding != sounds:
                track.sounding = 0
            self._free_voice(track)
