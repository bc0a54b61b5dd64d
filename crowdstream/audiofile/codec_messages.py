"""Keep the messages of C codec libraries out of the logs of processes that read audio files."""

from __future__ import annotations

import os
import sys


def mute_c_libraries() -> None:
    """Discard what C code writes to standard error; Python's own messages still appear.

    mpg123 reports each frame that it can't decode after a seek. Such frames are normal (`decode.py`
    discards them), but the messages would fill a log. Call this function once, early, in a process
    that only reads audio, and before any logger keeps a reference to `sys.stderr`. To keep crash
    reports, call `faulthandler.enable(sys.stderr)` afterwards.
    """
    sys.stderr.flush()
    visible = os.dup(2)
    os.set_inheritable(visible, True)  # for children started with stderr=sys.stderr
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    sys.stderr = os.fdopen(visible, "w", buffering=1, errors="backslashreplace")
