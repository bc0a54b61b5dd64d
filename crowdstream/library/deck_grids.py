"""Look up beat grids and analyses of files in the library, for decks that load them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crowdstream.analysis.result import Analysis, second_of
from crowdstream.audiofile.beatgrid import MAX_ANCHORS, BeatGrid, FoundGrid, GridError
from crowdstream.library import default_path
from crowdstream.library.database import Library, LibraryError
from crowdstream.library.models import Entry
from crowdstream.library.scanner import STEM_FILE

RETRY_SECONDS = 10.0  # minimum time between two attempts to open the library


class LibraryGrids:
    """Look up beat grids in a library, which need not exist yet. For one thread.

    `place`: the library file, by default that of `crowdstream analyze`.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._library: Library | None = None
        self._retry_at = 0.0

    def close(self) -> None:
        """Close the library; the next lookup opens it again."""
        if self._library is not None:
            self._library.close()
            self._library = None

    def __call__(self, stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
        """Look up the grid of a track, given the paths of its stems.

        Returns (False, None) if the library has no analysis of
        the files, or if they have changed since.
        """
        found = self._find(stems)
        return (True, grid_of_analysis(*found)) if found else (False, None)

    def analysis(self, stems: Sequence[Path]) -> Analysis | None:
        """Look up the analysis of a track, given the paths of its stems; None if there is none."""
        found = self._find(stems)
        return found[0] if found else None

    def _find(self, stems: Sequence[Path]) -> tuple[Analysis, bool] | None:
        # The analysis, and whether a person has corrected its grid.
        if self._library is None and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            with contextlib.suppress(LibraryError):
                self._library = Library(self._place or default_path(), write=False)
        if self._library is None:
            return None
        try:
            return self._look_up(self._library, stems)
        except (LibraryError, KeyError):
            # The library is being replaced, or is damaged, which `analyze` reports. The track
            # plays without its grid.
            self.close()
        return None

    def _look_up(self, library: Library, stems: Sequence[Path]) -> tuple[Analysis, bool] | None:
        first = stems[0]
        for path in (first.parent, first) if len(stems) > 1 else (first, first.parent):
            entry = library.find_by_path(os.path.realpath(path))
            if entry is not None and matches_files(entry, stems):
                row = library.row(entry.path)
                corrected = row is not None and bool(
                    {"grid", "bpm", "first_downbeat"}
                    & set(row.written.over(row.corrections).names())
                )
                return library.analysis(entry.number), corrected
        return None


def look_up_grid(stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
    """Look up a grid like `LibraryGrids`, from any thread: opens the library for this call."""
    with contextlib.closing(LibraryGrids()) as grids:
        return grids(stems)


def matches_files(entry: Entry, stems: Sequence[Path]) -> bool:
    """Return whether the analysis of a track belongs to these files in their present state."""
    known = {(file.size, file.mtime_ns) for file in entry.files}
    # The stems of a stem file are unpacked in the cache: compare the stem file itself.
    files = [Path(entry.path)] if entry.kind == STEM_FILE else stems
    try:
        marks = [(status.st_size, status.st_mtime_ns) for status in map(os.stat, files)]
    except OSError:
        return False
    return all(mark in known for mark in marks)


def grid_of_analysis(analysis: Analysis, corrected: bool = False) -> FoundGrid | None:
    """Convert the beat grid of an analysis to a deck's; None for a track without a beat.

    `corrected`: a person has corrected the tempo, the downbeat or the grid.
    """
    tempo = analysis.tempo
    # A deck's grid has no anchors before the start of the file; it extrapolates its first segment.
    pairs = [pair for pair in tempo.anchors if pair[1] >= 0.0]
    if len(pairs) == 1 and tempo.steady:
        last = pairs[0][0]
        pairs.append((last + 1.0, second_of(tempo.anchors, last + 1.0)))
    if len(pairs) < 2:
        return None
    step = -(-(len(pairs) - 1) // (MAX_ANCHORS - 1))
    pairs = [*pairs[:-1:step], pairs[-1]]
    try:
        grid = replace(BeatGrid.through(pairs), steady=tempo.steady)
    except GridError:
        return None
    if corrected:
        return FoundGrid(grid, "correction")
    return FoundGrid(grid, "analysis", tempo.confidence, tempo.doubt)
