"""Show a run in the terminal: a progress bar with the time left, problems, and a summary.

Report the progress of a run to another program, as JSON lines on standard output.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, TextIO

from crowdstream.audiofile.stems.track_files import audio_extensions
from crowdstream.audiofile.transcode import INSTALL, can_transcode
from crowdstream.library.analysis_run import Summary, problem_line
from crowdstream.library.stem_mp4 import MISSING
from crowdstream.library.worker import Job
from crowdstream.system.progress_bar import ProgressBar, format_duration
from crowdstream.system.text import printable

MAX_PROBLEM_LINES = 100  # further problems are only counted
SHOW_EVERY = 100  # found tracks between two updates


class TerminalView:
    """Write progress to `out`, usually standard error.

    `live`: `out` is a terminal, on which a progress bar can be drawn.
    """

    def __init__(self, out: TextIO, live: bool) -> None:
        self._out = out
        self._problem_count = 0
        self._first: tuple[float, float] | None = None  # time of the first progress, and its share
        self._bar = ProgressBar(out, "looking for tracks") if live else None
        self._size = 0
        self._jobs = self._done = 0
        self._under_way: dict[int, float] = {}  # bytes done of each running job, by its number
        self._bytes = 0

    def found(self, count: int) -> None:
        """See `analysis_run.View`."""
        if self._bar and count % SHOW_EVERY == 0:
            self._bar.describe(f"found {count} tracks")

    def begin(self, jobs: int, size: int) -> None:
        """See `analysis_run.View`."""
        self._jobs, self._size = jobs, size
        if self._bar:
            self._bar.show(f"0 of {jobs}", 0, size)

    def progress(self, job: Job, share: float) -> None:
        """See `analysis_run.View`."""
        self._under_way[job.number] = share * job.size
        self._show()

    def done(self, job: Job) -> None:
        """See `analysis_run.View`."""
        self._done += 1
        self._bytes += job.size
        self._under_way.pop(job.number, None)
        self._show()

    def _show(self) -> None:
        if self._bar is None:
            return
        # Progress counts bytes: a three-hour track takes longer than a short one.
        completed = self._bytes + sum(self._under_way.values())
        share = completed / self._size if self._size else 1.0
        # The estimate starts at the first progress: the workers' start-up time says nothing about
        # the time that the rest takes.
        now = time.monotonic()
        self._first = self._first or (now, share)
        since, before = self._first
        left = (now - since) / (share - before) * (1 - share) if share > before else None
        self._bar.show(f"{self._done} of {self._jobs}", completed, self._size, left)

    def problem(self, path: str, reason: str) -> None:
        """See `analysis_run.View`."""
        self._problem_count += 1
        if self._problem_count <= MAX_PROBLEM_LINES:
            self.print(problem_line(path, reason))

    def print(self, line: str) -> None:
        """Print a line above the progress bar."""
        text = f"crowdstream: {printable(line)}"
        if self._bar:
            self._bar.print(text)
        else:
            print(text, file=self._out, flush=True)

    def close(self) -> None:
        """Remove the progress bar, and print the number of problems that were not shown."""
        if self._bar:
            self._bar.close()
            self._bar = None
        if self._problem_count > MAX_PROBLEM_LINES:
            self.print(f"and {self._problem_count - MAX_PROBLEM_LINES} more problems")
            self._problem_count = 0


def summary_line(summary: Summary, seconds: float) -> str:
    """Summarize a run in one line; `seconds` is its duration."""
    parts = [f"{summary.analysed} analysed", f"{summary.known} already known"]
    for count, description in (
        (summary.moved, "moved or copied"), (summary.bad, "bad"),
        (summary.retry, "to be retried"), (summary.gone, "gone"),
    ):  # fmt: skip
        if count:
            parts.append(f"{count} {description}")
    tracks = f"{summary.tracks} track{'' if summary.tracks == 1 else 's'}"
    return f"{tracks}: {', '.join(parts)}; {format_duration(seconds)}"


def notes(summary: Summary) -> list[str]:
    """Return further remarks on a run, such as skipped files and their remedy."""
    lines = []
    if summary.completed and not summary.tracks and not summary.problems and not summary.skipped:
        lines.append(
            "no tracks here: no folders of stems, no audio files "
            f"({', '.join(audio_extensions())}, .stem.mp4)"
        )
    if summary.skipped:
        plural = "" if summary.skipped == 1 else "s"
        lines.append(f"skipped {summary.skipped} stem file{plural}: {MISSING}")
    if summary.foreign:
        one = summary.foreign == 1
        lines.append(
            f"{summary.foreign} file{' is' if one else 's are'} in formats that no deck can load "
            f"(supported: {', '.join(audio_extensions())}): convert {'it' if one else 'them'} "
            f"to WAV or FLAC{'' if can_transcode() else f', or install PyAV: {INSTALL}'}"
        )
    return lines


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
