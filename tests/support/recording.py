"""Sound to record, failing disks, and a check of recorded files."""

from __future__ import annotations

import errno
import struct
import threading
from pathlib import Path

import numpy as np
import soundfile

from crowdstream.audiofile import open_stem
from crowdstream.recorder.writers import RecordingFile

FORMATS = (("wav16", ".wav"), ("wav24", ".wav"), ("float", ".wav"), ("flac", ".flac"))
STEP = {"wav16": 1.5 / 2**15, "wav24": 0.5 / 2**23, "float": 0.0, "flac": 0.5 / 2**23}
"""Largest error of each format."""


def sound(frames: int, seed: int = 1) -> np.ndarray:
    """Return noise that no integer format represents exactly, float32 `(frames, 2)`."""
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, (frames, 2))
    return values.astype(np.float32)


class FullDisk(RecordingFile):
    """A disk with a capacity of `room` bytes."""

    room = 200_001

    def write_at(self, offset: int, data: bytes) -> None:
        if offset + len(data) > self.room:
            super().write_at(offset, data[: max(0, self.room - offset)])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_at(offset, data)


class SmallFiles(RecordingFile):
    """A disk whose files can't grow beyond `most` bytes; data below that is written."""

    most = 200_001

    def write_at(self, offset: int, data: bytes) -> None:
        if offset + len(data) > self.most:
            super().write_at(offset, data[: max(0, self.most - offset)])
            raise OSError(errno.EFBIG, "File too large")
        super().write_at(offset, data)


class SlowDisk(RecordingFile):
    """A disk that blocks writes while `stuck` is set."""

    stuck = threading.Event()
    free = threading.Event()
    gave_up = threading.Event()
    """Set if `free` was not set for a minute, as when the test itself waits for the disk."""

    def write_at(self, offset: int, data: bytes) -> None:
        if self.stuck.is_set() and not self.free.wait(60):
            self.gave_up.set()
        super().write_at(offset, data)


class DyingDisk(RecordingFile):
    """A disk on which fsync fails."""

    def sync(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def size(path: Path) -> int:
    """Return the size of a file in bytes."""
    return path.stat().st_size


def check(path: Path, expected: np.ndarray, form: str, least: int | None = None) -> int:
    """Check that a file contains at least `least` frames of `expected`; return how many."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    assert rate == 44100
    least = len(expected) if least is None else least
    assert least <= len(samples) <= len(expected)
    error = np.abs(samples - expected[: len(samples)]) if len(samples) else np.zeros(1)
    assert error.max() <= STEP[form]
    assert soundfile.info(path).frames == len(samples)
    head = path.read_bytes()[:8]
    if head[:4] == b"RIFF":
        assert struct.unpack("<I", head[4:])[0] + 8 <= size(path)
    if len(samples):
        open_stem(path, 44100).close()  # the server itself must be able to play it
    return len(samples)
