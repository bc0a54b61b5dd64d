"""What a person sees of a run: a bar with the time left, bad files, and a summary."""

from __future__ import annotations

import time
from typing import TextIO

from crowdstream.audiofile.stems.track_files import audio_extensions
from crowdstream.audiofile.transcode import INSTALL, can_transcode
from crowdstream.library.analysis_run import Summary, shown
from crowdstream.library.job import Job
from crowdstream.library.stem_mp4 import MISSING
from crowdstream.system.progress_bar import ProgressBar, clock
from crowdstream.system.text import printable

MAX_TOLD = 100  # lines on what is wrong; the rest is counted
SHOW_EVERY = 100  # tracks found


class TerminalView:
    """Writes to `out`, standard error. `live`: it is a terminal, where a bar can move."""

    def __init__(self, out: TextIO, live: bool) -> None:
        self._out = out
        self._told = 0
        self._first: tuple[float, float] | None = None  # when something was done, what share
        self._bar = ProgressBar(out, "looking for tracks") if live else None
        self._size = 0
        self._jobs = self._done = 0
        self._under_way: dict[int, float] = {}  # bytes, by number of a job
        self._bytes = 0

    def found(self, count: int) -> None:
        """See `run.View`."""
        if self._bar and count % SHOW_EVERY == 0:
            self._bar.describe(f"found {count} tracks")

    def begin(self, jobs: int, size: int) -> None:
        """See `run.View`."""
        self._jobs, self._size = jobs, size
        if self._bar:
            self._bar.show(f"0 of {jobs}", 0, size)

    def under_way(self, job: Job, share: float) -> None:
        """See `run.View`."""
        self._under_way[job.number] = share * job.size
        self._show()

    def done(self, job: Job) -> None:
        """See `run.View`."""
        self._done += 1
        self._bytes += job.size
        self._under_way.pop(job.number, None)
        self._show()

    def _show(self) -> None:
        if self._bar is None:
            return
        # By bytes: a track of three hours is not one of a thousand.
        completed = self._bytes + sum(self._under_way.values())
        share = completed / self._size if self._size else 1.0
        # What the workers need to begin says nothing about what the rest takes.
        now = time.monotonic()
        self._first = self._first or (now, share)
        since, before = self._first
        left = (now - since) / (share - before) * (1 - share) if share > before else None
        self._bar.show(f"{self._done} of {self._jobs}", completed, self._size, left)

    def trouble(self, path: str, reason: str) -> None:
        """See `run.View`."""
        self._told += 1
        if self._told <= MAX_TOLD:
            self.say(shown(path, reason))

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        text = f"crowdstream: {printable(line)}"
        if self._bar:
            self._bar.print(text)
        else:
            print(text, file=self._out, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.close()
            self._bar = None
        if self._told > MAX_TOLD:
            self.say(f"and {self._told - MAX_TOLD} more like these")
            self._told = 0


def summary_line(summary: Summary, seconds: float) -> str:
    """How a run went, in one line."""
    parts = [f"{summary.analysed} analysed", f"{summary.known} known before"]
    for count, what in (
        (summary.taken, "moved or copied"), (summary.bad, "bad"),
        (summary.later, "to be tried again"), (summary.gone, "gone"),
    ):  # fmt: skip
        if count:
            parts.append(f"{count} {what}")
    tracks = f"{summary.tracks} track{'' if summary.tracks == 1 else 's'}"
    return f"{tracks}: {', '.join(parts)}; {clock(seconds)}"


def notes(summary: Summary) -> list[str]:
    """What else is to be said after a run."""
    said = []
    if summary.whole and not summary.tracks and not summary.trouble and not summary.skipped:
        said.append(
            "no tracks here: no folders of stems, no audio files "
            f"({', '.join(audio_extensions())}, .stem.mp4)"
        )
    if summary.skipped:
        said.append(f"{summary.skipped} stem files were passed over: {MISSING}")
    if summary.foreign:
        one = summary.foreign == 1
        said.append(
            f"{summary.foreign} file{' is' if one else 's are'} in formats that no deck can load "
            f"({', '.join(audio_extensions())} can be): convert {'it' if one else 'them'} "
            f"to WAV or FLAC{'' if can_transcode() else f', or install PyAV: {INSTALL}'}"
        )
    return said
