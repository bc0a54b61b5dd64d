"""FLAC files that are readable while they are being written: 24 bits, by libsndfile.

libFLAC writes each block of frames as soon as it is complete. Only the number of frames in the
header is missing until the end, so the writer updates it from time to time.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np
import soundfile

from crowdstream.recorder.disk import RecordingFile
from crowdstream.recorder.formats import to_int24

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
