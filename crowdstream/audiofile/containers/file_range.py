"""Parts of an open file, read with `pread`: as bytes, and as a file that a decoder can read.

They let libsndfile read a file with a mended header, or a stream from its middle, without a
copy on disk. Each reads at its own offset, so several may share one descriptor.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import numpy.typing as npt

Samples = npt.NDArray[Any]
"""Decoded sound: float32 or int16, shape (frames, channels)."""


class Window:
    """The bytes `start` to `end` (exclusive) of the descriptor `fd`, which stays the caller's."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self.fd = fd
        self.start = start
        self.end = max(start, end)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start

    def pread(self, count: int, at: int) -> bytes:
        """Up to `count` bytes from byte `at` of the window on. Raises `OSError`."""
        count = min(count, self.size - at)
        return os.pread(self.fd, count, self.start + at) if count > 0 else b""

    def part(self, start: int, end: int) -> Window:
        """The bytes `start` to `end` of this window."""
        return Window(self.fd, self.start + start, min(self.start + end, self.end))


class MadeFile(io.RawIOBase):
    """A file to read that is put together from parts of another; see `_some`.

    Closing this object closes nothing else.
    """

    def __init__(self, length: int = 0) -> None:
        super().__init__()
        self._length = length
        self._at = 0

    def _some(self, at: int, count: int) -> bytes:
        """From 1 to `count` bytes from byte `at` on; none where they can't be read.

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
            # libsndfile calls this from C, where an exception could only be printed. A failed
            # read is the end of the data, which the decoder's caller notices.
            with contextlib.suppress(OSError):
                data = self._some(self._at, size)
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


class SplicedFile(MadeFile):
    """`head`, then the bytes `start` to `end` (exclusive) of a window."""

    def __init__(self, head: bytes, window: Window, start: int, end: int) -> None:
        super().__init__(len(head) + max(0, end - start))
        self._head = head
        self._window = window
        self._start = start

    def _some(self, at: int, count: int) -> bytes:
        if at < len(self._head):
            return self._head[at : at + count]
        return self._window.pread(count, self._start + at - len(self._head))
