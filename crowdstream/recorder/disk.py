"""A file on disk that is being recorded: appended to, patched in place, made safe."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from crowdstream.system.safe_open import open_inside, remove_inside


class Disk:
    """A new file. All methods raise `OSError`; what they can't finish they leave as it is.

    `size`: bytes that have been written so far.
    """

    def __init__(self, path: Path, roots: Sequence[Path] = ()) -> None:
        """Make the file, inside `roots` if there are any.

        A file or link that is there already is never written to.
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
        """`count` bytes from `offset` on."""
        return os.pread(self._fd, count, offset)

    def sync(self) -> None:
        """Return when all that was written would survive a power failure."""
        os.fdatasync(self._fd)

    def cut(self, size: int) -> None:
        """Shorten the file."""
        os.ftruncate(self._fd, size)
        self.size = size

    def remove(self) -> None:
        """Take the file away again."""
        remove_inside(self.path, self._roots)

    def end(self, failed: bool) -> None:
        """Close the file. One that has `failed` is brought onto the disk first, if that works."""
        if failed and self._fd >= 0:
            with contextlib.suppress(OSError):
                self.sync()
        self.close()

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
