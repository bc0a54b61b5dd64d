"""Who is to blame for a dead loader: files that codecs choke on, remembered until they change."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crowdstream.system.text import printable

# What a codec dies of. Others come from outside: somebody's kill, or the system short of memory.
CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGSYS}
)
SAME_FILE_SECONDS = 300.0  # in which a second death from outside is no chance any more

Identity = tuple[int, int]


@dataclass(frozen=True)
class BadFile:
    """Why a file is not tried again, and what it looked like: size in bytes, time in ns."""

    reason: str
    identity: Identity | None


def crashed(status: int | None) -> bool:
    """Whether an exit status (negative: a signal) is that of a process that failed by itself."""
    return status is not None and (status > 0 or -status in CRASHES)


def ending(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "nobody knows how"
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class FileQuarantine:
    """Decides and remembers which files are bad. `monotonic`: seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._bad: dict[str, BadFile] = {}
        self._suspects: dict[str, tuple[Identity | None, float]] = {}

    @property
    def count(self) -> int:
        """Files that are known to be bad."""
        return len(self._bad)

    def to_state(self) -> list[list[Any]]:
        """As JSON holds it: which files are bad."""
        return [[path, bad.reason, bad.identity] for path, bad in self._bad.items()]

    def restore(self, note: list[list[Any]]) -> None:
        """Know again what was noted."""
        for path, reason, identity in note:
            known = None if identity is None else (int(identity[0]), int(identity[1]))
            self._bad[path] = BadFile(reason, known)

    def judge(self, path: str, status: int | None, hung: bool) -> str | None:
        """The loader ended while busy with this file: why the file is bad now; None: it is not.

        `status`: exit status, negative for a signal, None when it is not known. `hung`: it was
        ended because nothing came of the file.
        """
        identity = _identity(path)
        if hung:
            what = "nothing came of reading it, and reading it was given up"
        elif crashed(status):
            what = f"the decoder crashed on it ({ending(status)})"
        else:
            before = self._suspects.get(path)
            now = self._monotonic()
            self._suspects = {
                known: entry
                for known, entry in self._suspects.items()
                if now - entry[1] < SAME_FILE_SECONDS
            }
            self._suspects[path] = identity, now
            if before is None or before[0] != identity or now - before[1] >= SAME_FILE_SECONDS:
                return None
            what = f"the loader was ended twice while it was read ({ending(status)})"
        reason = f"{printable(path)}: {what}; it is not tried again until it changes"
        self._bad[path] = BadFile(reason, identity)
        self._suspects.pop(path, None)
        return reason

    def reason(self, path: str) -> str | None:
        """Why a file must not be opened; None where it may. One that has changed may."""
        bad = self._bad.get(path)
        if bad is None:
            return None
        if _identity(path) != bad.identity:
            del self._bad[path]
            return None
        return bad.reason


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
