"""Opus encoding at 48 kHz in packets of 20 ms; requires PyAV.

Chunks: a few milliseconds of a bus, and their encoding on the wire.

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

The formats of the stream, and the lower bit rates that slow connections fall back to.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

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


RATE = 48000
PACKET = 960  # frames: 20 ms
AHEAD = 312  # frames by which the decoded audio lags (libopus's look-ahead at 48 kHz)


def installed() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class Encoder:
    """Encodes consecutive chunks of a bus with sample rate `rate` (Hz) at `bits` bit/s."""

    def __init__(self, rate: int, bits: int) -> None:
        self.rate = rate
        self._bits = bits
        self._expected: int | None = None
        self._codec: Any = None
        self._convert: Any = None
        self._rest = np.empty((0, 2), np.float32)
        self._start = self._sent = 0

    def encode(self, chunk: Chunk) -> bytes | None:
        """The packet that this chunk completes; None if there are not enough samples yet.

        A gap before the chunk resets the encoder and drops the remaining samples (under 20 ms).
        """
        if chunk.frame != self._expected:
            self._begin(chunk.frame)
        self._expected = chunk.end
        samples = chunk.samples if self._convert is None else self._convert(chunk.samples)
        self._rest = np.concatenate([self._rest, samples])
        if len(self._rest) < PACKET:
            return None
        packet, self._rest = self._rest[:PACKET], self._rest[PACKET:]
        frame = self._start + round((self._sent * PACKET - AHEAD) * self.rate / RATE)
        at = chunk.at + (frame - chunk.frame) / self.rate
        head = HEAD.pack(FORM_OPUS, 2, PACKET, RATE, chunk.rate, frame, at)
        return head + self._packet(packet)

    def _begin(self, frame: int) -> None:
        # Imported here: the libraries take 15 MB, which only Opus listeners should cost.
        import av
        import soxr

        codec: Any = av.CodecContext.create("libopus", "w")
        codec.sample_rate = RATE
        codec.layout = "stereo"
        codec.format = "flt"
        codec.bit_rate = self._bits
        codec.time_base = Fraction(1, RATE)
        codec.options = {"application": "audio", "frame_duration": "20"}
        self._codec = codec
        self._frame_of: Any = av.AudioFrame.from_ndarray
        self._convert = None
        if self.rate != RATE:
            # Higher qualities deliver bursts of 20 ms, which would add to the latency.
            stream = soxr.ResampleStream(self.rate, RATE, 2, np.float32, quality="LQ")
            self._convert = stream.resample_chunk
        self._rest = np.empty((0, 2), np.float32)
        self._start = frame
        self._sent = 0

    def _packet(self, samples: np.ndarray) -> bytes:
        frame = self._frame_of(np.ascontiguousarray(samples).reshape(1, -1), "flt", "stereo")
        frame.sample_rate = RATE
        frame.pts = self._sent * PACKET
        self._sent += 1
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


OPUS_BITS, OPUS_FEW_BITS = 160_000, 48_000  # bit/s: almost transparent, and still good

LADDERS = {
    "pcm16": ("pcm16", "mulaw", "mulaw-mono"),
    "opus": ("opus", "opus-few"),
}
"""For each requested format, the steps from high to low bit rate."""


def available() -> list[str]:
    """The formats that this server can send."""
    return [name for name in LADDERS if name != "opus" or installed()]


class Encoders:
    """Encodes the chunks of one bus. Opus encoders keep state between chunks; the others do not."""

    def __init__(self) -> None:
        self._dither = Dither()
        self._opus: dict[str, Encoder] = {}
        self._make: dict[str, Callable[[Chunk], bytes | None]] = {
            "pcm16": self._pcm16,
            "mulaw": self._mulaw,
            "mulaw-mono": self._mulaw_mono,
            "opus": lambda chunk: self._opus_bytes("opus", OPUS_BITS, chunk),
            "opus-few": lambda chunk: self._opus_bytes("opus-few", OPUS_FEW_BITS, chunk),
        }

    def encode(self, name: str, chunk: Chunk) -> bytes | None:
        """Encode a chunk; None if the chunk completes no packet of the format."""
        return chunk.bytes_as(name, self._make[name])

    def _pcm16(self, chunk: Chunk) -> bytes:
        return chunk.head(FORM_PCM16, 2) + self._dither.pcm16(chunk.samples).tobytes()

    @staticmethod
    def _mulaw(chunk: Chunk) -> bytes:
        return chunk.head(FORM_MULAW, 2) + mulaw(chunk.samples).tobytes()

    @staticmethod
    def _mulaw_mono(chunk: Chunk) -> bytes:
        return chunk.head(FORM_MULAW, 1) + mulaw(chunk.samples.mean(axis=1)).tobytes()

    def _opus_bytes(self, name: str, bits: int, chunk: Chunk) -> bytes | None:
        known = self._opus.get(name)
        if known is None or known.rate != chunk.rate:
            known = self._opus[name] = Encoder(chunk.rate, bits)
        return known.encode(chunk)
