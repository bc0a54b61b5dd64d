"""Chunks: a few milliseconds of a bus, and the bytes that stand for them on the wire.

A chunk on the wire is a head of 28 bytes, little-endian, and its samples:

| bytes | type | what |
| --- | --- | --- |
| 0 | u1 | form: 1 PCM, 16 bit; 2 mu-law, 8 bit; 3 Opus |
| 1 | u1 | channels, interleaved |
| 2..3 | u2 | frames in it, at its own rate |
| 4..7 | u4 | its own sample rate in Hz |
| 8..11 | u4 | the stream's sample rate in Hz: that of frame numbers |
| 12..19 | i8 | frame number in the stream of its first frame |
| 20..27 | f8 | when that frame was mixed: seconds of the server's monotonic clock |
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

HEAD = struct.Struct("<BBHIIqd")
FORM_PCM16, FORM_MULAW, FORM_OPUS = 1, 2, 3

_FULL = 32768.0
_MULAW_BIAS, _MULAW_CLIP = 33, 8158  # of 14 bits, as in G.711


def _mulaw_table() -> np.ndarray:
    # The code of each 16-bit sample, found at the sample taken as an unsigned number.
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    size = np.minimum(np.abs(samples) + 2 >> 2, _MULAW_CLIP) + _MULAW_BIAS
    segment = np.floor(np.log2(size)).astype(np.int32) - 5
    step = size >> segment + 1 & 15
    sign = np.where(samples < 0, 0x80, 0)
    codes: np.ndarray
    codes = (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)
    return codes


_MULAW = _mulaw_table()


class Dither:
    """Rounds to 16 bits with triangular noise of two steps from peak to peak.

    The error is white then, and does not depend on the sound.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = np.random.default_rng(seed)

    def pcm16(self, samples: np.ndarray) -> np.ndarray:
        """int16 of float32 samples, whatever their shape. What is too loud is clipped."""
        random = self._random
        noise = random.random(samples.shape, np.float32) - random.random(samples.shape, np.float32)
        pcm: np.ndarray = np.rint(np.clip(samples * _FULL + noise, -_FULL, _FULL - 1.0))
        return pcm.astype("<i2")


def mulaw(samples: np.ndarray) -> np.ndarray:
    """uint8 codes (G.711 mu-law) of float32 samples, whatever their shape."""
    pcm = np.rint(np.clip(samples * _FULL, -_FULL, _FULL - 1.0)).astype(np.int16)
    codes: np.ndarray = _MULAW[pcm.view(np.uint16)]
    return codes


@dataclass
class Chunk:
    """Frames of one bus that belong together: `samples` float32 `(frames, 2)`.

    `frame`: number of the first one in the stream; `at`: when it was mixed (monotonic seconds).
    What it is on the wire is worked out once for each format, however many want it.
    """

    samples: np.ndarray
    frame: int
    rate: int
    at: float
    _made: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The frame behind its last one."""
        return self.frame + len(self.samples)

    def bytes_as(self, name: str, encode: Callable[[Chunk], bytes | None]) -> bytes | None:
        """What the listeners of one format get; None: nothing, this time."""
        if name not in self._made:
            self._made[name] = encode(self)
        return self._made[name]

    def head(self, form: int, channels: int) -> bytes:
        """The head for samples at the stream's own rate."""
        frames = len(self.samples)
        return HEAD.pack(form, channels, frames, self.rate, self.rate, self.frame, self.at)
