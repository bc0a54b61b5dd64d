"""Handle standard output that is no longer read, as behind `| head`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

# The status that shells report for a program killed by SIGPIPE.
UNREAD_STATUS = 128 + 13


def exit_quietly_on_broken_pipe(run: Callable[[], int]) -> int:
    """Return `run()`'s exit status; exit silently if its output is not read to the end."""
    try:
        try:
            return run()
        finally:  # includes what argparse prints before it exits
            sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes the rest of the buffer once more at exit: discard it.
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return UNREAD_STATUS
