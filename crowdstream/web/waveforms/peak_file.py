"""The format of a sound's peaks: a pyramid of levels, and the file that stores it.

Level 0 has one bucket for each `bucket` frames of the file, about 3 ms. Each bucket of a further
level stands for four of the level below. A bucket is four bytes:

- peak: the largest magnitude of all channels, 255 * |x| rounded up, at most 255;
- low, mid, high: mean square below 200 Hz, between, and above 2.5 kHz, in steps of 0.375 dB.
  255 is a full-scale sine, and 0 is silence. Frames after the end of the sound count as silence.

A file is a header of 80 bytes, one byte for each block of 256 buckets of level 0 (1: exact), and
then the levels, the finest first.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from math import log2

FACTOR = 4  # buckets per bucket of the next level
BUCKET_BYTES = 4
TILE = 4096  # buckets per request of a page
BLOCK = 256  # buckets of level 0 that become exact together
BLOCK_LEVEL = 4  # the level whose buckets correspond to blocks
COARSEST = 256  # maximum number of buckets of the coarsest level

BUCKET_SECONDS = 0.0027  # 128 frames at 44.1 and 48 kHz: a pixel when the screen shows some seconds
WINDOW_SECONDS = 0.0113  # 512 frames at 44.1 and 48 kHz: spectral lines 86 Hz apart
MAX_BUCKETS = 1 << 22  # of level 0: three hours; longer files have longer buckets
MAX_BUCKET = 1 << 15  # frames: limits a file to 36 days

DECIBELS_PER_STEP = 0.375

MAGIC = b"CSWAVE\x00\x01"
_HEADER = struct.Struct("<8s16sQqIQIiII")
_CRC = struct.Struct("<I")
HEADER_BYTES = 80

MISSING, ROUGH, EXACT = 0, 1, 2
"""State of a bucket: nothing is known, roughly known, exactly known."""


class DamagedWave(ValueError):
    """A peak file is damaged."""


class TooLong(ValueError):
    """A sound has more frames than a peak file can represent."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of the peaks of a sound: `frames` at `rate` Hz, `bucket` frames per bucket."""

    rate: int
    frames: int
    bucket: int

    @classmethod
    def of(cls, rate: int, frames: int) -> Shape:
        """The dimensions for a sound. Raises `TooLong`."""
        bucket = _power_of_two(rate * BUCKET_SECONDS)
        while -(-frames // bucket) > MAX_BUCKETS:
            bucket *= 2
        if bucket > MAX_BUCKET:
            raise TooLong(f"{frames} frames are too many for a waveform")
        return cls(rate, frames, bucket)

    @property
    def window(self) -> int:
        """Frames per spectrum."""
        return _power_of_two(self.rate * WINDOW_SECONDS)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of buckets per level, the finest first."""
        counts = [-(-self.frames // self.bucket)]
        while counts[-1] > COARSEST:
            counts.append(-(-counts[-1] // FACTOR))
        return tuple(counts)

    @property
    def blocks(self) -> int:
        """Number of blocks of level 0; the last one may be shorter."""
        return -(-self.counts[0] // BLOCK)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each level in the file; the last element is the end of the file."""
        at = HEADER_BYTES + self.blocks
        offsets = [at]
        for count in self.counts:
            at += count * BUCKET_BYTES
            offsets.append(at)
        return tuple(offsets)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.offsets[-1]


def _power_of_two(frames: float) -> int:
    return max(16, 1 << round(log2(frames)))


@dataclass(frozen=True)
class Header:
    """The header of a peak file.

    name: digest of the sound's path. identity: the sound's size in bytes, and its modification time
    in ns. rough: the first level that is completely known, at least roughly; -1: none. check:
    CRC-32 of everything after the header, once the file is finished.
    """

    name: bytes
    identity: tuple[int, int]
    shape: Shape
    rough: int = -1
    finished: bool = False
    check: int = 0

    def packed(self) -> bytes:
        """Encode the header."""
        size, modified = self.identity
        shape = self.shape
        data = _HEADER.pack(
            MAGIC, self.name, size, modified, shape.rate, shape.frames, shape.bucket,
            self.rough, int(self.finished), self.check,
        )  # fmt: skip
        data += _CRC.pack(zlib.crc32(data))
        return data.ljust(HEADER_BYTES, b"\0")

    @classmethod
    def unpacked(cls, data: bytes) -> Header:
        """Decode a header. Raises `DamagedWave`."""
        body = data[: _HEADER.size]
        if len(data) < HEADER_BYTES or body[:8] != MAGIC:
            raise DamagedWave("not a peak file")
        if _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(body):
            raise DamagedWave("the header is damaged")
        _magic, name, size, modified, rate, frames, bucket, rough, finished, check = _HEADER.unpack(
            body
        )
        shape = Shape(rate, frames, bucket)
        return cls(name, (size, modified), shape, rough, bool(finished), check)


def name_digest(path: str) -> bytes:
    """A digest of 16 bytes of a path."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:16]


def key(path: str, identity: tuple[int, int]) -> str:
    """The name of a sound's peaks, which changes whenever the file changes."""
    text = f"{path}\0{identity[0]}\0{identity[1]}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
