"""Random access to a file's own samples, exactly as a decode from its beginning gives them.

libsndfile seeks exactly in PCM, float, companded and FLAC files. In the others it does not:

- MP3: the frames after a seek lack the bits that earlier frames saved up for them, and sound
  wrong. So decoding starts `_MP3_LEAD` frames earlier. mpg123 sums in an order that depends on
  where it started, which leaves a difference of one float32 rounding step (under 5e-7).
- Vorbis: seeks sometimes land in the wrong place; see `ogg.py`.
- Opus: the decoder needs `_OPUS_LEAD` frames to forget where it started (under 1e-6 left).
- Anything else (ADPCM, GSM, FLAC in Ogg) is decoded from the beginning, which is always right.

soundfile's own `read` seeks after every call, so even reading an MP3 in order, block by block,
gives wrong samples through it; `_Stream` turns that off.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from crowdstream.library.errors import (
    AudioFileError,
    NotAudio,
    TruncatedAudio,
    UnsupportedAudio,
)
from crowdstream.library.headers import mended_header
from crowdstream.library.mp3 import Mp3Layout, survey, with_length_tag
from crowdstream.library.ogg import VorbisPages
from crowdstream.library.splice import SplicedFile

Samples = npt.NDArray[Any]  # float32 or int16, shape (frames, channels)

# The bit reservoir holds 511 bytes, at the lowest bit rates 40 frames of 576 samples.
_MP3_LEAD = 48 * 1152
_OPUS_LEAD = 48_000  # one second; the format asks for 80 ms to be close
_SKIP_CHUNK = 65_536  # frames decoded at a time when they are only passed over
# Decoding over a gap is cheaper than looking up a page.
_VORBIS_SKIP = 65_536
_SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}) | {
    "ULAW",
    "ALAW",
}
# libsndfile's error numbers. A file that is open and regular gets the latter two, for a system
# error and a bad file, when the MP3 decoder finds nothing to decode.
_NO_KNOWN_FORMAT, _NOTHING_TO_DECODE = 1, (2, 7)
_LOST = -1  # the stream's position is not known: the next read has to find its own
_UNKNOWN_FRAMES = 1 << 48  # libsndfile announces about 2**63 frames where there is no length


def going_on() -> None:
    """Take no notice of progress."""


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile whose `read` only reads: soundfile seeks after each read of a seekable file."""

    def seekable(self) -> bool:
        return False


class Decoder:
    """The samples of one open file at its own rate and with its own channels.

    fd: open descriptor, which stays the caller's, and whose file offset is used. size: bytes.
    path: for error messages. progress: called now and then while something takes long: there are
    files that have to be decoded from their beginning. Not for use from several threads at a time.
    Raises NotAudio, UnsupportedAudio, EmptyAudio or TruncatedAudio.
    """

    def __init__(
        self, fd: int, size: int, path: Path, progress: Callable[[], None] = going_on
    ) -> None:
        self._progress = progress
        self._fd = fd
        self._size = size
        self._path = path
        self._head = mended_header(fd, size, path)
        self._mp3: Mp3Layout | None = None
        self._stream = self._open()
        self._at = 0
        self.source_rate = int(self._stream.samplerate)
        self.channels = int(self._stream.channels)
        self.format = str(self._stream.format)
        self.subtype = str(self._stream.subtype)
        self.frames = int(self._stream.frames)
        self._pages: VorbisPages | None = None
        self._seekable = self.subtype in _SEEKABLE and self.format != "OGG"
        self._lead = 0
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the decoder. The descriptor stays open."""
        self._stream.close()

    @property
    def seeks(self) -> Literal["cheaply", "dearly", "never"]:
        """What it takes to read elsewhere: a look at the file, some decoding, or all before it."""
        if self._seekable:
            return "cheaply"
        return "dearly" if self._lead or self._pages is not None else "never"

    def read(self, start: int, count: int, dtype: str, out: Samples | None = None) -> Samples:
        """Frames `start` to `start + count`, all within the file: (count, channels), C order.

        dtype: 'int16' or 'float32'. out: where they go, of that shape and dtype; else it is made.
        Raises TruncatedAudio where decoding stops too early.
        """
        if start != self._at:
            self._move(start)
        if out is None:
            out = np.empty((count, self.channels), dtype)
        done = self._decode(out)
        if done < count:
            self._finish_early(out[done:], start + done)
        return out

    def _prepare(self) -> None:
        if self.subtype == "MPEG_LAYER_III":
            self._lead = _MP3_LEAD
            self._measure_mp3()
        elif self.subtype == "OPUS":
            self._lead = _OPUS_LEAD
        elif self.subtype == "VORBIS":
            try:
                self._pages = VorbisPages(self._fd, self._size, self.frames, _count_frames)
            except ValueError:
                self._pages = None  # decoded from the beginning instead
        elif self.frames > _UNKNOWN_FRAMES:
            self._measure_by_decoding()
        elif self.format == "FLAC" and self.frames > 0:
            # The header of a file that was cut still claims it all, and says no byte count.
            try:
                self.read(self.frames - 1, 1, "float32")
            except TruncatedAudio:
                raise TruncatedAudio(
                    self._path,
                    f"it claims {self.frames} frames of audio and the last ones are missing or "
                    "damaged; copy or export it again",
                ) from None

    def _open(self, source: SplicedFile | None = None) -> _Stream:
        """libsndfile on `source`, or on the whole file from its first byte."""
        if source is None and self._mp3 is not None:
            source = with_length_tag(self._fd, self._mp3)
        if source is None and self._head is not None:
            source = SplicedFile(self._head.data, self._fd, self._head.end, self._size)
        try:
            if source is not None:
                return _Stream(source)
            os.lseek(self._fd, 0, os.SEEK_SET)
            return _Stream(self._fd, closefd=False)
        except soundfile.LibsndfileError as error:
            raise self._open_error(error) from None

    def _open_error(self, error: soundfile.LibsndfileError) -> AudioFileError:
        if error.code == _NO_KNOWN_FORMAT:
            return NotAudio(
                self._path,
                "it is not audio of a known format, whatever its name says; "
                "use WAV, AIFF, FLAC, OGG or MP3",
            )
        if error.code in _NOTHING_TO_DECODE:
            return NotAudio(self._path, "it starts like audio, and nothing in it can be decoded")
        said = " ".join(error.error_string.split()).removeprefix("Error : ").rstrip(".")
        return UnsupportedAudio(
            self._path, f"it can't be decoded ({said}); convert it to WAV or FLAC"
        )

    def _measure_mp3(self) -> None:
        layout = survey(self._fd, self._size)
        if layout is None:
            return
        if layout.tagged and self.frames > layout.frames + self.source_rate:
            raise TruncatedAudio(
                self._path,
                f"it claims {self.frames} frames of audio and holds {layout.frames}; "
                "copy or export it again",
            )
        if not layout.tagged and self.frames < layout.frames:
            self._mp3 = layout
            self._rewind()
            self.frames = int(self._stream.frames)
        self.frames = min(self.frames, layout.frames)

    def _measure_by_decoding(self) -> None:
        block = np.empty((_SKIP_CHUNK, self.channels), "float32")
        self.frames = 0
        while done := self._decode(block):
            self.frames += done
            self._progress()

    def _rewind(self) -> None:
        self._enter(None, 0)

    def _enter(self, source: SplicedFile | None, at: int) -> None:
        """Decode `source` (the whole file where None) from now on, whose first frame is `at`."""
        self._at = _LOST
        self._stream.close()  # first: the descriptor has one offset, and the next one sets it
        self._stream = self._open(source)
        # A damaged MP3 can look different when it is entered elsewhere.
        if (self._stream.channels, self._stream.samplerate) != (self.channels, self.source_rate):
            raise self._damaged(at)
        self._at = at

    def _move(self, start: int) -> None:
        """Make `start` the next frame to be decoded."""
        ahead = -1 if self._at == _LOST else start - self._at
        if self._seekable:
            self._seek(start)
        elif self._pages is not None:
            if not 0 <= ahead <= _VORBIS_SKIP:
                entry = self._pages.entry(start) if start > _VORBIS_SKIP else None
                if entry is not None:
                    self._enter(entry.stream, entry.start)
                elif ahead < 0:
                    self._rewind()
        elif self._lead and start > self._lead and not 0 <= ahead <= self._lead:
            self._seek(start - self._lead)
        elif ahead < 0:
            self._rewind()
        self._skip_to(start)

    def _seek(self, start: int) -> None:
        self._at = _LOST
        try:
            reached = self._stream.seek(start)
        except soundfile.LibsndfileError:
            reached = _LOST
        if reached != start:
            raise self._damaged(start)
        self._at = start

    def _skip_to(self, start: int) -> None:
        block = np.empty((min(_SKIP_CHUNK, max(0, start - self._at)), self.channels), "float32")
        while self._at < start:
            if not self._decode(block[: start - self._at]):
                raise self._damaged(start)
            self._progress()

    def _decode(self, out: Samples) -> int:
        """Decode into `out` from where the stream is; returns the frames that there were."""
        done = 0
        try:
            while done < len(out):
                got = len(self._stream.read(len(out) - done, out=out[done:]))
                if got == 0:
                    break
                done += got
        except soundfile.LibsndfileError:
            raise self._damaged(self._at + done) from None
        finally:
            self._at += done
        return done

    def _finish_early(self, missing: Samples, at: int) -> None:
        """The decoder ended at frame `at`; `missing` is what should have come after it."""
        # An MP3's last frames may be damaged or absent; its length is only known to a second.
        if self.subtype != "MPEG_LAYER_III" or self.frames - at > self.source_rate:
            raise self._damaged(at)
        missing[:] = 0
        self._at = _LOST

    def _damaged(self, at: int) -> TruncatedAudio:
        self._at = _LOST
        return TruncatedAudio(
            self._path,
            f"decoding stops at frame {at} of {self.frames}: the file is damaged or incomplete; "
            "copy or export it again",
        )


def _count_frames(source: SplicedFile) -> tuple[int, int]:
    """Frames that a small Ogg stream decodes to, and the frames it announces; (0, -1) if none."""
    total = 0
    try:
        with _Stream(source) as stream:
            while got := len(stream.read(_SKIP_CHUNK, dtype="float32", always_2d=True)):
                total += got
            return total, int(stream.frames)
    except soundfile.LibsndfileError:
        return 0, -1
