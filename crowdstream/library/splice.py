"""A read-only file made of some given bytes followed by part of another file.

It lets libsndfile read a file with a mended header, or a stream from its middle, without a
copy on disk. It reads with its own offset (`pread`), so several may share one descriptor.
"""

from __future__ import annotations

import contextlib
import io
import os


class SplicedFile(io.RawIOBase):
    """`head`, then the bytes `start` to `end` (exclusive) of the open descriptor `fd`.

    The descriptor stays the caller's: closing this object does not close it.
    """

    def __init__(self, head: bytes, fd: int, start: int, end: int) -> None:
        super().__init__()
        self._head = head
        self._fd = fd
        self._start = start
        self._length = len(head) + max(0, end - start)
        self._at = 0

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
        data = self._head[self._at : self._at + size]
        if len(data) < size:
            at = self._start + self._at + len(data) - len(self._head)
            # libsndfile calls this from C, where an exception could only be printed. A failed
            # read is the end of the data, which the decoder's caller notices.
            with contextlib.suppress(OSError):
                data += os.pread(self._fd, size - len(data), at)
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
