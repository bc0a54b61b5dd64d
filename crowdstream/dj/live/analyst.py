"""Has a folder analysed beside the playing, and again later: tracks may be added all night."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

from crowdstream.child_environment import child_environment

AGAIN_SECONDS = 60.0  # between two looks at the folder; one at which nothing is new takes 0.3 s
SOON_SECONDS = 5.0  # the same while there is nothing to play
NICE = 10  # what plays goes first


class Analyst:
    """Runs `crowdstream analyze`. Call `tick` now and then, and `end`."""

    def __init__(self, folder: Path, library: Path | None = None) -> None:
        options = ["--library", str(library)] if library else []
        self._command = [sys.executable, "-P", "-m", "crowdstream", "analyze", "--quiet",
                         *options, str(folder)]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = -math.inf

    def tick(self, now: float, soon: bool) -> None:
        """Begin when it is time; `now`: seconds of any clock. `soon`: nothing is there to play."""
        if now < self._begun + (SOON_SECONDS if soon else AGAIN_SECONDS):
            return
        if self._process is not None and self._process.poll() is None:
            return
        # What is wrong with the files is said once.
        errors = None if self._process is None else subprocess.DEVNULL
        self._begun = now
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            env=child_environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        )  # fmt: skip
        os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)

    def end(self) -> None:
        """Stop what is under way; what is analysed stays in the library."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
