"""WAV files of any length that are readable while they are being written.

RIFF counts bytes in 32 bits. The file therefore begins with a `JUNK` chunk of the size of a
`ds64` chunk; when it grows past 4 GiB, the header is changed to RF64 in place (EBU Tech 3306), and
shorter files stay plain RIFF. libsndfile can write RF64 too, but it decides only at the end
whether a file can be RIFF, and its header updates can't be ordered after the data on disk. That
order is what makes a recording survive a power failure.
"""

from __future__ import annotations

import struct

import numpy as np

from crowdstream.recorder.disk import RecordingFile
from crowdstream.recorder.formats import FLOAT, SAMPLE_BYTES, packed

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
