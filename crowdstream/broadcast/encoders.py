"""Encoders of Icecast streams, on libsndfile: MP3, Opus in Ogg, FLAC in Ogg.

libsndfile writes a file, and corrects its beginning at the end. A stream has no way back, so these
corrections are left out: decoders of streams do not need them.
"""

from __future__ import annotations

import random
from typing import NamedTuple, Protocol

import numpy as np
import soundfile
import soxr

from crowdstream.broadcast.ogg import FlacPages, PageSplitter, flac_frame_length

CONTENT_TYPES = {"mp3": "audio/mpeg", "opus": "application/ogg", "flac": "application/ogg"}
MP3_RATES = (32000, 44100, 48000)
OPUS_RATE = 48000
MAX_FLAC_RATE = 96000  # what players support
FLAC_HEADER_BYTES = 42  # the magic number and the first block, which describes the stream
_STREAMINFO = slice(8, FLAC_HEADER_BYTES)

# libsndfile's compression levels from 0 to 1 are bit rates, in kbit/s for two channels.
MP3_BITRATE = 320.0, 32.0
OPUS_BITRATE = 512.0, 12.0


class Chunk(NamedTuple):
    """Encoded data of `frames` input frames; 0 for headers, which a listener needs."""

    data: bytes
    frames: int


class Encoder(Protocol):
    """Encodes blocks of float32 frames, `(count, 2)`."""

    @property
    def rate(self) -> int:
        """Sample rate of the stream, Hz."""

    @property
    def headers(self) -> bytes:
        """What a listener that joins now needs first."""

    def encode(self, frames: np.ndarray) -> list[Chunk]:
        """Encode a block."""

    def set_title(self, artist: str, title: str) -> list[Chunk]:
        """Put a new title into the stream, if its format has a place for it."""


class _Sink:
    # The file that libsndfile writes to. Only what extends it is kept.

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._position = self._end = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = (0, self._position, self._end)[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes) -> int:
        if self._position == self._end:
            self.written.append(bytes(data))
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def take(self) -> list[bytes]:
        written, self.written = self.written, []
        return written


def _level(bitrate: int, limits: tuple[float, float]) -> float:
    highest, lowest = limits
    return min(1.0, max(0.0, (highest - bitrate) / (highest - lowest)))


class _Resampled:
    # Converts to the rate of the format, if necessary.

    def __init__(self, source_rate: float, rate: int) -> None:
        self._resampler = None
        if rate != source_rate:
            self._resampler = soxr.ResampleStream(source_rate, rate, 2, dtype="float32")

    def convert(self, frames: np.ndarray) -> np.ndarray:
        if self._resampler is None:
            return frames
        converted: np.ndarray = self._resampler.resample_chunk(frames)
        return converted


class Mp3Encoder:
    """MP3 with a constant bit rate. Titles are sent beside the stream."""

    headers = b""

    def __init__(self, source_rate: float, bitrate: int) -> None:
        self.rate = int(source_rate) if source_rate in MP3_RATES else 48000
        self._input = _Resampled(source_rate, self.rate)
        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", self.rate, 2, subtype="MPEG_LAYER_III", format="MP3",
            bitrate_mode="CONSTANT", compression_level=_level(bitrate, MP3_BITRATE),
        )  # fmt: skip

    def encode(self, frames: np.ndarray) -> list[Chunk]:
        """Encode a block."""
        self._file.write(self._input.convert(frames))
        return [Chunk(b"".join(self._sink.take()), len(frames))]

    def set_title(self, artist: str, title: str) -> list[Chunk]:
        """Do nothing: see `icecast`."""
        return []


class OpusEncoder:
    """Opus in Ogg. A new title begins another logical stream, chained to the previous one."""

    rate = OPUS_RATE

    def __init__(self, source_rate: float, bitrate: int) -> None:
        self._input = _Resampled(source_rate, self.rate)
        self._bitrate = bitrate
        self.headers = b""
        self._open("", "")

    def _open(self, artist: str, title: str) -> None:
        self._sink, self._splitter = _Sink(), PageSplitter()
        self._in_headers = True
        self.headers = b""
        self._pending = 0
        self._file = soundfile.SoundFile(
            self._sink, "w", self.rate, 2, subtype="OPUS", format="OGG",
            compression_level=_level(self._bitrate, OPUS_BITRATE),
        )  # fmt: skip
        if artist:
            self._file.artist = artist
        if title:
            self._file.title = title

    def encode(self, frames: np.ndarray) -> list[Chunk]:
        """Encode a block."""
        self._pending += len(frames)
        self._file.write(self._input.convert(frames))
        return self._collect()

    def set_title(self, artist: str, title: str) -> list[Chunk]:
        """End the logical stream, and begin another one with this title."""
        self._file.close()
        rest = self._collect()
        self._open(artist, title)
        return rest

    def _collect(self) -> list[Chunk]:
        chunks = []
        for page, granule in self._splitter.split(b"".join(self._sink.take())):
            if self._in_headers and granule == 0:
                self.headers += page
                chunks.append(Chunk(page, 0))
                continue
            self._in_headers = False
            # All that was encoded until now counts to the first page of audio.
            chunks.append(Chunk(page, self._pending))
            self._pending = 0
        return chunks


class FlacEncoder:
    """FLAC in Ogg, 16 bits; titles as for Opus."""

    def __init__(self, source_rate: float) -> None:
        self.rate = int(source_rate) if source_rate <= MAX_FLAC_RATE else 48000
        self._input = _Resampled(source_rate, self.rate)
        self.headers = b""
        self._title = ("", "")
        self._open()

    def _open(self) -> None:
        self._sink = _Sink()
        self._pages: FlacPages | None = None
        self._begin = b""
        self._pending = 0
        self._file = soundfile.SoundFile(
            self._sink, "w", self.rate, 2, subtype="PCM_16", format="FLAC"
        )

    def encode(self, frames: np.ndarray) -> list[Chunk]:
        """Encode a block."""
        self._pending += len(frames)
        self._file.write(self._input.convert(frames))
        return self._collect()

    def set_title(self, artist: str, title: str) -> list[Chunk]:
        """End the logical stream, and begin another one with this title."""
        self._file.close()
        rest = self._collect(end=True)
        self._title = (artist, title)
        self._open()
        return rest

    def _collect(self, end: bool = False) -> list[Chunk]:
        # libFLAC writes each frame with one call.
        chunks = []
        written = self._sink.take()
        for number, data in enumerate(written):
            if self._pages is None and data[:1] != b"\xff":
                self._begin += data
                continue
            if self._pages is None:
                named = zip(("ARTIST", "TITLE"), self._title, strict=True)
                self._pages = FlacPages(
                    self._begin[_STREAMINFO], [(name, text) for name, text in named if text],
                    random.getrandbits(32),
                )
                self.headers = self._pages.headers
                chunks.append(Chunk(self.headers, 0))
            last = end and number == len(written) - 1
            page = self._pages.frame(data, flac_frame_length(data), last)
            chunks.append(Chunk(page, self._pending))
            self._pending = 0
        return chunks


def make_encoder(format: str, bitrate: int, source_rate: float) -> Encoder:
    """Return the encoder of a format of Icecast streams."""
    if format == "mp3":
        return Mp3Encoder(source_rate, bitrate)
    if format == "opus":
        return OpusEncoder(source_rate, bitrate)
    return FlacEncoder(source_rate)
