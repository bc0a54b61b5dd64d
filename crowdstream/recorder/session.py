"""A recording session: files that begin and end on the same frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.taps import RECORDER, TapReader
from crowdstream.recorder.recording import Recording, Send

STALL_SECONDS = 1.0  # an immediate stop waits this long for an engine that stands still
LOST_REPORT_SECONDS = 1.0  # between two reports of frames lost to a slow disk


class Session:
    """Records taps, each to its file, from one frame up to another. Call `work()` repeatedly.

    Sends `began` with the first frame (later than requested if the taps were switched on too
    late), `lost`, `ended` with the last frame, and the messages of `Recording`.
    """

    def __init__(
        self,
        desk: Desk,
        number: int,
        frame: int,
        files: Sequence[tuple[int, Path]],
        form: str,
        send: Send,
        monotonic: Callable[[], float] = time.monotonic,
        roots: Sequence[Path] = (),
        reserve: int = 0,
    ) -> None:
        """Create all files, each with its tap and inside `roots`, or none. Raises `OSError`.

        `reserve`: see `Recording`.
        """
        self._desk = desk
        self.number = number
        self._start = frame
        self._send_all = send
        self._monotonic = monotonic
        self._stop: int | None = None
        self._at_once = False
        self._moved = (-1, monotonic())
        self._reported_at = -LOST_REPORT_SECONDS
        self._recordings: list[tuple[TapReader, Recording]] = []
        self.began: int | None = None
        self.ended = False
        try:
            for tap, path in files:
                recording = Recording(
                    path, round(desk.sample_rate), form, self._send, roots, reserve
                )
                self._recordings.append((TapReader(desk, tap, RECORDER, frame), recording))
        except OSError:
            self._cancel()
            raise

    @property
    def closed(self) -> bool:
        """Whether every file is finished."""
        return self.ended and not any(recording.open for _, recording in self._recordings)

    @property
    def recorded(self) -> int:
        """Number of frames recorded so far."""
        return 0 if self.began is None else max(self._positions()) - self.began

    @property
    def lost(self) -> int:
        """Frames lost in all files together."""
        return sum(recording.lost for _, recording in self._recordings)

    def stop(self, frame: int, at_once: bool) -> None:
        """Record up to `frame`, or to the current one if it is later.

        `at_once`: prefer to stop now if the engine does not reach the frame.
        """
        self._at_once = at_once
        self._stop = frame if self.began is None else max(frame, *self._positions())
        self._moved = (-1, self._monotonic())

    def work(self) -> None:
        """Copy new frames from the taps to the files."""
        if self.ended:
            return
        if self.began is None:
            self._begin()
        if self.began is not None:
            for reader, recording in self._recordings:
                lost, frames = reader.read(self._stop)
                if recording.open:
                    recording.put(lost, frames)
            self._report_lost()
        if self._reached_stop() or not any(recording.open for _, recording in self._recordings):
            self._end()

    def finish(self, deadline: float) -> None:
        """Record the frames available, and close the files; waits for slow disks to `deadline`."""
        if not self.ended:
            self.stop(min(reader.head for reader, _ in self._recordings), at_once=True)
            self.work()
            self._end()
        for _, recording in self._recordings:
            recording.join(deadline - self._monotonic())

    def _begin(self) -> None:
        firsts = [reader.first for reader, _ in self._recordings]
        known = [first for first in firsts if first is not None]
        if len(known) < len(firsts):
            return
        self.began = max(known)
        for reader, _ in self._recordings:
            reader.position = self.began
        self._send({"event": "began", "frame": self.began})

    def _positions(self) -> list[int]:
        return [reader.position for reader, _ in self._recordings]

    def _reached_stop(self) -> bool:
        # Whether the last frame has been read, or the engine no longer gets there.
        if self._stop is None:
            return False
        if self._stop <= (self._start if self.began is None else min(self._positions())):
            return True
        if self._desk.frame != self._moved[0]:
            self._moved = (self._desk.frame, self._monotonic())
        return self._at_once and self._monotonic() - self._moved[1] >= STALL_SECONDS

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._report_lost(last=True)
        self._send({"event": "ended", "frame": (self.began or self._start) + self.recorded})
        if self.recorded == 0:
            self._cancel()
            return
        for reader, recording in self._recordings:
            reader.close()
            recording.finish()

    def _cancel(self) -> None:
        for reader, recording in self._recordings:
            reader.close()
            recording.cancel()

    def _report_lost(self, last: bool = False) -> None:
        now = self._monotonic()
        if now < self._reported_at + LOST_REPORT_SECONDS and not last:
            return
        for _, recording in self._recordings:
            if recording.lost > recording.reported_lost:
                recording.reported_lost = recording.lost
                self._reported_at = now
                self._send(
                    {
                        "event": "lost", "path": str(recording.path),
                        "first": str(recording.first), "frames": recording.lost,
                    }
                )

    def _send(self, message: dict[str, Any]) -> None:
        self._send_all({**message, "id": self.number})
