"""One file that is being recorded: a queue, and a thread that empties it onto the disk."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.inside import remove_inside
from crowdstream.record.writer import Writer, open_audio

CHANNELS = 2
SAVE_SECONDS = 1.0  # what a crash may cost
QUEUE_SECONDS = 10.0  # of sound that waits for a slow disk: 3.5 MB at 44.1 kHz
_SILENCE_FRAMES = 65536  # written at a time

Say = Callable[[dict[str, Any]], None]


class Recording:
    """Takes sound from one thread, which it never keeps waiting, and writes it in another.

    `say` is told, in the other thread, `closed` or `failed`. `lost`: frames that the file holds
    as silence, because they were not read or not written in time.
    """

    def __init__(
        self, path: Path, sample_rate: int, form: str, say: Say, roots: Sequence[Path] = ()
    ) -> None:
        """Make the file, inside `roots` if there are any; raises `OSError`."""
        self.path = path
        self._roots = roots
        self.lost = 0
        self.told = 0  # of `lost`, for whoever reports it
        self._writer: Writer = open_audio(path, sample_rate, CHANNELS, form, roots)
        self._say = say
        self._room = int(QUEUE_SECONDS * sample_rate)
        self._gap = 0  # frames of silence that are due before the next sound
        self._taken = 0  # frames put into the queue, written by the one thread
        self._done = 0  # and out of it, by the other
        self._queue: queue.SimpleQueue[tuple[int, np.ndarray] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=path.name, daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether the file is still being written."""
        return self._thread.is_alive()

    def put(self, lost: int, frames: np.ndarray) -> None:
        """Append `lost` frames of silence and then `frames`; never waits."""
        self._gap += lost
        self.lost += lost
        if self._taken - self._done + len(frames) > self._room:
            self._gap += len(frames)
            self.lost += len(frames)
        elif len(frames):
            self._flush(frames)

    def finish(self) -> None:
        """There is no more to come: close the file when all is written."""
        if self._gap:
            self._flush(np.empty((0, CHANNELS), np.float32))
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the file is closed."""
        self._thread.join(max(0.0, seconds))

    def cancel(self) -> None:
        """Close the file, which nothing was put into, and remove it."""
        self._queue.put(None)
        with contextlib.suppress(OSError):
            remove_inside(self.path, self._roots)

    def _flush(self, frames: np.ndarray) -> None:
        self._queue.put((self._gap, frames))
        self._taken += len(frames)
        self._gap = 0

    # In the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_all()
            self._writer.close()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._writer.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._tell("failed", reason=reason)
        else:
            self._tell("closed")

    def _tell(self, event: str, **more: Any) -> None:
        self._say(
            {"event": event, "path": str(self.path), "frames": self._writer.frames, **more}
        )

    def _write_all(self) -> None:
        save_at = time.monotonic() + SAVE_SECONDS
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, save_at - time.monotonic()))
                if item is None:
                    return
                self._write(*item)
            except queue.Empty:
                pass
            if time.monotonic() >= save_at:
                self._writer.save()
                save_at = time.monotonic() + SAVE_SECONDS

    def _write(self, silence: int, frames: np.ndarray) -> None:
        while silence > 0:
            part = min(silence, _SILENCE_FRAMES)
            self._writer.write(np.zeros((part, CHANNELS), np.float32))
            silence -= part
        if len(frames):
            self._writer.write(frames)
        self._done += len(frames)
