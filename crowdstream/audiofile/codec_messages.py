"""Keeps C libraries' messages out of the log of the process that reads audio files."""

from __future__ import annotations

import os
import sys


def mute_c_libraries() -> None:
    """Send what C code writes to standard error to nowhere; Python's own messages still appear.

    mpg123 reports each frame that it can't decode after a seek, which is normal (`decode.py`
    throws those frames away) and would fill a log. For a process of its own, called once, early,
    before loggers hold on to `sys.stderr`. Its crash reports by `faulthandler` need
    `faulthandler.enable(sys.stderr)` after this.
    """
    sys.stderr.flush()
    own = os.dup(2)
    os.set_inheritable(own, True)  # a child started with stderr=sys.stderr still gets it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
