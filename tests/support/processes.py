"""Ends and lists the processes that a test run has left behind.

`run-tests.sh` marks all processes of a run with the variable `CROWDSTREAM_TEST_RUN`, and calls this
when the run has ended, however it ended.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import psutil

MARK = "CROWDSTREAM_TEST_RUN"
END_SECONDS = 5.0


def marked(run: str) -> Iterator[psutil.Process]:
    """Processes of a run, other than this one and its parents."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in own and process.environ().get(MARK) == run:
                yield process


def end(run: str) -> list[str]:
    """End what a run has left; the command lines."""
    left = []
    found = list(marked(run))
    for process in found:
        with contextlib.suppress(psutil.Error):
            left.append(" ".join(process.cmdline())[:200])
            process.terminate()
    _gone, alive = psutil.wait_procs(found, END_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return left


def main() -> int:
    """Report what was left; 1 where there was something."""
    left = end(sys.argv[1])
    for line in left:
        print(f"left behind by the tests, and ended: {line}", file=sys.stderr)
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
