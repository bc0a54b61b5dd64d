"""The medium of files: its free space, and looks at files although it may hang.

A system call on a network file system that no longer answers returns only when the process is
killed. A look is therefore made in a thread of its own, and abandoned if it takes too long.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

PATIENCE_SECONDS = 2.0  # a busy SD card takes 0.1 s
SHORT_PATIENCE_SECONDS = 0.25  # the same while an earlier look hangs
MAX_HANGING = 4  # threads; while so many hang, no further look is started

T = TypeVar("T")


class MediumHangs(OSError):
    """A medium has not answered in time."""


class Bound(Protocol):
    """Runs a look at files; one for live use raises `MediumHangs` if it takes too long."""

    def __call__(self, look: Callable[[], T], /) -> T:
        """Return the result of `look`, or raise its exception."""


def unbound(look: Callable[[], T]) -> T:
    """Run a look at files, however long it takes."""
    return look()


class MediumGuard:
    """Bounds how long looks at files may take. For one thread."""

    def __init__(self) -> None:
        self._hanging: list[threading.Thread] = []

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, which reads no shared state that is changed meanwhile.

        Raises the exceptions of `work`, and `MediumHangs` if it takes too long: however often it is
        called in a row, it waits less than three seconds for a medium that hangs.
        """
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= MAX_HANGING:
            raise MediumHangs
        results: list[T] = []
        errors: list[Exception] = []

        def look() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=look, name="look", daemon=True)
        thread.start()
        thread.join(SHORT_PATIENCE_SECONDS if self._hanging else PATIENCE_SECONDS)
        if thread.is_alive():
            self._hanging.append(thread)
            raise MediumHangs
        if errors:
            raise errors[0]
        return results[0]


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write to a folder's disk. Raises `OSError`.

    A file system without blocks, such as /proc, is not a disk and never full.
    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize if status.f_blocks else sys.maxsize


def existing(folder: Path) -> Path:
    """The folder, or if it does not exist yet, the nearest one above it that does."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
