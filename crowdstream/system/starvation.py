"""Starvation: tell an engine that gets no processor from one that hangs.

Neither renders. But the threads of a starved engine are ready to run and wait in the queue of a
processor; they continue as soon as they get one, and another engine would have to wait in the same
queue. A thread that hangs sleeps, is stopped, or uses the processor without rendering.

The system counts for each thread the time on a processor and the time in a queue
(`/proc/PID/task/TID/schedstat`, ns). It adds a wait when it ends, so a thread that still waits is
recognised by its state R without time on a processor.

A thread that sleeps waits for somebody else: an engine's, for a sound server, which may get no
processor itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple

RUNNABLE, SLEEPING = "R", "S"
WAIT_SHARE = 0.5  # of the observed time in a queue, from which a thread counts as starved


class ThreadTimes(NamedTuple):
    """Times of a thread since its start in ns, and its state as reported by the system."""

    ran: int
    waited: int
    state: str


class StarvationMonitor:
    """Observes the threads of the process `pid`, from `begin` on.

    `proc`: where the system reports processes. Without such reports, nothing counts as starved.
    """

    def __init__(
        self,
        pid: int,
        proc: str = "/proc",
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._folder = f"{proc}/{pid}/task"
        self._monotonic_ns = monotonic_ns
        self._before: dict[str, ThreadTimes] = {}
        self._since = 0

    def begin(self) -> None:
        """Begin to observe."""
        self._since = self._monotonic_ns()
        self._before = self._read()

    def is_starved(self, budget: float) -> bool:
        """Return whether a thread waited for a processor for most of the time since `begin`.

        A process whose threads had `budget` seconds on a processor in this time is not starved.
        """
        elapsed = self._monotonic_ns() - self._since
        starved, ran = False, 0
        for thread, now in self._read().items():
            before = self._before.get(thread)
            if before is None:
                continue
            used = now.ran - before.ran
            ran += used
            queued = now.state == RUNNABLE and used < (1.0 - WAIT_SHARE) * elapsed
            starved |= queued or now.waited - before.waited >= WAIT_SHARE * elapsed
        return starved and ran < budget * 1e9

    def sleeps(self, thread: int) -> bool:
        """Return whether a thread sleeps: it waits for somebody else."""
        now = self._read().get(str(thread))
        return now is not None and now.state == SLEEPING

    def _read(self) -> dict[str, ThreadTimes]:
        found = {}
        with contextlib.suppress(OSError):
            for thread in os.listdir(self._folder):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    ran, waited = self._fields(thread, "schedstat")[:2]
                    state = self._fields(thread, "stat")[0].decode()
                    found[thread] = ThreadTimes(int(ran), int(waited), state)
        return found

    def _fields(self, thread: str, name: str) -> list[bytes]:
        # Without the name of the program, which may contain spaces.
        with open(f"{self._folder}/{thread}/{name}", "rb") as file:
            return file.read().rpartition(b")")[2].split()
