"""Open an audio file for writing.

A file being recorded: appended to, patched in place, flushed to disk.

WAV files of any length that are readable while they are being written.

RIFF counts bytes in 32 bits. The file therefore begins with a `JUNK` chunk of the size of a
`ds64` chunk; when it grows past 4 GiB, the header is changed to RF64 in place (EBU Tech 3306), and
shorter files stay plain RIFF. libsndfile can write RF64 too, but it decides only at the end
whether a file can be RIFF, and its header updates can't be ordered after the data on disk. That
order is what makes a recording survive a power failure.

FLAC files that are readable while they are being written: 24 bits, by libsndfile.

libFLAC writes each block of frames as soon as it is complete. Only the number of frames in the
header is missing until the end, so the writer updates it from time to time.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from crowdstream.recorder.formats import FLAC, FLOAT, SAMPLE_BYTES, packed, to_int24
from crowdstream.system.safe_open import open_inside, remove_inside


class RecordingFile:
    """A new file. All methods raise `OSError` and leave the file as it is when they fail.

    `size`: bytes written so far.
    """

    def __init__(self, path: Path, roots: Sequence[Path] = ()) -> None:
        """Create the file, inside `roots` if any are given.

        An existing file or link is never overwritten.
        """
        self.path = path
        self._roots = roots
        self._fd = open_inside(path, roots, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.size = 0

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`, which is at most `size`."""
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._fd, rest, offset)
            offset += done
            rest = rest[done:]
            self.size = max(self.size, offset)

    def read_at(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset` on."""
        return os.pread(self._fd, count, offset)

    def sync(self) -> None:
        """Flush the data to disk, so that it survives a power failure."""
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes."""
        os.ftruncate(self._fd, size)
        self.size = size

    def remove(self) -> None:
        """Delete the file."""
        remove_inside(self.path, self._roots)

    def end(self, failed: bool) -> None:
        """Close the file. After a failure, first try to flush it to disk."""
        if failed and self._fd >= 0:
            with contextlib.suppress(OSError):
                self.sync()
        self.close()

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_RIFF = struct.Struct("<4sI4s4sIQQQI")  # RIFF and JUNK, or RF64 and ds64
_FMT = struct.Struct("<4sIHHIIHH")
_DATA = struct.Struct("<4sI")
_DS64_BYTES = 28
_MAX_UINT32 = 0xFFFFFFFF
_PCM, _IEEE_FLOAT = 1, 3


class WavWriter:
    """Writes float32 frames to a WAV file in one of the formats in `SAMPLE_BYTES`.

    `frames`: number written so far. When the disk fails, `write`, `save` and `close` raise
    `OSError`; the file keeps the complete frames that fitted, with a matching header. Only
    `close` may be called afterwards.
    """

    def __init__(self, disk: RecordingFile, sample_rate: int, channels: int, form: str) -> None:
        self._disk = disk
        self._rate = sample_rate
        self._channels = channels
        self._form = form
        self._frame_bytes = SAMPLE_BYTES[form] * channels
        self.frames = 0
        self._failed = False
        head = self._header(0)
        self._begin = len(head)
        disk.write_at(0, head)

    @property
    def kept(self) -> int:
        """Number of frames that the file keeps if the next call fails."""
        return self.frames

    def write(self, frames: np.ndarray) -> None:
        """Append float32 frames of shape `(count, channels)`."""
        data = packed(frames, self._form, self.frames)
        try:
            self._disk.write_at(self._begin + self.frames * self._frame_bytes, data)
        except OSError:
            self._repair()
            raise
        self.frames += len(frames)

    def save(self) -> None:
        """Flush all data to disk, then the header that counts it."""
        try:
            self._disk.sync()
            self._disk.write_at(0, self._header(self.frames))
            self._disk.sync()
        except OSError:
            self._repair()
            raise

    def close(self) -> None:
        """Finish the file."""
        try:
            if not self._failed:
                if self._data_bytes(self.frames) % 2:  # chunks have an even length
                    self._disk.write_at(self._disk.size, b"\0")
                self.save()
        finally:
            self._disk.end(failed=self._failed)

    def _repair(self) -> None:
        self._failed = True
        # Complete frames that the disk accepted; overwriting the header needs no more space.
        self.frames = max(0, self._disk.size - self._begin) // self._frame_bytes
        self._disk.truncate(self._begin + self._data_bytes(self.frames))
        self._disk.write_at(0, self._header(self.frames))

    def _data_bytes(self, frames: int) -> int:
        return frames * self._frame_bytes

    def _header(self, frames: int) -> bytes:
        data = self._data_bytes(frames)
        middle = self._fmt_chunk(frames)
        total = _RIFF.size + len(middle) + _DATA.size + data + data % 2 - 8
        if total <= _MAX_UINT32:
            head = _RIFF.pack(b"RIFF", total, b"WAVE", b"JUNK", _DS64_BYTES, 0, 0, 0, 0)
            return head + middle + _DATA.pack(b"data", data)
        sizes = total, data, frames, 0
        head = _RIFF.pack(b"RF64", _MAX_UINT32, b"WAVE", b"ds64", _DS64_BYTES, *sizes)
        return head + middle + _DATA.pack(b"data", _MAX_UINT32)

    def _fmt_chunk(self, frames: int) -> bytes:
        is_float = self._form == FLOAT
        fmt = _FMT.pack(
            b"fmt ",
            18 if is_float else 16,
            _IEEE_FLOAT if is_float else _PCM,
            self._channels,
            self._rate,
            self._rate * self._frame_bytes,
            self._frame_bytes,
            8 * SAMPLE_BYTES[self._form],
        )
        if is_float:  # formats other than PCM have an extension, empty here, and a frame count
            fmt += struct.pack("<H4sII", 0, b"fact", 4, min(frames, _MAX_UINT32))
        return fmt


# The header: "fLaC", a block header of 4 bytes, and STREAMINFO (RFC 9639, section 8.2): minimum
# and maximum block size in frames (2 bytes each), minimum and maximum frame size in bytes (3
# each), then 64 bits of which the lower 36 count the frames; 0 means unknown.
_BLOCK_AT = 10
_COUNT_AT = 18
_COUNT_MASK = (1 << 36) - 1


class _Stream:
    # The file object used by libsndfile, which can't pass on an OSError: it is kept here.

    def __init__(self, disk: RecordingFile) -> None:
        self._disk = disk
        self._position = 0
        self.error: OSError | None = None
        self.sealed = False

    def write(self, data: bytes) -> int:
        if not self.sealed:
            try:
                self._disk.write_at(self._position, data)
            except OSError as error:
                self.error = self.error or error
                return 0
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._disk.size}
        self._position = start[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        data = self._disk.read_at(self._position, count)
        self._position += len(data)
        return data


class FlacWriter:
    """Writes float32 frames to a FLAC file; fails like `WavWriter`."""

    def __init__(self, disk: RecordingFile, sample_rate: int, channels: int) -> None:
        self._disk = disk
        self._stream = _Stream(disk)
        try:
            self._file = soundfile.SoundFile(
                self._stream, "w", sample_rate, channels, "PCM_24", format="FLAC"
            )
        except soundfile.LibsndfileError:
            if self._stream.error:
                raise self._stream.error from None
            raise
        self._good_bytes = disk.size
        self.frames = 0

    @property
    def kept(self) -> int:
        """Frames in complete blocks, which the file keeps if the next call fails."""
        return self._whole_blocks()

    def write(self, frames: np.ndarray) -> None:
        """Append float32 frames of shape `(count, channels)`."""
        # libsndfile uses the upper 24 of 32 bits. Its own conversion from float scales by 2^23 - 1.
        with contextlib.suppress(soundfile.LibsndfileError, AssertionError):
            self._file.write(to_int24(frames) << 8)
        self._check()
        self.frames += len(frames)
        self._good_bytes = self._disk.size

    def save(self) -> None:
        """Flush all complete blocks to disk, then the number of their frames."""
        try:
            self._disk.sync()
            self._count(self._whole_blocks())
            self._disk.sync()
        except OSError as error:
            self._stream.error = error
            self._check()

    def close(self) -> None:
        """Finish the file: last block, exact number of frames, checksum."""
        failed = self._stream.sealed
        try:
            with contextlib.suppress(soundfile.LibsndfileError):
                self._file.close()
            if not failed:
                self._check()
                self._disk.sync()
        finally:
            self._disk.end(failed=self._stream.sealed)

    def _check(self) -> None:
        # The encoder can't resume after a disk error: what it has not written stays unwritten.
        if self._stream.error is None:
            return
        self._stream.sealed = True
        self.frames = self._whole_blocks()
        self._disk.truncate(self._good_bytes)
        self._count(self.frames)
        raise self._stream.error

    def _whole_blocks(self) -> int:
        # The encoder writes its header with the first frames, and holds a block back until it
        # has received one frame more.
        if self._disk.size < _COUNT_AT + 8:
            return 0
        block = int.from_bytes(self._disk.read_at(_BLOCK_AT, 2), "big")
        return max(0, self.frames - 1) // block * block

    def _count(self, frames: int) -> None:
        if frames == 0:
            return
        word = int.from_bytes(self._disk.read_at(_COUNT_AT, 8), "big")
        word = word & ~_COUNT_MASK | (frames if frames <= _COUNT_MASK else 0)
        self._disk.write_at(_COUNT_AT, word.to_bytes(8, "big"))


Writer = WavWriter | FlacWriter


def open_audio(
    path: Path, sample_rate: int, channels: int, form: str, roots: Sequence[Path] = ()
) -> Writer:
    """Create a new file in one of the `FORMATS`, inside `roots`; never overwrites a file.

    `write(frames)` appends float32 of shape `(count, channels)`, `save()` makes everything
    written so far readable and safe, `close()` finishes the file; `frames` is its length. All of
    them raise `OSError`. `kept`: number of frames that the file keeps if the next call fails.
    """
    disk = RecordingFile(path, roots)
    try:
        return FlacWriter(disk, sample_rate, channels) if form == FLAC else WavWriter(
            disk, sample_rate, channels, form
        )
    except BaseException:
        disk.close()
        disk.remove()
        raise
