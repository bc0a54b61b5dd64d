"""Open an audio file for random access at the engine's sample rate.

A stand-in for an open file that no longer has to be read, or no longer can be.
"""

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
from crowdstream.audiofile.decode import Decoder, ignore_progress
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
    needs_transcoding,
    transcode,
    warnings_of,
)
from crowdstream.system.safe_open import open_inside
from crowdstream.system.text import printable

# Hz. Outside this range a header is nonsense, and conversion would need filters of absurd length.
MIN_RATE, MAX_RATE = 1_000, 768_000
_SIXTEEN_BITS = frozenset({"PCM_16", "PCM_S8", "PCM_U8"})
_FLOAT_FILES = frozenset({"FLOAT", "DOUBLE"})


def open_stem(
    path: Path,
    sample_rate: int | None,
    progress: Callable[[], None] = ignore_progress,
    roots: Sequence[Path] = (),
    flac_of: FlacOf = transcode,
) -> StemReader:
    """Open an audio file for reading at `sample_rate` (Hz).

    sample_rate: None reads the file at its own rate. progress: called from time to time during long
    operations, opening included. roots: the file must lie inside one of these folders, if there are
    any. flac_of: finds the FLAC file of a file that has to be transcoded; the default transcodes it
    now, which takes seconds.

    WAV, RF64, W64, AIFF, FLAC, OGG (Vorbis, Opus) and MP3 are supported, as are the other formats
    of libsndfile and those that are transcoded (see `transcode.py`). Raises the subclass of
    AudioFileError that describes the fault.
    """
    return StemReader(path, sample_rate, progress, roots, flac_of)


class StemReader:
    """One open audio file, read by frame number at one sample rate.

    path: as passed in. source_rate: the file's own rate (Hz). sample_rate: the rate at which it is
    read (Hz). frames: length at `sample_rate`, rounded up to a whole frame if the rates differ.
    channels: 1 or 2; files with 3 to 8 channels are mixed down (see `downmix.py`), those with more
    are refused. identity: the file's size in bytes and its modification time in ns when it was
    opened. dtype: 'int16' for 16-bit and 8-bit PCM with one or two channels at `sample_rate`
    (16-bit samples are bit-identical to the file's, 8-bit ones are shifted up), otherwise 'float32'
    with full scale at 1.0; NaN and infinity in a file become 0.

    The file stays open, so it can be deleted or replaced by another one while it is read. If it is
    changed in place (its size or modification time differs), every read raises FileChanged. For a
    transcoded file, `path` and `identity` are those of the source, and everything else is that of
    the FLAC file. For one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int | None,
        progress: Callable[[], None] = ignore_progress,
        roots: Sequence[Path] = (),
        flac_of: FlacOf = transcode,
    ) -> None:
        if sample_rate is not None and not MIN_RATE <= sample_rate <= MAX_RATE:
            raise ValueError(f"sample_rate is {sample_rate}, allowed are {MIN_RATE} to {MAX_RATE}")
        self.path = path
        self._requested_rate = sample_rate
        self._progress = progress
        self._flac_of = flac_of
        self._transcoder_warnings: tuple[str, ...] = ()
        self._fd = _open_file(path, roots)
        self._decoder: Decoder | None = None
        try:
            self._set_up()
        except OSError as error:
            self.close()
            raise _os_error(path, error) from None
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        status = os.fstat(self._fd)
        self.identity = status.st_size, status.st_mtime_ns
        self._opened = self.identity
        _check_kind(self.path, status)
        if needs_transcoding(self.path, self._fd):
            status = self._open_flac()
        try:
            self._decoder = decoder = Decoder(self._fd, status.st_size, self.path, self._progress)
        finally:
            self._check_unchanged()
        if decoder.frames <= 0:
            raise EmptyAudio(self.path, "it has a header and no audio; export it again")
        if decoder.channels > MAX_CHANNELS:
            raise UnsupportedAudio(
                self.path,
                f"it has {decoder.channels} channels, and at most {MAX_CHANNELS} can be mixed "
                "down; export it in stereo",
            )
        if not MIN_RATE <= decoder.source_rate <= MAX_RATE:
            raise UnsupportedAudio(
                self.path, f"its sample rate of {decoder.source_rate} Hz is out of range"
            )
        self.source_rate = decoder.source_rate
        self.sample_rate = self._requested_rate or self.source_rate
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

    def _open_flac(self) -> os.stat_result:
        """Replace the open file by its FLAC file from the cache, under the source's name."""
        flac = self._flac_of(Source(self.path, self._fd, *self.identity), self._progress)
        self._check_unchanged()
        self._transcoder_warnings = warnings_of(flac.parent)
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
        """Return frames `start` to `start + count` (exclusive): shape (n, channels), C-contiguous.

        out: destination of shape (at least n, channels) and this reader's dtype; allocated if None.
        n is `count`, or less near the end of the file, and 0 beyond it. The samples do not depend
        on earlier reads, apart from the rounding of MP3 and Opus described in `decode.py`. Raises
        FileChanged, TruncatedAudio (decoding stops part-way), FileUnreadable, and ValueError for a
        negative argument or a closed reader.
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
            raise _os_error(self.path, error) from None
        finally:
            # Takes precedence over a decoding error, whose cause is then the change.
            self._check_unchanged()
        if out is None:
            return samples
        out[:] = samples
        return out

    @property
    def unknown_delay(self) -> int:
        """Frames at the file's rate that an MP3 encoder put before the audio, undeclared."""
        assert self._decoder is not None
        return self._decoder.unknown_delay

    def trim(self, frames: int) -> None:
        """Skip the first `frames` frames, at the file's rate. Call it before the first read."""
        self._trimmed = max(0, min(frames, self._source_frames - 1))
        self._measure()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Irregularities of the file, and the seconds of it that are not played; usually empty."""
        assert self._decoder is not None
        return (*self._transcoder_warnings, *self._decoder.warnings)

    @property
    def seek_cost(self) -> Literal["cheaply", "dearly", "never"]:
        """Cost of reading out of order; see `decode.Seeks`."""
        assert self._decoder is not None
        return self._decoder.seek_cost

    def close(self) -> None:
        """Close the file. May be called more than once."""
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
        """Return samples at the file's own rate, mixed down, with NaN and infinity set to 0."""
        assert self._decoder is not None
        samples = self._decoder.read(self._trimmed + start, count, self.dtype, out)
        if self._clean:
            np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self._downmix is not None:
            samples = samples @ self._downmix
        return samples

    def _check_unchanged(self) -> None:
        """Raise FileChanged if the file differs from the one that was opened.

        Called before and after decoding: the system updates the modification time before the new
        bytes become visible, so samples decoded between two equal times are those of the old file.
        """
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != self._opened:
            raise FileChanged(self.path, "it was changed while it was open; load it again")


def trim_delays(readers: Sequence[StemReader]) -> list[str]:
    """Align MP3 stems that do not declare their encoder's delay with other stems.

    Returns one line per trimmed stem. Such a stem begins 13 ms late at 44.1 kHz, which results in a
    comb filter beside stems of another kind. If all stems have the same delay, none is trimmed:
    they are in time with each other.
    """
    delays = [reader.unknown_delay for reader in readers]
    if not any(delays) or len(set(delays)) == 1:
        return []
    messages = []
    for reader, delay in zip(readers, delays, strict=True):
        if delay:
            reader.trim(delay)
            messages.append(
                f"{printable(reader.path.name)}: it does not declare its encoder's delay; "
                f"{1000 * delay / reader.source_rate:.0f} ms are skipped at its beginning, "
                "because other stems are not MP3s"
            )
    return messages


def _open_file(path: Path, roots: Sequence[Path]) -> int:
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    try:
        return open_inside(path, roots, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _os_error(path, error) from None
    except ValueError:
        raise FileMissing(path, "no file can have such a name") from None


def _os_error(path: Path, error: OSError) -> AudioFileError:
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


class ClosedFile:
    """Has the attributes of a `StemReader`, but no file behind it; `read` raises FileUnreadable."""

    def __init__(
        self, path: Path, frames: int, channels: int, dtype: Literal["int16", "float32"]
    ) -> None:
        self.path = path
        self.frames = frames
        self.channels = channels
        self.dtype = dtype
        self.identity = 0, 0

    def read(self, start: int, count: int, out: Samples | None = None) -> Samples:
        """Raise FileUnreadable."""
        raise FileUnreadable(self.path, "it is no longer open; load it again")

    def close(self) -> None:
        """Do nothing: no file is open."""
