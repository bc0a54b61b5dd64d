"""What is analysed: stems that can be read piece by piece, and their common stretch of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

Floats = npt.NDArray[np.float32]


class Sound(Protocol):
    """One stem. `frames` long at `sample_rate` (Hz); float full scale is 1.0.

    What `read` gives is int16 or float32, `(count, channels)`, for one or two channels; it may
    raise an `AudioFileError`, which goes through to the caller of the analysis.
    """

    @property
    def name(self) -> str:
        """What it is called, such as 'drums'."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def frames(self) -> int:
        """Its length."""

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """Frames `start` to `start + count`, all within the stem, asked for in order."""


class ArraySound:
    """A stem that is in memory: `samples` is `(frames, channels)`, float or int16."""

    def __init__(self, name: str, samples: npt.NDArray[np.generic], sample_rate: int) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.frames = len(samples)
        self._samples = samples if samples.ndim == 2 else samples[:, None]

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """See `Sound`."""
        return self._samples[start : start + count]


class _Feed:
    """One stem as stereo float32 at the common rate, in pieces of any length."""

    def __init__(self, sound: Sound, rate: int) -> None:
        self._sound = sound
        self._at = 0
        self._rest = np.zeros((0, 2), np.float32)
        self._stream = (
            soxr.ResampleStream(sound.sample_rate, rate, 2, dtype="float32")
            if sound.sample_rate != rate
            else None
        )
        self._ratio = sound.sample_rate / rate

    def next(self, count: int) -> Floats:
        """The next `count` frames; silence once the stem has ended."""
        while len(self._rest) < count and self._at < self._sound.frames:
            want = int((count - len(self._rest)) * self._ratio) + 1
            want = min(want, self._sound.frames - self._at)
            block = self._read(want)
            if self._stream is not None:
                last = self._at >= self._sound.frames
                block = self._stream.resample_chunk(block, last=last)
            self._rest = np.concatenate([self._rest, block]) if len(self._rest) else block
        found, self._rest = self._rest[:count], self._rest[count:]
        if len(found) < count:
            found = np.concatenate([found, np.zeros((count - len(found), 2), np.float32)])
        return found

    def _read(self, count: int) -> Floats:
        raw = self._sound.read(self._at, count)
        self._at += count
        block: Floats
        if raw.dtype == np.int16:
            block = raw.astype(np.float32)
            block *= np.float32(1 / 32768)
        else:
            block = np.asarray(raw, np.float32)
            if not np.isfinite(block).all():
                block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        if block.shape[1] == 1:
            block = np.repeat(block, 2, axis=1)
        return np.clip(block[:, :2], -8.0, 8.0)  # what is beyond is an error in the file


def total_seconds(sounds: Sequence[Sound]) -> float:
    """Length of the longest stem."""
    return max(sound.frames / sound.sample_rate for sound in sounds)


def blocks(sounds: Sequence[Sound], rate: int, count: int) -> Iterator[list[Floats]]:
    """All stems side by side: for each `count` frames at `rate`, a list of `(n, 2)`, one a stem.

    The last piece may be shorter; stems that end earlier go on in silence.
    """
    feeds = [_Feed(sound, rate) for sound in sounds]
    left = max(round(sound.frames * rate / sound.sample_rate) for sound in sounds)
    while left > 0:
        some = min(count, left)
        yield [feed.next(some) for feed in feeds]
        left -= some
