"""Random access to a file's own samples, exactly as a decode from its beginning gives them.

libsndfile seeks exactly in PCM, float, companded and FLAC files. In the others it does not:

- MP3: the frames after a seek lack the bits that earlier frames saved up for them, and sound
  wrong. So decoding starts `_MP3_LEAD` frames earlier. mpg123 sums in an order that depends on
  where it started, which leaves a difference of one float32 rounding step (under 5e-7).
- Vorbis: seeks sometimes land in the wrong place; see `ogg.py`.
- Opus: the decoder needs `_OPUS_LEAD` frames to forget where it started (under 1e-6 left).
- FLAC in Ogg is read as the FLAC file that it holds; see `ogg.py`.
- Anything else (ADPCM, GSM) is decoded from the beginning, which is always right.

soundfile's own `read` seeks after every call, so even reading an MP3 in order, block by block,
gives wrong samples through it; `_Stream` turns that off.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from crowdstream.audiofile.containers.file_range import Samples, SplicedFile, Window
from crowdstream.audiofile.containers.headers import check_header
from crowdstream.audiofile.containers.joined_parts import find_parts
from crowdstream.audiofile.containers.mp3 import Mp3Layout, with_length_tag
from crowdstream.audiofile.containers.ogg import FLAC_MARK, FlacInOgg, VorbisPages
from crowdstream.audiofile.containers.unplayable_formats import other_format
from crowdstream.audiofile.errors import AudioFileError, NotAudio, TruncatedAudio, UnsupportedAudio

Seeks = Literal["cheaply", "dearly", "never"]
"""What it takes to read elsewhere: a look at the file, some decoding, or all before it."""

# The bit reservoir holds 511 bytes, at the lowest bit rates 40 frames of 576 samples.
_MP3_LEAD = 48 * 1152
_OPUS_LEAD = 48_000  # one second; the format asks for 80 ms to be close
_SKIP_CHUNK = 65_536  # frames decoded at a time when they are only passed over
# Decoding over a gap is cheaper than looking up a page.
_VORBIS_SKIP = 65_536
_MAX_HOLES = 100  # of a file; one with more is not worth looking for
_HOLE_STEP = 4096  # frames, about a block of FLAC
_PROBE = 16_384  # frames behind a header's claim that are looked at
_MIN_ALIKE = 0.3  # correlation of neighbouring samples; noise has 0, music 0.8 and more
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

    A file that was joined of several is played from the first one's beginning to the last one's
    end, with the rate and channels of the first. `warnings`: what is odd about the file, and which
    seconds of it are not played. `unknown_delay`: frames that an MP3 encoder has most likely put
    before the sound, without saying so.

    Raises NotAudio, UnsupportedAudio, EmptyAudio or TruncatedAudio.
    """

    def __init__(
        self, fd: int, size: int, path: Path, progress: Callable[[], None] = going_on
    ) -> None:
        self._progress = progress
        self._path = path
        self.warnings: list[str] = []
        self._places = find_parts(Window(fd, 0, size), progress)
        self._open_at = 0
        self._part = self._open_part(0)
        first = self._part
        self.source_rate, self.channels = first.source_rate, first.channels
        self.format, self.subtype = first.format, first.subtype
        self.seeks = first.seeks
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
        """Let go of the decoder. The descriptor stays open."""
        self._part.close()

    def read(self, start: int, count: int, dtype: str, out: Samples | None = None) -> Samples:
        """Frames `start` to `start + count`, all within the file: (count, channels), C order.

        dtype: 'int16' or 'float32'. out: where they go, of that shape and dtype; else it is made.
        Raises TruncatedAudio where decoding stops too early.
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
        # One is open at a time: a web radio's night has hundreds.
        if number != self._open_at:
            self._part.close()
            self._part = self._open_part(number)
            self._open_at = number
        return self._part

    def _append(self, number: int) -> bool:
        """Take in the next part; False where it can't be played, and so nothing behind it."""
        at = self._ends[-1] / self.source_rate
        try:
            part = self._enter(number)
        except AudioFileError as error:
            self._open_at = -1
            self.warnings.append(f"from {at:.1f} s on it is not played: {error.reason}")
            return False
        if part.source_rate != self.source_rate or max(part.channels, self.channels) > 2:
            self.warnings.append(
                f"from {at:.1f} s on it is not played: another recording of {part.channels} "
                f"channels at {part.source_rate} Hz is joined to one of {self.channels} at "
                f"{self.source_rate} Hz; convert it to WAV or FLAC"
            )
            return False
        self._ends.append(self._ends[-1] + part.frames)
        for warning in part.warnings:
            self._warn(self._ends[number - 1], warning)
        return True

    def _warn(self, begin: int, warning: str) -> None:
        text = f"from {begin / self.source_rate:.1f} s on: {warning}" if begin else warning
        if text not in self.warnings:
            self.warnings.append(text)


class _Part:
    """The samples of one stream: of a file, or of one of those that were joined to make it.

    window: where it lies. path: for error messages. progress: called now and then while something
    takes long. `warnings`: what is odd about it. Raises as `Decoder` does.
    """

    def __init__(
        self, window: Window, path: Path, progress: Callable[[], None], layout: Mp3Layout | None
    ) -> None:
        self._progress = progress
        self._window = window
        self._path = path
        self._checked = check_header(window, path)
        self._mp3: Mp3Layout | None = None
        self._layout = layout
        self.warnings: list[str] = []
        self._holes: list[tuple[int, int]] = []  # frames that can't be decoded: begin and end
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
    def seeks(self) -> Seeks:
        """See `Decoder`."""
        if self._seekable:
            return "cheaply"
        return "dearly" if self._lead or self._pages is not None else "never"

    def read_into(self, start: int, out: Samples) -> None:
        """Frames from `start` on, all within the part, into `out`. Raises TruncatedAudio.

        What is damaged in the middle of a FLAC file is silence; the rest is played.
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
                self._find_hole(at, start + end)
                continue
            done = end

    def _read_whole(self, start: int, out: Samples) -> None:
        if start != self._at:
            self._move(start)
        done = self._decode(out)
        if done < len(out):
            self._finish_early(out[done:], start + done)

    def _find_hole(self, start: int, end: int) -> None:
        """Find what can't be decoded from `start` on, where something before `end` can't be."""
        low, high = start - 1, end - 1  # the last frame that can, the first one that can't
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
            f"{here:.1f} s to {there:.1f} s of it are damaged and silent; copy or export it again"
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
                self._pages = None  # decoded from the beginning instead
        elif self.frames > _UNKNOWN_FRAMES:
            self._measure_by_decoding()
        elif self._checked.missing or self._checked.head:
            self._check_ends()
        elif self.format == "FLAC" and self.frames > 0:
            # The header of a file that was cut still claims it all, and says no byte count.
            claimed = self.frames
            if not self._is_readable(claimed - 1):
                self.frames = self._last_readable()
                self._warn_missing(claimed)

    def _open(self, source: SplicedFile | None = None) -> _Stream:
        """libsndfile on `source`, or on the whole file from its first byte."""
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
        said = " ".join(error.error_string.split()).removeprefix("Error : ").rstrip(".")
        return UnsupportedAudio(
            self._path, f"it can't be decoded ({said}); convert it to WAV or FLAC"
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
        """Say what a header claims and is not there, or is there and not claimed."""
        checked = self._checked
        if checked.missing and self.frames > 0:
            head = checked.head.end if checked.head else 0
            width = (self._window.size - head) / self.frames
            self._warn_missing(self.frames + round(checked.missing / width))
        if checked.head is None or not checked.head.stretched:
            return
        # Sound goes on where it was; what else may lie there would be heard as noise.
        share = checked.head.stretched / (self._window.size - checked.head.end)
        claimed = self.frames - round(self.frames * share)
        sample = np.zeros((min(_PROBE, self.frames - claimed), self.channels), "float32")
        self.read_into(claimed, sample)
        if _is_smooth(sample):
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
        """How many frames of a FLAC file that was cut can be decoded, by bisection."""
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
        here, whole = at / self.source_rate, self.frames / self.source_rate
        return TruncatedAudio(
            self._path,
            f"decoding stops at {here:.1f} s of {whole:.1f} s (frame {at}): what follows is "
            "damaged or missing; copy or export it again",
        )


def _is_smooth(samples: Samples) -> bool:
    """Whether neighbouring samples are alike, as those of music are and those of noise are not."""
    left, right = samples[:-1].ravel(), samples[1:].ravel()
    power = float(np.dot(samples.ravel(), samples.ravel()))
    if not np.isfinite(power) or power == 0.0:
        return power == 0.0
    return float(np.dot(left, right)) > _MIN_ALIKE * power


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
