"""The formats of the stream, and the lower bit rates that slow connections fall back to."""

from __future__ import annotations

from collections.abc import Callable

from crowdstream.web.streaming import opus
from crowdstream.web.streaming.chunks import FORM_MULAW, FORM_PCM16, Chunk, Dither, mulaw

OPUS_BITS, OPUS_FEW_BITS = 160_000, 48_000  # bit/s: almost transparent, and still good

LADDERS = {
    "pcm16": ("pcm16", "mulaw", "mulaw-mono"),
    "opus": ("opus", "opus-few"),
}
"""For each requested format, the steps from high to low bit rate."""


def available() -> list[str]:
    """The formats that this server can send."""
    return [name for name in LADDERS if name != "opus" or opus.installed()]


class Encoders:
    """Encodes the chunks of one bus. Opus encoders keep state between chunks; the others do not."""

    def __init__(self) -> None:
        self._dither = Dither()
        self._opus: dict[str, opus.Encoder] = {}
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
            known = self._opus[name] = opus.Encoder(chunk.rate, bits)
        return known.encode(chunk)
