"""Ends and lists the processes that a test run has left behind, and removes their shared memory.

`run-tests.sh` marks all processes of a run with the variable `CROWDSTREAM_TEST_RUN`, and calls this
when the run has ended, however it ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

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


def remove_shared_memory() -> None:
    """Remove what killed JACK servers of tests have left: their names carry a process's number."""
    for entry in Path("/dev/shm").glob("*crowdstream-*"):
        owner = re.search(r"crowdstream-(\d+)-\d+", entry.name)
        if owner and not psutil.pid_exists(int(owner.group(1))):
            with contextlib.suppress(OSError):
                entry.unlink()


def main() -> int:
    """Report what was left; 1 where there was something."""
    left = end(sys.argv[1])
    remove_shared_memory()
    for line in left:
        print(f"left behind by the tests, and ended: {line}", file=sys.stderr)
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
