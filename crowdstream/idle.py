"""Work that gives way to everything else, so that the sound never waits for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

NICENESS = 19


def give_way() -> None:
    """Have this process take processor and disk only when nobody else wants them.

    For a process that leads a session of its own: Linux shares the processor between sessions
    first (autogroup), where the niceness of one within a session counts for nothing. What the
    system refuses stays as it is.
    """
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    with contextlib.suppress(OSError, AttributeError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
