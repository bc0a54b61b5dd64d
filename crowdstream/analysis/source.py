"""Sound sources of the analysis: stems that are read block by block at a common rate.

A stem in a file, read at the sample rate of the file.

Mix stereo down to mono without cancelling sounds of opposite polarity.

Half the sum of both channels (mid) cancels sounds that have opposite polarity in the channels,
such as those of a swapped cable or of a stereo widener. Half the difference (side) contains them.
Each block selects one of the two, and selects the side only if it is much louder than the mid, so
ordinary stereo gives its mid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from crowdstream.audiofile.reader import StemReader, open_stem

Floats = npt.NDArray[np.float32]


class Sound(Protocol):
    """One stem with one or two channels."""

    @property
    def name(self) -> str:
        """The name of the stem, such as "drums"."""

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""

    @property
    def frames(self) -> int:
        """The length in frames."""

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """Return the frames `start` to `start + count` as `(count, channels)`.

        The dtype is int16, or float32 with full scale 1.0. The analysis reads each frame once, in
        order, and nothing beyond the end. An `AudioFileError` propagates to the caller of the
        analysis.
        """


class ArraySound:
    """A stem in memory; `samples` is `(frames, channels)` or `(frames,)`, float or int16."""

    def __init__(self, name: str, samples: npt.NDArray[np.generic], sample_rate: int) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.frames = len(samples)
        self._samples = samples if samples.ndim == 2 else samples[:, None]

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """See `Sound`."""
        return self._samples[start : start + count]


class _Feed:
    """One stem as stereo float32 at the common rate, in blocks of any length."""

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
        """Return the next `count` frames, `(count, 2)`; silence beyond the end of the stem."""
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
        return np.clip(block[:, :2], -8.0, 8.0)  # samples beyond +18 dBFS are errors in the file


def total_seconds(sounds: Sequence[Sound]) -> float:
    """Return the length of the longest stem in seconds."""
    return max(sound.frames / sound.sample_rate for sound in sounds)


def blocks(sounds: Sequence[Sound], rate: int, count: int) -> Iterator[list[Floats]]:
    """Read all stems in parallel: yield a list of blocks, one `(count, 2)` per stem, at `rate` Hz.

    The last blocks may be shorter. Stems that end earlier are padded with silence.
    """
    feeds = [_Feed(sound, rate) for sound in sounds]
    left = max(round(sound.frames * rate / sound.sample_rate) for sound in sounds)
    while left > 0:
        some = min(count, left)
        yield [feed.next(some) for feed in feeds]
        left -= some


ANY_RATE = 44_100


class StemFileSound:
    """A `source.Sound` that reads a file. Raises an `AudioFileError` if it cannot be read."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        reader = open_stem(path, ANY_RATE)
        if reader.source_rate != ANY_RATE:
            reader.close()
            reader = open_stem(path, reader.source_rate)
        self._reader: StemReader = reader
        self.sample_rate = reader.source_rate
        self.frames = reader.frames

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """See `source.Sound`."""
        return self._reader.read(start, count)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


SIDE_POWER_RATIO = 4.0  # power ratio of side to mid (6 dB) above which the side is selected
RAMP_SECONDS = 0.02  # of the crossfade between mid and side


class Mono:
    """Mix a stereo stream down to mono, block by block. `rate` is in Hz."""

    def __init__(self, rate: float) -> None:
        self._ramp = max(1, round(RAMP_SECONDS * rate))
        self._side_selected = False  # the side is selected

    def feed(self, block: Floats) -> tuple[Floats, Floats]:
        """Process the next samples, `(frames, 2)`.

        Returns the selected signal and the other one, `(frames,)` each: mid and side, or side
        and mid.
        """
        mid = (block[:, 0] + block[:, 1]) * np.float32(0.5)
        side = (block[:, 0] - block[:, 1]) * np.float32(0.5)
        mids, sides = float(np.dot(mid, mid)), float(np.dot(side, side))
        before = self._side_selected
        if sides > SIDE_POWER_RATIO * mids:
            self._side_selected = True
        elif mids > sides or not sides:
            self._side_selected = False
        if before == self._side_selected:
            return (side, mid) if before else (mid, side)
        # Crossfade: the share of the side, from its previous to its new value.
        share = np.full(len(block), self._side_selected, np.float32)
        count = min(self._ramp, len(block))
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        share[:count] = ramp if self._side_selected else 1 - ramp
        return mid + share * (side - mid), side + share * (mid - side)
