"""Byte ranges of an open file, read with `pread`, and file objects assembled from them.

With these, libsndfile reads a file with a repaired header, or a stream from its middle, without a
copy on disk. Each object keeps its own offset, so several can share one descriptor.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import numpy.typing as npt

Samples = npt.NDArray[Any]
"""Decoded audio: float32 or int16, shape (frames, channels), C-contiguous."""


class ByteRange:
    """Bytes `start` to `end` (exclusive) of the descriptor `fd`, which the caller owns."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self.fd = fd
        self.start = start
        self.end = max(start, end)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.end - self.start

    def pread(self, count: int, at: int) -> bytes:
        """Return up to `count` bytes from byte `at` of the window. Raises `OSError`."""
        count = min(count, self.size - at)
        return os.pread(self.fd, count, self.start + at) if count > 0 else b""

    def part(self, start: int, end: int) -> ByteRange:
        """Return the window of bytes `start` to `end` (exclusive) within this one."""
        return ByteRange(self.fd, self.start + start, min(self.start + end, self.end))


class VirtualFile(io.RawIOBase):
    """A read-only file object of `length` bytes whose contents come from `_read_at`.

    Subclasses implement `_read_at`. Closing the object closes no descriptor.
    """

    def __init__(self, length: int = 0) -> None:
        super().__init__()
        self._length = length
        self._at = 0

    def _read_at(self, at: int, count: int) -> bytes:
        """Return 1 to `count` bytes from byte `at`, or none if they can't be read.

        May raise `OSError`.
        """
        raise io.UnsupportedOperation("read")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._length - self._at)
        size = left if size < 0 else min(size, left)
        parts = []
        while size > 0:
            data = b""
            # libsndfile calls this from C, where an exception could only be printed. A failed read
            # is treated as the end of the data, which the decoder's caller detects.
            with contextlib.suppress(OSError):
                data = self._read_at(self._at, size)
            if not data:
                break
            parts.append(data)
            self._at += len(data)
            size -= len(data)
        return b"".join(parts)

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class SplicedFile(VirtualFile):
    """The bytes `head`, followed by the bytes `start` to `end` (exclusive) of a window."""

    def __init__(self, head: bytes, window: ByteRange, start: int, end: int) -> None:
        super().__init__(len(head) + max(0, end - start))
        self._head = head
        self._window = window
        self._start = start

    def _read_at(self, at: int, count: int) -> bytes:
        if at < len(self._head):
            return self._head[at : at + count]
        return self._window.pread(count, self._start + at - len(self._head))
