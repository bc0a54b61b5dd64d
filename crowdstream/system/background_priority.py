"""Run work at the lowest priority, so that audio never waits for it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path

NICENESS = 19
# Set to "no" where nothing plays: such work then competes normally with other programs.
VARIABLE = "CROWDSTREAM_GIVE_WAY"
# psutil knows these numbers, but the process that draws waveforms has no other use for it.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314, "i686": 289, "riscv64": 30}
_IOPRIO_IDLE = 3 << 13  # class idle of IOPRIO_WHO_PROCESS, linux/ioprio.h


def lower_priority() -> None:
    """Let this process use processor and disk only when no other process needs them.

    For a process that leads a session of its own: Linux first divides the processor among
    sessions (autogroup), and niceness has no effect across sessions. Refusals by the system are
    ignored. With `CROWDSTREAM_GIVE_WAY=no` in the environment nothing changes.
    """
    if os.environ.get(VARIABLE) == "no":
        return
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_IDLE)
