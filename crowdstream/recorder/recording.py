"""One file that is being recorded: a queue, and a thread that empties it onto the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.recorder.writer import Writer, open_audio
from crowdstream.system.safe_open import remove_inside

CHANNELS = 2
SAVE_SECONDS = 1.0  # what a crash may cost
QUEUE_SECONDS = 10.0  # of sound that waits for a slow disk: 3.5 MB at 44.1 kHz
_SILENCE_FRAMES = 65536  # written at a time
# A file can't grow further: FAT32 ends at 4 GiB, and a user's files may have a limit (ulimit -f).
FILE_IS_FULL = (errno.EFBIG, errno.EOVERFLOW)
MAX_PARTS = 1000
MAX_NAME_BYTES = 255

Say = Callable[[dict[str, Any]], None]


class NoRoom(OSError):
    """The disk has no more free space than recordings are to leave."""

    def __init__(self, path: Path, reserve: int) -> None:
        text = (
            f"the disk of {path.parent} has less than the {reserve >> 20} MB free that recordings"
            " leave (--record-reserve): make room, or choose another folder"
        )
        super().__init__(errno.ENOSPC, text)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to a folder's disk. Raises `OSError`.

    What has no blocks, as /proc, is no disk and never full.
    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize if status.f_blocks else sys.maxsize


def check_room(path: Path, reserve: int) -> None:
    """Raise `NoRoom` where less than `reserve` bytes are free beside a file."""
    if reserve > 0 and free_bytes(path.parent) < reserve:
        raise NoRoom(path, reserve)


class Recording:
    """Takes sound from one thread, which it never keeps waiting, and writes it in another.

    `say` is told, in the other thread, `closed` or `failed`. `lost`: frames that the file holds
    as silence, because they were not read or not written in time.

    When the file has reached the largest size that it may have, the recording continues in
    another one, at the next frame (`mix-2.wav` after `mix.wav`), and says `continued`. `path` is
    the file that is written to, `first` the one it began with; each message names both.
    """

    def __init__(
        self, path: Path, sample_rate: int, form: str, say: Say, roots: Sequence[Path] = (),
        reserve: int = 0,
    ) -> None:  # fmt: skip
        """Make the file, inside `roots` if there are any; raises `OSError`.

        `reserve`: bytes of the disk that stay free. A disk that is full holds up everything else
        on the machine, and a file may then lack its end.
        """
        check_room(path, reserve)
        self._reserve = reserve
        self.path = self.first = path
        self._roots = roots
        self._rate = sample_rate
        self._form = form
        self._part = 1
        # Frames that the file may not hold yet, and the number of the first of them in the file.
        self._unsure: deque[np.ndarray] = deque()
        self._unsure_at = 0
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
            self._close()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._writer.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            if isinstance(error, NoRoom):
                reason = str(error.strerror)
            self._tell("failed", reason=reason)
        else:
            self._tell("closed")

    def _tell(self, event: str, **more: Any) -> None:
        self._say(
            {
                "event": event, "path": str(self.path), "first": str(self.first),
                "frames": self._writer.frames, **more,
            }
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
                check_room(self.path, self._reserve)
                save_at = time.monotonic() + SAVE_SECONDS

    def _write(self, silence: int, frames: np.ndarray) -> None:
        while silence > 0:
            part = min(silence, _SILENCE_FRAMES)
            self._append(np.zeros((part, CHANNELS), np.float32))
            silence -= part
        if len(frames):
            self._append(frames)
        self._done += len(frames)

    # Files that may not grow further -------------------------------------------------------

    def _append(self, frames: np.ndarray) -> None:
        while True:
            self._unsure.append(frames)
            try:
                self._writer.write(frames)
                break
            except OSError as error:
                frames = self._continue(error)
        kept = self._writer.kept
        while self._unsure and self._unsure_at + len(self._unsure[0]) <= kept:
            self._unsure_at += len(self._unsure.popleft())

    def _close(self) -> None:
        while True:
            try:
                self._writer.close()
                return
            except OSError as error:  # there was no room for the encoder's last block
                self._append(self._continue(error))

    def _continue(self, error: OSError) -> np.ndarray:
        """Go over to the next file; what this one did not take. Raises `error` if it is another."""
        full = self._writer
        if error.errno not in FILE_IS_FULL or full.frames == 0:
            raise error
        held = np.concatenate(self._unsure)[full.frames - self._unsure_at :]
        with contextlib.suppress(OSError):
            full.close()
        frames, path = full.frames, self.path
        self._writer = self._open_next()
        self._unsure.clear()
        self._unsure_at = 0
        self._say(
            {
                "event": "continued", "path": str(self.path), "first": str(self.first),
                "full": str(path), "frames": frames,
            }
        )
        return held

    def _open_next(self) -> Writer:
        while True:
            self._part += 1
            path = _part_path(self.first, self._part)
            try:
                made = open_audio(path, self._rate, CHANNELS, self._form, self._roots)
            except FileExistsError:
                if self._part >= MAX_PARTS:
                    raise
            else:
                self.path = path
                return made


def _part_path(path: Path, number: int) -> Path:
    """The name of a further file of a recording: `mix-2.wav`; of long names, the beginning."""
    end = f"-{number}{path.suffix}"
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    stem = os.fsencode(path.stem)
    if len(stem) > room:
        return path.with_name(stem[:room].decode(errors="ignore") + end)
    return path.with_name(path.stem + end)
