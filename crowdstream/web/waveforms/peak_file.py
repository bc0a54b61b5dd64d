"""How a sound's peaks are kept: a pyramid of levels, and the file that holds it.

Level 0 has one bucket for each `bucket` frames of the file, about 3 ms; each further level has one
for four of the level below. A bucket is four bytes:

- peak: the largest magnitude of all channels, 255 * |x| rounded up, at most 255;
- low, mid, high: mean square below 200 Hz, between, and above 2.5 kHz, in steps of 0.375 dB, 255
  being that of a sine at full scale and 0 that of silence. What lies after the end of the sound
  counts as silence.

A file is a header of 80 bytes, one byte for each block of 256 buckets of level 0 (1: it is exact),
and then the levels, the finest first.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from math import log2

FACTOR = 4  # buckets of a level in one of the next
BUCKET_BYTES = 4
TILE = 4096  # buckets that are asked for at once
BLOCK = 256  # buckets of level 0 that are exact together
BLOCK_LEVEL = 4  # whose buckets are blocks
COARSEST = 256  # a level of so many buckets has none above it

BUCKET_SECONDS = 0.0027  # 128 frames at 44.1 and 48 kHz: a pixel of some seconds on a screen
WINDOW_SECONDS = 0.0113  # 512 frames at 44.1 and 48 kHz: 86 Hz between lines of a spectrum
MAX_BUCKETS = 1 << 22  # of level 0, three hours; longer files have longer buckets
MAX_BUCKET = 1 << 15  # frames: with it a file of 36 days is the longest

DECIBELS_PER_STEP = 0.375

MAGIC = b"CSWAVE\x00\x01"
_HEADER = struct.Struct("<8s16sQqIQIiII")
_CRC = struct.Struct("<I")
HEADER_BYTES = 80

MISSING, ROUGH, EXACT = 0, 1, 2
"""What is known of a bucket: nothing, about what it is, all."""


class DamagedWave(ValueError):
    """A file of peaks is not what it should be."""


class TooLong(ValueError):
    """A sound has more frames than there can be buckets for."""


@dataclass(frozen=True)
class Shape:
    """Of the peaks of a sound of `frames` at `rate` Hz, with so many frames in a `bucket`."""

    rate: int
    frames: int
    bucket: int

    @classmethod
    def of(cls, rate: int, frames: int) -> Shape:
        """The shape for a sound. Raises `TooLong`."""
        bucket = _power_of_two(rate * BUCKET_SECONDS)
        while -(-frames // bucket) > MAX_BUCKETS:
            bucket *= 2
        if bucket > MAX_BUCKET:
            raise TooLong(f"{frames} frames are more than a waveform is made of")
        return cls(rate, frames, bucket)

    @property
    def window(self) -> int:
        """Frames of one spectrum."""
        return _power_of_two(self.rate * WINDOW_SECONDS)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Buckets of each level, the finest first."""
        counts = [-(-self.frames // self.bucket)]
        while counts[-1] > COARSEST:
            counts.append(-(-counts[-1] // FACTOR))
        return tuple(counts)

    @property
    def blocks(self) -> int:
        """Blocks of level 0, the last one perhaps shorter."""
        return -(-self.counts[0] // BLOCK)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte of the file at which each level begins; the last one is where the file ends."""
        at = HEADER_BYTES + self.blocks
        offsets = [at]
        for count in self.counts:
            at += count * BUCKET_BYTES
            offsets.append(at)
        return tuple(offsets)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.offsets[-1]


def _power_of_two(frames: float) -> int:
    return max(16, 1 << round(log2(frames)))


@dataclass(frozen=True)
class Header:
    """The beginning of a file of peaks.

    name: digest of the sound's path. identity: the sound's bytes, and its time in ns. rough: the
    first level that is known roughly as a whole, -1 while there is none. check: CRC-32 of all
    that follows, once it is finished.
    """

    name: bytes
    identity: tuple[int, int]
    shape: Shape
    rough: int = -1
    finished: bool = False
    check: int = 0

    def packed(self) -> bytes:
        """The header's bytes."""
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
        """The header that these bytes are. Raises `DamagedWave`."""
        body = data[: _HEADER.size]
        if len(data) < HEADER_BYTES or body[:8] != MAGIC:
            raise DamagedWave("it does not begin as a file of peaks does")
        if _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(body):
            raise DamagedWave("its header is damaged")
        _magic, name, size, modified, rate, frames, bucket, rough, finished, check = _HEADER.unpack(
            body
        )
        shape = Shape(rate, frames, bucket)
        return cls(name, (size, modified), shape, rough, bool(finished), check)


def name_digest(path: str) -> bytes:
    """16 bytes that stand for a path."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:16]


def key(path: str, identity: tuple[int, int]) -> str:
    """What a sound's peaks are known by: another one as soon as the file is another one."""
    text = f"{path}\0{identity[0]}\0{identity[1]}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
