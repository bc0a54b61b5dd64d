"""The structure of tracks that play: sections, phrases and energy, from the analysis library."""

from __future__ import annotations

import contextlib
import queue
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdstream.analysis.result import PHRASE_BARS, Analysis
from crowdstream.library.deck_grids import LibraryGrids

BEATLESS_BEATS = 2.0  # per second: an analysis without a beat counts bars of 2 s
MAX_KNOWN = 64  # tracks that are kept


@dataclass(frozen=True)
class Place:
    """A place in a track.

    `meter`: beats per bar. `phrase_beat`, `phrase_beats`: beats since the phrase began, and its
    length. `section`: its kind, empty if unknown. `number`: of the section, from 1.
    `section_done`: share of it that has passed, 0 to 1. `section_left`: beats until its end.
    `energy`: 0 to 1, None if unknown.
    """

    meter: int
    phrase_beat: float
    phrase_beats: float
    section: str = ""
    number: int = 0
    section_done: float = 0.0
    section_left: float = 0.0
    energy: float | None = None


def plain_place(beat: float, meter: int) -> Place:
    """Return the place at a beat if nothing but the meter is known: phrases from beat 0 on."""
    length = float(PHRASE_BARS * meter)
    return Place(meter, beat % length, length)


class Structure:
    """One track's structure, by the position in its file in seconds."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        anchors = analysis.tempo.anchors
        self._beats = np.array([beat for beat, _ in anchors])
        self._seconds = np.array([second for _, second in anchors])

    def beat(self, second: float) -> float:
        """Return the beat of the analysis at a position."""
        if len(self._beats) < 2:
            return second * BEATLESS_BEATS
        left = int(np.searchsorted(self._seconds, second, "right")) - 1
        left = min(max(left, 0), len(self._beats) - 2)
        step = self._beats[left + 1] - self._beats[left]
        slope = step / (self._seconds[left + 1] - self._seconds[left])
        return float(self._beats[left] + (second - self._seconds[left]) * slope)

    def at(self, second: float) -> Place:
        """Return the place at a position in the file."""
        found = self._analysis
        meter, beat = found.downbeat.meter, self.beat(second)
        length = float(found.phrase_bars * meter)
        begin = length * (beat // length)
        after = bisect_right(found.phrases, beat)
        if after:
            begin = float(found.phrases[after - 1])
            if after < len(found.phrases):
                length = float(found.phrases[after] - found.phrases[after - 1])
            else:
                begin += length * ((beat - begin) // length)
        bar = int((beat - found.first_bar_beat) // meter)
        energy = found.energy[bar] if 0 <= bar < len(found.energy) else None
        plain = Place(meter, beat - begin, length, energy=energy)
        for number, one in enumerate(found.sections, 1):
            if one.begin_beat <= beat < one.end_beat:
                done = (beat - one.begin_beat) / (one.end_beat - one.begin_beat)
                return Place(
                    meter, plain.phrase_beat, length, one.kind, number, done,
                    one.end_beat - beat, one.energy if energy is None else energy,
                )  # fmt: skip
        return plain


def look_up(files: Sequence[str]) -> Structure | None:
    """Look a track up in the analysis library, given the files of its stems; None if unknown."""
    with contextlib.closing(LibraryGrids()) as library:
        analysis = library.analysis([Path(file) for file in files])
    return Structure(analysis) if analysis is not None else None


class StructureCache:
    """The structures of tracks, looked up in a thread: a library on a slow disk delays no beat."""

    def __init__(self, look: Callable[[Sequence[str]], Structure | None] = look_up) -> None:
        self._look = look
        self._known: dict[int, Structure | None] = {}
        self._waiting: queue.SimpleQueue[tuple[int, list[str]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def request(self, number: int, files: list[str]) -> None:
        """Look a track up, unless that has been done. Does not wait."""
        if number in self._known:
            return
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[number] = None
        self._waiting.put((number, files))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="structure", daemon=True)
            self._thread.start()

    def get(self, number: int) -> Structure | None:
        """Return the structure of a track; None if it is unknown, or not known yet."""
        return self._known.get(number)

    def _run(self) -> None:
        while True:
            number, files = self._waiting.get()
            found = None
            # Whatever a damaged library raises: the lights go on without sections.
            with contextlib.suppress(Exception):
                found = self._look(files)
            if number in self._known:
                self._known[number] = found
