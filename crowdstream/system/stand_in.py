"""A small process in place of one that another version has replaced: run it with a process ID.

It passes signals on to that process, a child, and ends as the child does. So a service manager or a
terminal that has started the earlier version still controls the later one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stand_in(pid: int) -> int:
    """Wait for the child `pid`; return its exit status, or 128 and the number of its signal."""

    def pass_on(number: int, _frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(stand_in(int(sys.argv[1])))
