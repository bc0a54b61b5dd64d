"""Opening an audio file for random access at the engine's sample rate."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from crowdstream.audiofile.containers.file_range import Samples
from crowdstream.audiofile.decode import Decoder, going_on
from crowdstream.audiofile.downmix import MAX_CHANNELS, downmix_matrix
from crowdstream.audiofile.errors import (
    AudioFileError,
    EmptyAudio,
    FileChanged,
    FileMissing,
    FileUnreadable,
    IsDirectory,
    NotAudio,
    OutsideMediaRoot,
    PermissionRefused,
    UnsupportedAudio,
)
from crowdstream.audiofile.resample import RateConverter
from crowdstream.audiofile.transcode import (
    FlacOf,
    Source,
    has_to_be_transcoded,
    transcode,
    warnings_of,
)
from crowdstream.system.safe_open import open_inside
from crowdstream.system.text import printable

# Outside of these a header is nonsense, and conversion would need filters of absurd length.
MIN_RATE, MAX_RATE = 1_000, 768_000
_SIXTEEN_BITS = frozenset({"PCM_16", "PCM_S8", "PCM_U8"})
_FLOAT_FILES = frozenset({"FLOAT", "DOUBLE"})


def open_stem(
    path: Path,
    sample_rate: int | None,
    progress: Callable[[], None] = going_on,
    roots: Sequence[Path] = (),
    flac_of: FlacOf = transcode,
) -> StemReader:
    """Open an audio file to be read at `sample_rate` (Hz); with `roots`, inside these only.

    Without a `sample_rate` it is read at its own. `flac_of`: finds the FLAC file of one that has to
    be transcoded; without, it is made now, which takes seconds.

    `progress` is called now and then while something takes long, opening included.

    WAV, RF64, W64, AIFF, FLAC, OGG (Vorbis, Opus) and MP3; whatever else libsndfile knows works
    too, and so does what is transcoded (see `transcode.py`). Raises a subclass of AudioFileError
    that says what is wrong with the file.
    """
    return StemReader(path, sample_rate, progress, roots, flac_of)


class StemReader:
    """One open audio file, read by frame number at one sample rate.

    path: as given. source_rate: the file's own rate (Hz). frames: length at the asked rate,
    rounded up to a whole frame where the rates differ. channels: 1 or 2; files with 3 to 8 are
    mixed down (see `downmix.py`), more are refused. identity: the file's size in bytes and its
    modification time in ns when it was opened. dtype: 'int16' for 16-bit and 8-bit PCM with
    one or two channels at the asked rate (16-bit samples are the file's own bits, 8-bit ones are
    shifted up), else 'float32' with full scale at 1.0; NaN and infinity in a file become 0.

    The file stays open, so it can be deleted or replaced by another while it is read. When it is
    changed in place (its size or modification time differs), every read raises FileChanged. For
    one thread at a time. Of a file that was transcoded, path and identity are its own, and all the
    rest is that of the FLAC file.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int | None,
        progress: Callable[[], None] = going_on,
        roots: Sequence[Path] = (),
        flac_of: FlacOf = transcode,
    ) -> None:
        if sample_rate is not None and not MIN_RATE <= sample_rate <= MAX_RATE:
            raise ValueError(f"sample_rate is {sample_rate}, allowed are {MIN_RATE} to {MAX_RATE}")
        self.path = path
        self._asked_rate = sample_rate
        self._progress = progress
        self._flac_of = flac_of
        self._said: tuple[str, ...] = ()
        self._fd = _open_file(path, roots)
        self._decoder: Decoder | None = None
        try:
            self._set_up()
        except OSError as error:
            self.close()
            raise _os_refusal(path, error) from None
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        status = os.fstat(self._fd)
        self.identity = status.st_size, status.st_mtime_ns
        self._opened = self.identity
        _check_kind(self.path, status)
        if has_to_be_transcoded(self.path, self._fd):
            status = self._enter_flac()
        try:
            self._decoder = decoder = Decoder(self._fd, status.st_size, self.path, self._progress)
        finally:
            self._check_unchanged()
        if decoder.frames <= 0:
            raise EmptyAudio(self.path, "it has a header and no audio; export it again")
        if decoder.channels > MAX_CHANNELS:
            raise UnsupportedAudio(
                self.path,
                f"it has {decoder.channels} channels and {MAX_CHANNELS} is the most that can be "
                "mixed down; export it in stereo",
            )
        if not MIN_RATE <= decoder.source_rate <= MAX_RATE:
            raise UnsupportedAudio(
                self.path, f"its sample rate of {decoder.source_rate} Hz is out of range"
            )
        self.source_rate = decoder.source_rate
        self.sample_rate = self._asked_rate or self.source_rate
        self.channels = min(decoder.channels, 2)
        self._source_frames, self._trimmed = decoder.frames, 0
        self._downmix = None
        if decoder.channels > 2:
            self._downmix = downmix_matrix(
                decoder.channels, vorbis_order=decoder.subtype in ("VORBIS", "OPUS")
            )
        self._clean = decoder.subtype in _FLOAT_FILES
        own_rate = self.source_rate == self.sample_rate
        sixteen = decoder.subtype in _SIXTEEN_BITS and decoder.channels <= 2 and own_rate
        self.dtype: Literal["int16", "float32"] = "int16" if sixteen else "float32"
        self._measure()

    def _enter_flac(self) -> os.stat_result:
        """Read what the file was transcoded to in its place, under its name."""
        flac = self._flac_of(Source(self.path, self._fd, *self.identity), self._progress)
        self._check_unchanged()
        self._said = warnings_of(flac.parent)
        os.close(self._fd)
        self._fd = -1
        self._fd = os.open(flac, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._fd)
        self._opened = status.st_size, status.st_mtime_ns
        return status

    def _measure(self) -> None:
        self._converter = None
        self.frames = self._source_frames - self._trimmed
        if self.source_rate != self.sample_rate:
            self._converter = RateConverter(
                self._read_source, self.frames, self.channels, self.source_rate, self.sample_rate
            )
            self.frames = self._converter.frames

    def read(self, start: int, count: int, out: Samples | None = None) -> Samples:
        """Frames `start` to `start + count` (exclusive): shape (n, channels), C-contiguous.

        out: (at least n, channels) of this reader's dtype, where the frames go. n is `count`, or
        less where the file ends; 0 from its end on. The samples do not depend on what was read
        before, beyond what `decode.py` says of MP3 and Opus. Raises FileChanged, TruncatedAudio
        (the file stops decoding part-way), FileUnreadable, and ValueError for a negative argument
        or a closed reader.
        """
        if start < 0 or count < 0:
            raise ValueError(f"start {start} and count {count} must not be negative")
        if self._decoder is None:
            raise ValueError("the reader is closed")
        self._check_unchanged()
        count = max(0, min(count, self.frames - start))
        if count == 0:
            return np.empty((0, self.channels), self.dtype)
        if out is not None:
            out = out[:count]
        try:
            if self._converter is None and self._downmix is None:
                return self._read_source(start, count, out)
            if self._converter is not None:
                samples: Samples = self._converter.read(start, count)
            else:
                samples = self._read_source(start, count)
        except OSError as error:
            raise _os_refusal(self.path, error) from None
        finally:
            # Also in place of a decoding error: what failed is then the change.
            self._check_unchanged()
        if out is None:
            return samples
        out[:] = samples
        return out

    @property
    def unknown_delay(self) -> int:
        """Frames at the file's rate that an MP3 encoder has put before the sound, unsaid."""
        assert self._decoder is not None
        return self._decoder.unknown_delay

    def trim(self, frames: int) -> None:
        """Leave out so many frames (at the file's rate) at the beginning. Before the first read."""
        self._trimmed = max(0, min(frames, self._source_frames - 1))
        self._measure()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the file, and which seconds of it are not played; most have none."""
        assert self._decoder is not None
        return (*self._said, *self._decoder.warnings)

    @property
    def seeks(self) -> Literal["cheaply", "dearly", "never"]:
        """What it takes to read elsewhere than in order; see `Decoder`."""
        assert self._decoder is not None
        return self._decoder.seeks

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_source(self, start: int, count: int, out: Samples | None = None) -> Samples:
        """Samples at the file's own rate, mixed down and cleaned."""
        assert self._decoder is not None
        samples = self._decoder.read(self._trimmed + start, count, self.dtype, out)
        if self._clean:
            np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self._downmix is not None:
            samples = samples @ self._downmix
        return samples

    def _check_unchanged(self) -> None:
        """Raise FileChanged when the file differs from what was opened.

        Called before and after decoding: the system sets the modification time before the new
        bytes can be seen, so what was decoded between two equal times is the old file.
        """
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self._opened:
            raise FileChanged(self.path, "it was changed while it was open; load it again")


def trim_delays(readers: Sequence[StemReader]) -> list[str]:
    """Put MP3 stems without a word on their encoder's delay in time with others; what was done.

    Such a stem begins 13 ms late at 44.1 kHz, beside stems of another kind a comb filter. Alone, or
    among its like, it is left as it is: what is late by the same time is in time.
    """
    delays = [reader.unknown_delay for reader in readers]
    if not any(delays) or len(set(delays)) == 1:
        return []
    told = []
    for reader, delay in zip(readers, delays, strict=True):
        if delay:
            reader.trim(delay)
            told.append(
                f"{printable(reader.path.name)}: it does not say its encoder's delay; "
                f"{1000 * delay / reader.source_rate:.0f} ms are left out at its beginning, "
                "as other stems are no MP3s"
            )
    return told


def _open_file(path: Path, roots: Sequence[Path]) -> int:
    # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
    try:
        return open_inside(path, roots, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _os_refusal(path, error) from None
    except ValueError:
        raise FileMissing(path, "no file can have such a name") from None


def _os_refusal(path: Path, error: OSError) -> AudioFileError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return FileMissing(path, "there is no such file")
    if error.errno == errno.EXDEV:
        return OutsideMediaRoot(path, "it lies outside the media folders")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionRefused(path, "this user may not read it; change its permissions")
    return FileUnreadable(path, f"it can't be read ({os.strerror(error.errno or 0)})")


def _check_kind(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsDirectory(path, "it is a folder, not an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise NotAudio(path, "it is a pipe or a device, not a file")
    if status.st_size == 0:
        raise EmptyAudio(path, "the file is empty (0 bytes); copy or export it again")
