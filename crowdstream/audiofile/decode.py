"""Random access to a file's own samples, identical to those of a decode from its beginning.

libsndfile seeks exactly in PCM, float, companded and FLAC files, but not in other formats:

- MP3: the first frames after a seek lack the bits that earlier frames stored for them (the bit
  reservoir) and sound wrong. So decoding starts `_MP3_LEAD` frames earlier. mpg123's order of
  summation depends on where it started, which leaves a difference of one float32 rounding step
  (under 5e-7).
- Vorbis: seeks sometimes land in the wrong place; see `ogg.py`.
- Opus: the decoder needs `_OPUS_LEAD` frames to converge (a difference of under 1e-6 remains).
- FLAC in Ogg is read as the FLAC file that it holds; see `ogg.py`.
- Any other codec (ADPCM, GSM) is decoded from the beginning, which is always correct.

soundfile's own `read` seeks after every call, so even reading an MP3 in order, block by block,
would give wrong samples; `_Stream` turns that off.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from crowdstream.audiofile.containers.file_range import ByteRange, Samples, SplicedFile
from crowdstream.audiofile.containers.headers import check_header
from crowdstream.audiofile.containers.joined_parts import find_parts
from crowdstream.audiofile.containers.mp3 import Mp3Layout, with_length_tag
from crowdstream.audiofile.containers.ogg import FLAC_MARK, FlacInOgg, VorbisPages
from crowdstream.audiofile.containers.unplayable_formats import other_format
from crowdstream.audiofile.errors import AudioFileError, NotAudio, TruncatedAudio, UnsupportedAudio

SeekCost = Literal["cheaply", "dearly", "never"]
"""Cost of reading out of order: next to nothing, some decoding, or decoding all that precedes."""

# The bit reservoir holds 511 bytes, which is 40 frames of 576 samples at the lowest bit rates.
_MP3_LEAD = 48 * 1152
_OPUS_LEAD = 48_000  # one second; the format requires 80 ms for approximate convergence
_SKIP_CHUNK = 65_536  # frames decoded at a time when they are only skipped
# Frames. Decoding over a shorter gap is cheaper than looking up a page.
_VORBIS_SKIP = 65_536
_MAX_HOLES = 100  # per file; it is not worth searching for more
_HOLE_STEP = 4096  # frames, approximately one FLAC block
_PROBE = 16_384  # frames beyond the header's claim that are examined
_MIN_CORRELATION = 0.3  # correlation of neighbouring samples: 0 for noise, 0.8 and more for music
_SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}) | {
    "ULAW",
    "ALAW",
}
# libsndfile's error numbers. An open regular file yields one of the latter two (system error,
# malformed file) when the MP3 decoder finds nothing to decode.
_NO_KNOWN_FORMAT, _NOTHING_TO_DECODE = 1, (2, 7)
_RIFF = (b"RIFF", b"RF64")  # beginnings of files whose samples are little-endian
_LOST = -1  # the stream's position is unknown: the next read has to seek first
_UNKNOWN_FRAMES = 1 << 48  # libsndfile announces about 2**63 frames if the length is unknown


def ignore_progress() -> None:
    """Do nothing: the default for `progress`."""


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile whose `read` only reads: soundfile seeks after each read of a seekable file."""

    def seekable(self) -> bool:
        return False


class Decoder:
    """The samples of one open file, at its own rate and with its own channels.

    fd: open descriptor; the caller owns it, but its file offset is changed. size: in bytes. path:
    for error messages. progress: called from time to time during long operations, since some files
    have to be decoded from their beginning. For one thread at a time.

    A file joined of several recordings is played from the beginning of the first to the end of the
    last, with the rate and channels of the first. `warnings`: irregularities of the file, and the
    seconds of it that are not played. `unknown_delay`: frames that an MP3 encoder most likely put
    before the audio without declaring them.

    Raises NotAudio, UnsupportedAudio, EmptyAudio or TruncatedAudio.
    """

    def __init__(
        self, fd: int, size: int, path: Path, progress: Callable[[], None] = ignore_progress
    ) -> None:
        self._progress = progress
        self._path = path
        self.warnings: list[str] = []
        self._places = find_parts(ByteRange(fd, 0, size), progress)
        self._open_at = 0
        self._part = self._open_part(0)
        first = self._part
        self.source_rate, self.channels = first.source_rate, first.channels
        self.format, self.subtype = first.format, first.subtype
        self.seek_cost = first.seek_cost
        layout = self._places[0].layout
        self.unknown_delay = layout.unknown_delay if layout else 0
        self._ends = [first.frames]
        for warning in first.warnings:
            self._warn(0, warning)
        try:
            for number in range(1, len(self._places)):
                if not self._append(number):
                    break
        except BaseException:
            self.close()
            raise
        self.frames = self._ends[-1]

    def close(self) -> None:
        """Release the decoder. The descriptor stays open."""
        self._part.close()

    def read(self, start: int, count: int, dtype: str, out: Samples | None = None) -> Samples:
        """Return frames `start` to `start + count` (exclusive): shape (count, channels), C order.

        The range must lie within the file. dtype: 'int16' or 'float32'. out: destination of that
        shape and dtype; allocated if None. Raises TruncatedAudio if decoding stops too early.
        """
        if out is None:
            out = np.empty((count, self.channels), dtype)
        done = 0
        while done < count:
            number = bisect_right(self._ends, start + done)
            part = self._enter(number)
            begin = self._ends[number - 1] if number else 0
            most = min(count - done, self._ends[number] - start - done)
            target = out[done : done + most]
            if part.channels == self.channels:
                part.read_into(start + done - begin, target)
            else:
                other = np.empty((most, part.channels), dtype)
                part.read_into(start + done - begin, other)
                target[:] = other.mean(axis=1, keepdims=True)
            done += most
            for warning in part.warnings:
                self._warn(begin, warning)
        return out

    def _open_part(self, number: int) -> _Part:
        place = self._places[number]
        return _Part(place.window, self._path, self._progress, place.layout)

    def _enter(self, number: int) -> _Part:
        # Only one part is open at a time: a recording of a web radio's night has hundreds.
        if number != self._open_at:
            self._part.close()
            self._part = self._open_part(number)
            self._open_at = number
        return self._part

    def _append(self, number: int) -> bool:
        """Append the next part; return False if it can't be played, nor any part after it."""
        at = self._ends[-1] / self.source_rate
        try:
            part = self._enter(number)
        except AudioFileError as error:
            self._open_at = -1
            self.warnings.append(f"it is not played beyond {at:.1f} s: {error.reason}")
            return False
        if part.source_rate != self.source_rate or max(part.channels, self.channels) > 2:
            self.warnings.append(
                f"it is not played beyond {at:.1f} s: there, a recording of {part.channels} "
                f"channels at {part.source_rate} Hz is joined to one of {self.channels} channels "
                f"at {self.source_rate} Hz; convert it to WAV or FLAC"
            )
            return False
        self._ends.append(self._ends[-1] + part.frames)
        for warning in part.warnings:
            self._warn(self._ends[number - 1], warning)
        return True

    def _warn(self, begin: int, warning: str) -> None:
        place = f"in the recording that begins at {begin / self.source_rate:.1f} s: "
        text = place + warning if begin else warning
        if text not in self.warnings:
            self.warnings.append(text)


class _Part:
    """The samples of one stream: a whole file, or one of the recordings of which it was joined.

    window: the stream's bytes. path: for error messages. progress: called from time to time during
    long operations. `warnings`: irregularities of the stream. Raises the errors of `Decoder`.
    """

    def __init__(
        self, window: ByteRange, path: Path, progress: Callable[[], None], layout: Mp3Layout | None
    ) -> None:
        self._progress = progress
        self._window = window
        self._path = path
        self._checked = check_header(window, path)
        self._mp3: Mp3Layout | None = None
        self._layout = layout
        self.warnings: list[str] = []
        self._holes: list[tuple[int, int]] = []  # ranges of frames that can't be decoded
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
        self._samples_at: int | None = None  # of 16-bit samples that can be read without decoding
        try:
            self._prepare()
            self._samples_at = self._find_samples()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the decoder. The descriptor stays open."""
        self._stream.close()

    @property
    def seek_cost(self) -> SeekCost:
        """Cost of reading out of order; see `Seeks`."""
        if self._seekable:
            return "cheaply"
        return "dearly" if self._lead or self._pages is not None else "never"

    def read_into(self, start: int, out: Samples) -> None:
        """Decode the frames from `start` into `out`; all must lie within the part.

        Damage in the middle of a FLAC file is replaced by silence, and the rest is played. Raises
        TruncatedAudio.
        """
        done = 0
        while done < len(out):
            at = start + done
            hole = next((one for one in self._holes if one[0] <= at < one[1]), None)
            if hole is not None:
                end = done + hole[1] - at
                out[done:end] = 0
                done = min(end, len(out))
                continue
            ahead = [begin - start for begin, _ in self._holes if begin > at]
            end = min([len(out), *ahead])
            try:
                self._read_whole(at, out[done:end])
            except TruncatedAudio:
                if self.format != "FLAC" or len(self._holes) >= _MAX_HOLES:
                    raise
                self._measure_hole(at, start + end)
                continue
            done = end

    def _find_samples(self) -> int | None:
        # Byte of the file at which 16-bit samples begin, if they are there in this machine's order.
        window, checked = self._window, self._checked
        plain = self.subtype == "PCM_16" and checked.head is None and checked.at > 0
        if not plain or sys.byteorder != "little" or window.pread(4, 0) not in _RIFF:
            return None
        if self.frames <= 0 or window.start or window.size < os.fstat(window.fd).st_size:
            return None
        # libsndfile reads the descriptor itself: its offset tells what it takes for the beginning.
        self._seek(0)
        at = os.lseek(window.fd, 0, os.SEEK_CUR)
        return at if at == checked.at else None

    def _copy(self, at: int, start: int, out: Samples) -> None:
        # Read 16-bit samples that begin at byte `at`; see `_read_whole`.
        width = 2 * self.channels
        done = 0
        while done < len(out):
            try:
                got = os.preadv(self._window.fd, [out[done:].data], at + width * (start + done))
            except OSError:
                got = 0
            if got < width:
                raise self._damaged(start + done)
            done += got // width

    def _read_whole(self, start: int, out: Samples) -> None:
        if self._samples_at is not None and out.dtype == np.int16:
            self._copy(self._samples_at, start, out)
            return
        if start != self._at:
            self._move(start)
        done = self._decode(out)
        if done < len(out):
            self._finish_early(out[done:], start + done)

    def _measure_hole(self, start: int, end: int) -> None:
        """Find the undecodable range that begins between `start` and `end`; record a warning."""
        low, high = start - 1, end - 1  # last decodable frame, first undecodable one
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_readable(middle) else (low, middle)
        begin, bad, step = high, high, _HOLE_STEP
        good = self.frames
        while bad + step < self.frames:
            if self._is_readable(bad + step):
                good = bad + step
                break
            bad += step
            step *= 2
        while good - bad > 1 and good < self.frames:
            middle = (bad + good) // 2
            bad, good = (bad, middle) if self._is_readable(middle) else (middle, good)
        self._progress()
        self._holes.append((begin, good))
        here, there = begin / self.source_rate, good / self.source_rate
        self.warnings.append(
            f"{here:.1f} s to {there:.1f} s of it are damaged and play as silence; "
            "copy or export it again"
        )

    def _prepare(self) -> None:
        if self.subtype == "MPEG_LAYER_III":
            self._lead = _MP3_LEAD
            self._measure_mp3()
        elif self.subtype == "OPUS":
            self._lead = _OPUS_LEAD
        elif self.subtype == "VORBIS":
            try:
                self._pages = VorbisPages(self._window, self.frames, _count_frames)
            except ValueError:
                self._pages = None  # decode from the beginning instead
        elif self.frames > _UNKNOWN_FRAMES:
            self._measure_by_decoding()
        elif self._checked.missing or self._checked.head:
            self._check_ends()
        elif self.format == "FLAC" and self.frames > 0:
            # The header of a truncated file still claims all frames, and it holds no byte count.
            claimed = self.frames
            if not self._is_readable(claimed - 1):
                self.frames = self._last_readable()
                self._warn_missing(claimed)

    def _open(self, source: SplicedFile | None = None) -> _Stream:
        """Open libsndfile on `source`, or on the whole stream if that is None."""
        if source is None and self._mp3 is not None:
            source = with_length_tag(self._window, self._mp3)
        window, head = self._window, self._checked.head
        if source is None and head is not None:
            source = SplicedFile(head.data, window, head.end, window.size)
        flac = self._flac_in_ogg()
        if flac is not None:
            return _Stream(flac)
        if source is None and (window.start or window.size < os.fstat(window.fd).st_size):
            source = SplicedFile(b"", window, 0, window.size)
        try:
            if source is not None:
                return _Stream(source)
            os.lseek(window.fd, 0, os.SEEK_SET)
            return _Stream(window.fd, closefd=False)
        except soundfile.LibsndfileError as error:
            raise self._open_error(error) from None

    def _flac_in_ogg(self) -> FlacInOgg | None:
        if FLAC_MARK not in self._window.pread(64, 0):
            return None
        try:
            return FlacInOgg(self._window)
        except ValueError:
            return None

    def _open_error(self, error: soundfile.LibsndfileError) -> AudioFileError:
        known = other_format(self._window, self._path)
        if known is not None:
            return known
        if error.code == _NO_KNOWN_FORMAT:
            return NotAudio(
                self._path,
                "it is not audio of a known format, whatever its name says; "
                "use WAV, AIFF, FLAC, OGG or MP3",
            )
        if error.code in _NOTHING_TO_DECODE:
            return NotAudio(self._path, "it starts like audio, and nothing in it can be decoded")
        message = " ".join(error.error_string.split()).removeprefix("Error : ").rstrip(".")
        return UnsupportedAudio(
            self._path, f"it can't be decoded ({message}); convert it to WAV or FLAC"
        )

    def _measure_mp3(self) -> None:
        layout = self._layout
        if layout is None:
            return
        if layout.tag is None or not layout.tag.frames:
            self._mp3 = layout
            self._rewind()
            self.frames = int(self._stream.frames)
        self.frames = min(self.frames, layout.length) if layout.length else self.frames
        if layout.missing > self.source_rate // 10:
            self._warn_missing(self.frames + layout.missing)

    def _check_ends(self) -> None:
        """Warn of audio that the header claims but the file lacks, or holds without a claim."""
        checked = self._checked
        if checked.missing and self.frames > 0:
            head = checked.head.end if checked.head else 0
            width = (self._window.size - head) / self.frames
            self._warn_missing(self.frames + round(checked.missing / width))
        if checked.head is None or not checked.head.stretched:
            return
        # If it is audio, the waveform continues smoothly; any other data would play as noise.
        share = checked.head.stretched / (self._window.size - checked.head.end)
        claimed = self.frames - round(self.frames * share)
        sample = np.zeros((min(_PROBE, self.frames - claimed), self.channels), "float32")
        self.read_into(claimed, sample)
        if _is_audio_like(sample):
            self.warnings.append(
                f"its header claims {claimed / self.source_rate:.1f} s of audio and the file holds "
                f"{self.frames / self.source_rate:.1f} s: all of it is played"
            )
        else:
            self.frames = claimed

    def _warn_missing(self, claimed: int) -> None:
        held, whole = self.frames / self.source_rate, claimed / self.source_rate
        self.warnings.append(
            f"its header claims {whole:.1f} s of audio and the file holds {held:.1f} s: "
            f"{held:.1f} s to {whole:.1f} s are missing; copy or export it again"
        )

    def _is_readable(self, frame: int) -> bool:
        try:
            self._read_whole(frame, np.empty((1, self.channels), "float32"))
        except TruncatedAudio:
            self._rewind()
            return False
        return True

    def _last_readable(self) -> int:
        """Return the number of decodable frames of a truncated FLAC file, by bisection."""
        low, high = 0, self.frames - 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_readable(middle):
                low = middle
            else:
                high = middle
            self._progress()
        self._rewind()
        if low == 0:
            raise TruncatedAudio(self._path, "nothing in it can be decoded; copy it again")
        return low + 1

    def _measure_by_decoding(self) -> None:
        block = np.empty((_SKIP_CHUNK, self.channels), "float32")
        self.frames = 0
        while done := self._decode(block):
            self.frames += done
            self._progress()

    def _rewind(self) -> None:
        self._enter(None, 0)

    def _enter(self, source: SplicedFile | None, at: int) -> None:
        """Decode `source` (None: the whole stream) from now on; `at` is its first frame's number.
        """
        self._at = _LOST
        # Close it before opening the next one, which sets the descriptor's only offset.
        self._stream.close()
        self._stream = self._open(source)
        # A damaged MP3 can look different when decoding starts elsewhere.
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
        """Decode into `out` from the current position; return the number of frames obtained."""
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
        """Handle a decoder that ended at frame `at`; `missing` is the unfilled output."""
        # An MP3's last frames may be damaged or absent, and its length is exact only to a second.
        if self.subtype != "MPEG_LAYER_III" or self.frames - at > self.source_rate:
            raise self._damaged(at)
        missing[:] = 0
        self._at = _LOST

    def _damaged(self, at: int) -> TruncatedAudio:
        self._at = _LOST
        here, whole = at / self.source_rate, self.frames / self.source_rate
        return TruncatedAudio(
            self._path,
            f"decoding stops at {here:.1f} s of {whole:.1f} s (frame {at}): what follows is "
            "damaged or missing; copy or export it again",
        )


def _is_audio_like(samples: Samples) -> bool:
    """Return whether neighbouring samples correlate, as they do in music but not in noise."""
    left, right = samples[:-1].ravel(), samples[1:].ravel()
    power = float(np.dot(samples.ravel(), samples.ravel()))
    if not np.isfinite(power) or power == 0.0:
        return power == 0.0
    return float(np.dot(left, right)) > _MIN_CORRELATION * power


def _count_frames(source: SplicedFile) -> tuple[int, int]:
    """Return how many frames a small Ogg stream decodes to and announces; (0, -1) if none."""
    total = 0
    try:
        with _Stream(source) as stream:
            while got := len(stream.read(_SKIP_CHUNK, dtype="float32", always_2d=True)):
                total += got
            return total, int(stream.frames)
    except soundfile.LibsndfileError:
        return 0, -1
