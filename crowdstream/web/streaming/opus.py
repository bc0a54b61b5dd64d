"""Opus encoding at 48 kHz in packets of 20 ms; requires PyAV."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from typing import Any

import numpy as np

from crowdstream.web.streaming.chunks import FORM_OPUS, HEAD, Chunk

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
