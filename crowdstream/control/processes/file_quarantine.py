"""Quarantine for files that crash or hang the loader, until they change."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crowdstream.system.text import printable

# Signals of a decoder's crash. Other signals come from outside: a user's kill or the OOM killer.
CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGSYS}
)
SAME_FILE_SECONDS = 300.0  # a second outside kill on one file within this time is no coincidence

Identity = tuple[int, int]


@dataclass(frozen=True)
class BadFile:
    """Why a file is quarantined, and its identity then: size in bytes, mtime in ns."""

    reason: str
    identity: Identity | None


def crashed(status: int | None) -> bool:
    """Whether an exit status (negative: a signal) shows that the process itself failed."""
    return status is not None and (status > 0 or -status in CRASHES)


def describe_exit(status: int | None) -> str:
    """Describe an exit status, for a log line."""
    if status is None:
        return "exit status unknown"
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class FileQuarantine:
    """Decides which files are bad and remembers them. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._bad: dict[str, BadFile] = {}
        self._suspects: dict[str, tuple[Identity | None, float]] = {}

    @property
    def count(self) -> int:
        """Number of quarantined files."""
        return len(self._bad)

    def to_state(self) -> list[list[Any]]:
        """Quarantined files, for JSON; see `restore`."""
        return [[path, bad.reason, bad.identity] for path, bad in self._bad.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Restore the quarantine from saved state."""
        for path, reason, identity in state:
            known = None if identity is None else (int(identity[0]), int(identity[1]))
            self._bad[path] = BadFile(reason, known)

    def judge(self, path: str, status: int | None, hung: bool) -> str | None:
        """Decide whether `path` is to blame for the end of the loader, which was reading it.

        `status` is the exit status, negative for a signal, None if unknown. `hung` means that the
        loader was killed because reading made no progress. Returns the reason why the file is
        quarantined, or None if it is not.
        """
        identity = _identity(path)
        if hung:
            what = "reading it made no progress and was stopped"
        elif crashed(status):
            what = f"the decoder crashed on it ({describe_exit(status)})"
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
            what = f"the loader was killed twice while reading it ({describe_exit(status)})"
        reason = f"{printable(path)}: {what}; it is not tried again until it changes"
        self._bad[path] = BadFile(reason, identity)
        self._suspects.pop(path, None)
        return reason

    def reason(self, path: str) -> str | None:
        """Why a file must not be opened, or None. A file that has changed may be opened."""
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
