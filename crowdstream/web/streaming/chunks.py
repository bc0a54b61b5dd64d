"""Chunks: a few milliseconds of a bus, and their encoding on the wire.

An encoded chunk is a header of 28 bytes, little-endian, followed by its samples:

| bytes | type | what |
| --- | --- | --- |
| 0 | u1 | format: 1 PCM, 16 bit; 2 mu-law, 8 bit; 3 Opus |
| 1 | u1 | channels, interleaved |
| 2..3 | u2 | number of frames, at the chunk's own sample rate |
| 4..7 | u4 | the chunk's own sample rate in Hz |
| 8..11 | u4 | the stream's sample rate in Hz, which frame numbers refer to |
| 12..19 | i8 | frame number of the first frame in the stream |
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
_MULAW_BIAS, _MULAW_CLIP = 33, 8158  # on a 14-bit scale, as in G.711


def _mulaw_table() -> np.ndarray:
    # The mu-law code of each 16-bit sample, indexed by the sample as an unsigned number.
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
    """Quantizes to 16 bits with triangular dither of two steps peak to peak.

    The quantization error is then white and independent of the signal.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = np.random.default_rng(seed)

    def pcm16(self, samples: np.ndarray) -> np.ndarray:
        """int16 samples from float32 ones of any shape, full scale +-1; louder ones are clipped."""
        random = self._random
        noise = random.random(samples.shape, np.float32) - random.random(samples.shape, np.float32)
        pcm: np.ndarray = np.rint(np.clip(samples * _FULL + noise, -_FULL, _FULL - 1.0))
        return pcm.astype("<i2")


def mulaw(samples: np.ndarray) -> np.ndarray:
    """uint8 codes (G.711 mu-law) of float32 samples of any shape; louder ones are clipped."""
    pcm = np.rint(np.clip(samples * _FULL, -_FULL, _FULL - 1.0)).astype(np.int16)
    codes: np.ndarray = _MULAW[pcm.view(np.uint16)]
    return codes


@dataclass
class Chunk:
    """Consecutive frames of one bus: `samples` is float32 `(frames, 2)`.

    `frame`: number of the first frame in the stream; `at`: when it was mixed (monotonic seconds).
    Each format is encoded once, however many listeners receive it.
    """

    samples: np.ndarray
    frame: int
    rate: int
    at: float
    _made: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The frame number after the last one."""
        return self.frame + len(self.samples)

    def bytes_as(self, name: str, encode: Callable[[Chunk], bytes | None]) -> bytes | None:
        """The encoded chunk; None if this chunk completes no packet of the format."""
        if name not in self._made:
            self._made[name] = encode(self)
        return self._made[name]

    def head(self, form: int, channels: int) -> bytes:
        """The header for samples at the stream's own rate."""
        frames = len(self.samples)
        return HEAD.pack(form, channels, frames, self.rate, self.rate, self.frame, self.at)
