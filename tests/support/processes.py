"""End and list the processes that a test run has left, and remove their shared memory.

`run-tests.sh` marks all processes of a run with the variable `CROWDSTREAM_TEST_RUN`, and calls this
at the end of the run, however it ended.
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
    """Yield the processes of a run, except this one and its parents."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in own and process.environ().get(MARK) == run:
                yield process


def end(run: str) -> list[str]:
    """End the remaining processes of a run; return their command lines."""
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
    """Remove the shared memory of killed JACK servers; its names contain a process id."""
    for entry in Path("/dev/shm").glob("*crowdstream-*"):
        owner = re.search(r"crowdstream-(\d+)-\d+", entry.name)
        if owner and not psutil.pid_exists(int(owner.group(1))):
            with contextlib.suppress(OSError):
                entry.unlink()


def main() -> int:
    """Report the remaining processes. Returns 1 if there were any."""
    left = end(sys.argv[1])
    remove_shared_memory()
    for line in left:
        print(f"left behind by the tests, and ended: {line}", file=sys.stderr)
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
