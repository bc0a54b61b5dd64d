"""Sound to record, and disks that fail."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np

from crowdstream.record.disk import Disk

FORMATS = (("wav16", ".wav"), ("wav24", ".wav"), ("float", ".wav"), ("flac", ".flac"))
STEP = {"wav16": 1.5 / 2**15, "wav24": 0.5 / 2**23, "float": 0.0, "flac": 0.5 / 2**23}
"""The largest error of a format."""


def sound(frames: int, seed: int = 1) -> np.ndarray:
    """Noise that no integer format holds exactly, float32 `(frames, 2)`."""
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, (frames, 2))
    return values.astype(np.float32)


class FullDisk(Disk):
    """A disk that has room for `room` bytes."""

    room = 200_001

    def write_at(self, offset: int, data: bytes) -> None:
        if offset + len(data) > self.room:
            super().write_at(offset, data[: max(0, self.room - offset)])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_at(offset, data)


class SlowDisk(Disk):
    """A disk that takes nothing more while `stuck` is set."""

    stuck = threading.Event()
    free = threading.Event()

    def write_at(self, offset: int, data: bytes) -> None:
        if self.stuck.is_set():
            self.free.wait(30)
        super().write_at(offset, data)


class DyingDisk(Disk):
    """A disk that can't be synchronised any more."""

    def sync(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def size(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size
