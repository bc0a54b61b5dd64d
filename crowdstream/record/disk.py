"""A file on disk that is being recorded: appended to, patched in place, made safe."""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """A new file. All methods raise `OSError`; what they can't finish they leave as it is.

    `size`: bytes that have been written so far.
    """

    def __init__(self, path: Path) -> None:
        """Make the file; a file or link that is there already is never written to."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.path = path
        self._fd = os.open(path, flags, 0o666)
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
        """`count` bytes from `offset` on."""
        return os.pread(self._fd, count, offset)

    def sync(self) -> None:
        """Return when all that was written would survive a power failure."""
        os.fdatasync(self._fd)

    def cut(self, size: int) -> None:
        """Shorten the file."""
        os.ftruncate(self._fd, size)
        self.size = size

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
