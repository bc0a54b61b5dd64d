"""A file being recorded: appended to, patched in place, flushed to disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

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
