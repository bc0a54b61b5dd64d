"""One file being recorded: a queue, and a thread that writes it to disk."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.recorder.writers import Writer, open_audio
from crowdstream.system.medium import free_bytes
from crowdstream.system.safe_open import remove_inside

CHANNELS = 2
SAVE_SECONDS = 1.0  # between two saves: the most that a crash can cost
QUEUE_SECONDS = 10.0  # of audio queued for a slow disk: 3.5 MB at 44.1 kHz
_SILENCE_FRAMES = 65536  # written at a time
# The file can't grow: FAT32 is limited to 4 GiB, and a user's files may be limited (ulimit -f).
FILE_IS_FULL = (errno.EFBIG, errno.EOVERFLOW)
MAX_PARTS = 1000
MAX_NAME_BYTES = 255

Send = Callable[[dict[str, Any]], None]


class DiskAlmostFull(OSError):
    """The disk has less free space than recordings must leave."""

    def __init__(self, path: Path, reserve: int) -> None:
        text = (
            f"the disk of {path.parent} has less than the {reserve >> 20} MB free that recordings"
            " must leave (--record-reserve): make room, or choose another folder"
        )
        super().__init__(errno.ENOSPC, text)


def check_free_space(path: Path, reserve: int) -> None:
    """Raise `NoRoom` if the file's disk has less than `reserve` bytes free."""
    if reserve > 0 and free_bytes(path.parent) < reserve:
        raise DiskAlmostFull(path, reserve)


class Recording:
    """Receives audio from one thread without blocking it, and writes it in another.

    `send` is called in the writing thread with `closed` or `failed`. `lost`: frames that the file
    contains as silence because they were not read or not written in time.

    When the file has reached its maximum size, the recording continues in another file with the
    next frame (`mix-2.wav` after `mix.wav`), and `continued` is sent. `path` is the file being
    written, `first` the first one; each message names both.
    """

    def __init__(
        self, path: Path, sample_rate: int, form: str, send: Send, roots: Sequence[Path] = (),
        reserve: int = 0,
    ) -> None:  # fmt: skip
        """Create the file, inside `roots` if any are given. Raises `OSError`.

        `reserve`: bytes of the disk that stay free. A full disk blocks everything else on the
        machine, and the file may lack its end.
        """
        check_free_space(path, reserve)
        self._reserve = reserve
        self.path = self.first = path
        self._roots = roots
        self._rate = sample_rate
        self._form = form
        self._part = 1
        # Frames that the file may not contain yet, and the number of the first of them.
        self._unsure: deque[np.ndarray] = deque()
        self._unsure_at = 0
        self.lost = 0
        self.reported_lost = 0  # part of `lost` that was reported; set by the caller
        self._writer: Writer = open_audio(path, sample_rate, CHANNELS, form, roots)
        self._send = send
        self._capacity = int(QUEUE_SECONDS * sample_rate)
        self._gap = 0  # frames of silence to write before the next audio
        self._taken = 0  # frames put into the queue, written by the reading thread only
        self._done = 0  # frames taken from it, written by the writing thread only
        self._queue: queue.SimpleQueue[tuple[int, np.ndarray] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=path.name, daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether the file is still being written."""
        return self._thread.is_alive()

    def put(self, lost: int, frames: np.ndarray) -> None:
        """Append `lost` frames of silence and then `frames`. Never blocks."""
        self._gap += lost
        self.lost += lost
        if self._taken - self._done + len(frames) > self._capacity:
            self._gap += len(frames)
            self.lost += len(frames)
        elif len(frames):
            self._flush(frames)

    def finish(self) -> None:
        """Close the file when everything queued is written."""
        if self._gap:
            self._flush(np.empty((0, CHANNELS), np.float32))
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait up to `seconds` until the file is closed."""
        self._thread.join(max(0.0, seconds))

    def cancel(self) -> None:
        """Close and delete the file, to which nothing was written."""
        self._queue.put(None)
        with contextlib.suppress(OSError):
            remove_inside(self.path, self._roots)

    def _flush(self, frames: np.ndarray) -> None:
        self._queue.put((self._gap, frames))
        self._taken += len(frames)
        self._gap = 0

    # In the writing thread -----------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_all()
            self._close()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._writer.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            if isinstance(error, DiskAlmostFull):
                reason = str(error.strerror)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._send_event("failed", reason=reason, full=full)
        else:
            self._send_event("closed")

    def _send_event(self, event: str, **more: Any) -> None:
        self._send(
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
                check_free_space(self.path, self._reserve)
                save_at = time.monotonic() + SAVE_SECONDS

    def _write(self, silence: int, frames: np.ndarray) -> None:
        while silence > 0:
            part = min(silence, _SILENCE_FRAMES)
            self._append(np.zeros((part, CHANNELS), np.float32))
            silence -= part
        if len(frames):
            self._append(frames)
        self._done += len(frames)

    # Files of maximum size --------------------------------------------------------------------

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
            except OSError as error:  # no room for the encoder's last block
                self._append(self._continue(error))

    def _continue(self, error: OSError) -> np.ndarray:
        """Open the next file; returns the frames that did not fit. Re-raises other errors."""
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
        self._send(
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
    """The name of a continuation file, such as `mix-2.wav`; long names are truncated."""
    end = f"-{number}{path.suffix}"
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    stem = os.fsencode(path.stem)
    if len(stem) > room:
        return path.with_name(stem[:room].decode(errors="ignore") + end)
    return path.with_name(path.stem + end)
