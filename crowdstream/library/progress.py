"""Report the progress of a run to another program, as JSON lines on standard output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, TextIO

from crowdstream.library.analysis_run import problem_line
from crowdstream.library.job import Job
from crowdstream.library.run_view import TerminalView

REPORT_SECONDS = 0.2  # minimum time between two lines: a person watches the progress
MAX_NAME = 200  # characters of a track's name


class Reporter(TerminalView):
    """Write progress to `out` as JSON objects, one per line, and problems to `err` as text.

    tracks: number of tracks to analyse.
    done: number of analysed tracks.
    share: share of their bytes that is done, 0 to 1.
    name: the track that reported progress last.
    bad: number of problems so far.
    reason: the latest problem.

    While tracks are being looked for, the lines are `{"found": count}`. If the reader closes its
    end of the pipe, the run continues without reports.
    """

    def __init__(
        self, out: TextIO, err: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(err, False)
        self._lines = out
        self._clock = clock
        self._reported_at = float("-inf")
        self._bad = 0
        self._name = ""
        self._reason = ""
        self._open = True

    def found(self, count: int) -> None:
        """See `analysis_run.View`."""
        self._report({"found": count})

    def begin(self, jobs: int, size: int) -> None:
        """See `analysis_run.View`."""
        super().begin(jobs, size)
        self._report(self._state(), now=True)

    def progress(self, job: Job, share: float) -> None:
        """See `analysis_run.View`."""
        super().progress(job, share)
        self._name = job.name
        self._report(self._state())

    def done(self, job: Job) -> None:
        """See `analysis_run.View`."""
        super().done(job)
        self._name = job.name
        self._report(self._state(), now=self._done == self._jobs)

    def problem(self, path: str, reason: str) -> None:
        """See `analysis_run.View`."""
        super().problem(path, reason)
        self._bad += 1
        self._reason = problem_line(path, reason)
        self._report(self._state(), now=True)

    def _state(self) -> dict[str, Any]:
        bytes_done = self._bytes + sum(self._under_way.values())
        share = bytes_done / self._size if self._size else float(self._done == self._jobs)
        return {
            "tracks": self._jobs, "done": self._done, "share": round(min(1.0, share), 3),
            "name": self._name[:MAX_NAME], "bad": self._bad, "reason": self._reason[:MAX_NAME],
        }  # fmt: skip

    def _report(self, state: dict[str, Any], now: bool = False) -> None:
        if not self._open or not (now or self._clock() >= self._reported_at + REPORT_SECONDS):
            return
        self._reported_at = self._clock()
        try:
            print(json.dumps(state), file=self._lines, flush=True)
        except BrokenPipeError:
            self._open = False
            # At exit, Python flushes standard output once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._lines.fileno())
