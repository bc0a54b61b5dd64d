"""The grids that the library has of files, for a deck that loads them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crowdstream.analysis.result import Analysis, second_of
from crowdstream.audiofile.beatgrid import MAX_ANCHORS, BeatGrid, FoundGrid, GridError
from crowdstream.library.database import Library, LibraryError, default_place
from crowdstream.library.models import Entry
from crowdstream.library.scanner import STEM_FILE

LOOK_SECONDS = 10.0  # between two looks whether there is a library now


class LibraryGrids:
    """Looks into a library, which need not be there yet. For one thread.

    `place`: its file, by default that of `crowdstream analyze`.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._library: Library | None = None
        self._look_at = 0.0

    def close(self) -> None:
        """Close the library; it is opened again when it is needed."""
        if self._library is not None:
            self._library.close()
            self._library = None

    def __call__(self, stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
        """See `library.grids.Analysed`. What has changed since it was analysed is not known."""
        if self._library is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            with contextlib.suppress(LibraryError):
                self._library = Library(self._place or default_place(), write=False)
        if self._library is None:
            return False, None
        try:
            return self._look_up(self._library, stems)
        except (LibraryError, KeyError):
            # It is being replaced, or damaged: `analyze` reports that. The track plays without it.
            self.close()
        return False, None

    def _look_up(self, library: Library, stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
        first = stems[0]
        for path in (first.parent, first) if len(stems) > 1 else (first, first.parent):
            entry = library.about(os.path.realpath(path))
            if entry is not None and is_of(entry, stems):
                row = library.row(entry.path)
                corrected = row is not None and bool(
                    {"grid", "bpm", "first_downbeat"}
                    & set(row.written.over(row.corrections).names())
                )
                return True, grid_of_analysis(library.analysis(entry.number), corrected)
        return False, None


def look_up(stems: Sequence[Path]) -> tuple[bool, FoundGrid | None]:
    """As `LibraryGrids`, for any thread: the library is opened for this look only."""
    with contextlib.closing(LibraryGrids()) as grids:
        return grids(stems)


def is_of(entry: Entry, stems: Sequence[Path]) -> bool:
    """Whether a track was analysed from these very files, as they are now."""
    known = {(file.size, file.mtime_ns) for file in entry.files}
    # The stems of a stem file lie unpacked in the cache: the file itself says whether it is as
    # it was.
    files = [Path(entry.path)] if entry.kind == STEM_FILE else stems
    try:
        marks = [(status.st_size, status.st_mtime_ns) for status in map(os.stat, files)]
    except OSError:
        return False
    return all(mark in known for mark in marks)


def grid_of_analysis(analysis: Analysis, corrected: bool = False) -> FoundGrid | None:
    """The grid of a track, as a deck takes it; None of one without a beat.

    `corrected`: a person has set tempo, downbeat or grid.
    """
    tempo = analysis.tempo
    # No place of a deck's grid lies before the file; the first stretch goes on outwards.
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
