"""A log file of limited total size: it is rotated through a few files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

FILE_BYTES = 2 << 20
FILES = 5  # together 10 MiB: about five days of a status line every ten seconds
MIN_FREE = 64 << 20  # bytes of the disk to leave free, above all for recordings
RETRY_SECONDS = 1.0  # between a failure and the next attempt
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class LogFile:
    """`path` and the older `path.1` to `path.4`: at most `files * file_bytes` together.

    At least `min_free` bytes of the disk stay free. `mode`: permissions of a new file.

    Any number of processes may write to one log. Before writing, each checks whether its open
    file still has the name, and only one at a time rotates. For use by one thread.
    `report(text)` is called once for each kind of failure.
    """

    def __init__(
        self,
        path: Path,
        report: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        file_bytes: int | None = None,
        files: int = FILES,
        min_free: int | None = None,
        mode: int = 0o640,
    ) -> None:
        self._file_bytes = FILE_BYTES if file_bytes is None else file_bytes
        self._min_free = MIN_FREE if min_free is None else min_free
        self._files, self._mode = files, mode
        self._path = path.absolute()
        self._report = report
        self._monotonic = monotonic
        self._fd = -1
        self._incomplete = False  # the last line was written only in part
        self._missing = 0  # lines not written since the last successful one
        self._reported: set[int | None] = set()
        self._retry = 0.0

    def write(self, line: bytes) -> bool:
        """Append one line, or count it as missing and return False. Never raises `OSError`."""
        if self._missing and self._monotonic() < self._retry:
            self._missing += 1
            return False
        try:
            self._prepare(len(line))
            if self._missing:
                note = f"({self._missing} lines are missing here)\n".encode()
                self._append(b"\n" + note if self._incomplete else note)
                self._missing = 0
            self._append(line)
        except OSError as error:
            self._failed(error)
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _failed(self, error: OSError) -> None:
        self._missing += 1
        self._retry = self._monotonic() + RETRY_SECONDS
        self.close()
        if error.errno not in self._reported:
            self._reported.add(error.errno)
            self._report(
                f"the log file {str(self._path)!r} can't be written ({error.strerror or error}): "
                "the server continues without it and retries"
            )

    def _append(self, data: bytes) -> None:
        done = os.write(self._fd, data)
        self._incomplete = done < len(data)
        if self._incomplete:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _prepare(self, length: int) -> None:
        """Open the file and make room for `length` bytes. Raises `OSError`."""
        if self._fd < 0 or not self._has_name(self._fd):
            self._open()
        space = os.fstatvfs(self._fd)
        if space.f_bavail * space.f_frsize < self._min_free:
            raise OSError(errno.ENOSPC, f"less than {self._min_free >> 20} MB are free")
        if os.fstat(self._fd).st_size + length > self._file_bytes:
            self._rotate()

    def _has_name(self, fd: int) -> bool:
        # Whether the open file is still the one with that name.
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, _APPEND, self._mode)
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # pipes and devices can't be rotated
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a regular file")
        self._fd = fd

    def _rotate(self) -> None:
        """Rotate: rename each file to the next older name and delete the oldest."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another process is rotating, possibly for a long time if it was stopped.
            if os.fstat(self._fd).st_size > 2 * self._file_bytes:
                raise
            return
        if self._has_name(self._fd):
            names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._files))]
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                with contextlib.suppress(FileNotFoundError):
                    newer.replace(older)
        self._open()  # closing the old file releases its lock
