"""Analyse a folder while the DJ plays, and repeatedly: tracks may be added at any time.

Until a track is analysed, it can be played as it is, from its beginning to its end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from crowdstream.dj.setfile.model import SetEntry
from crowdstream.dj.track_features import BEATLESS_BPM
from crowdstream.system.process import child_environment, lower_priority_of
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

RESCAN_SECONDS = 60.0  # between two scans of the folder; one without new tracks takes 0.3 s
SOON_SECONDS = 5.0  # the same while there is nothing to play
NICE = 10  # playback has priority
LOG_SECONDS = 5.0  # between two lines of progress
END_SECONDS = 5.0  # until a run that was asked to end is killed
MAX_PROBES = 50  # tracks whose length is looked up at a time, until one is known


class BackgroundAnalysis:
    """Runs `crowdstream analyze` as a child process. Call `tick` regularly, and `end` at last."""

    def __init__(self, folder: Path, library: Path | None = None) -> None:
        options = ["--library", str(library)] if library else []
        self._command = [sys.executable, "-P", "-m", "crowdstream", "analyze", "--progress",
                         *options, str(folder)]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = -math.inf
        self._rest = b""
        self._progress: dict[str, Any] = {}
        self._logged_at = -math.inf

    @property
    def progress(self) -> dict[str, Any]:
        """Progress as `crowdstream analyze --progress` prints it; empty if nothing is analysed."""
        self._read()
        return self._progress

    @property
    def running(self) -> bool:
        """Whether an analysis is running."""
        return self._process is not None and self._process.poll() is None

    def tick(self, now: float, soon: bool) -> None:
        """Start a run when it is due. `now`: monotonic seconds. `soon`: nothing is analysed yet.

        A run that is needed soon does not wait for an idle processor.
        """
        self._read()
        self._log_progress(now)
        if now < self._begun + (SOON_SECONDS if soon else RESCAN_SECONDS):
            return
        if self.running:
            return
        # Errors in the files are reported once, by the first run.
        errors = None if self._process is None else subprocess.DEVNULL
        self._begun = now
        try:
            self._process = subprocess.Popen(
                [*self._command, *([] if soon else ["--background"])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=child_environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:  # memory or processes are short: the DJ plays what it knows
            log.warning("the analysis cannot be started now: %s", error.strerror)
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        lower_priority_of(self._process.pid, NICE)

    def _log_progress(self, now: float) -> None:
        progress = self._progress
        if progress and now >= self._logged_at + LOG_SECONDS:
            self._logged_at = now
            name = printable(progress["name"]) or "the folder"
            log.info("analysing %s: %s of %s tracks are done", name,
                     progress["done"], progress["tracks"])  # fmt: skip

    def _read(self) -> None:
        # Read the child's output so far; only the latest line counts.
        if self._process is None or self._process.stdout is None:
            return
        out = self._process.stdout
        while not out.closed:
            try:
                data = os.read(out.fileno(), 65536)
            except BlockingIOError:
                break
            if not data:
                out.close()
                self._progress = {}
                return
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                progress = json.loads(line)
                # A scan that finds nothing new is not worth showing.
                self._progress = (
                    progress if isinstance(progress, dict) and progress.get("tracks") else {}
                )

    def end(self) -> None:
        """Stop a running analysis; finished tracks stay in the library.

        A process that waits for a device that no longer answers cannot end: it is left alone.
        """
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


def entries_as_they_are(folder: Path, excluded: Container[str]) -> Iterator[SetEntry]:
    """Yield tracks of the folder to play without an analysis.

    Such a track has no beat grid, so it plays from its beginning to its end, less half a second at
    most, and nothing overlaps with it. `excluded`: paths that must not be chosen.
    """
    # Most DJs never need these.
    from crowdstream.audiofile.duration import duration_seconds
    from crowdstream.dj.planning.candidates import MIN_SECONDS
    from crowdstream.library.scanner import Scanner

    found = Scanner(lambda _path, _reason: None, unpacks=False).find([str(folder)])
    candidates = (track for track in found if track.path not in excluded)
    for track in itertools.islice(candidates, MAX_PROBES):
        lengths = [duration_seconds(Path(file.path)) for file in track.files]
        known = [length for length in lengths if length and length >= MIN_SECONDS]
        if known:
            # The next track starts there: a synced deck is in phase with the clock from any beat,
            # but not from in between.
            beats = float(math.floor(max(known) * BEATLESS_BPM / 60))
            yield SetEntry(
                track.path, ((0.0, 0.0), (1.0, 60 / BEATLESS_BPM)), 0.0, beats,
                why="not analysed yet: it plays as it is", confidence=0.0,
            )  # fmt: skip


def entry_as_it_is(folder: Path, excluded: Container[str]) -> SetEntry | None:
    """Return the first of `entries_as_they_are`; None if there is none."""
    return next(entries_as_they_are(folder, excluded), None)
