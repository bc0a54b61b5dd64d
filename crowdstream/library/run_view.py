"""Show a run in the terminal: a progress bar with the time left, problems, and a summary."""

from __future__ import annotations

import time
from typing import TextIO

from crowdstream.audiofile.stems.track_files import audio_extensions
from crowdstream.audiofile.transcode import INSTALL, can_transcode
from crowdstream.library.analysis_run import Summary, problem_line
from crowdstream.library.job import Job
from crowdstream.library.stem_mp4 import MISSING
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
