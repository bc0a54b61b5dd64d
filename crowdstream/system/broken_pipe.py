"""Standard output that nobody reads any more, as behind `| head`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

# As a shell reports a program that SIGPIPE has ended.
UNREAD_STATUS = 128 + 13


def while_read(run: Callable[[], int]) -> int:
    """`run()`'s exit status; where its output is not read to the end, it ends without a word."""
    try:
        try:
            return run()
        finally:  # also of what argparse prints before it exits
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer is flushed once more when the interpreter ends.
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return UNREAD_STATUS
