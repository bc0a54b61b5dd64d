"""Which pages a playhead will need, and which a start does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.layout import FREE, MAX_RATE
from crowdstream.library.reader import StemReader

READ_AHEAD = 10.0  # seconds of sound kept ahead of a playhead: an SD card may stall for 5
READY = 0.25  # seconds that have to be there before a start
URGENT = 2.0  # seconds ahead of a playhead that come before everything, starts included


@dataclass
class Stem:
    """One open file and its place in the desk."""

    source: int
    reader: StemReader
    page_frames: int

    @property
    def pages(self) -> int:
        """Pages of the whole file."""
        return -(-self.reader.frames // self.page_frames)


Heads = dict[int, list[tuple[int, int, int]]]
"""By source number: where it is read, and where its loop begins and ends (0, 0: nowhere)."""


class Plan:
    """Counts in pages what the desk's playheads say in frames. Reads the desk, changes nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def window(self, stem: Stem) -> int:
        """Pages that a streamed stem needs: ahead, at its cue and at its beginning."""
        ahead = math.ceil(READ_AHEAD * self._desk.sample_rate / stem.page_frames)
        start = self.ready_pages(stem)
        return ahead + 2 * start + 3

    def ready_pages(self, stem: Stem) -> int:
        """Pages that have to be there before a start, at any rate."""
        return 1 + math.ceil(READY * MAX_RATE * self._desk.sample_rate / stem.page_frames)

    def playheads(self) -> Heads:
        """For every source that sounds: position, and where a loop would jump."""
        heads: Heads = {}
        voices = self._desk.voices
        for slot in np.flatnonzero(voices["state"] != FREE):
            voice = voices[slot]
            border = (int(voice["loop_in"]), int(voice["loop_out"])) if voice["loop"] else (0, 0)
            for source in voice["sources"][: int(voice["stems"])]:
                heads.setdefault(int(source), []).append((int(voice["cursor"]), *border))
        return heads

    def start_pages(self, stems: list[Stem], frame: int) -> Iterator[tuple[Stem, int]]:
        """What has to be there to start at `frame`, the stems side by side."""
        for step in range(max(self.ready_pages(stem) for stem in stems)):
            for stem in stems:
                if step < self.ready_pages(stem):
                    yield stem, frame // stem.page_frames + step

    def ahead(
        self,
        stem: Stem,
        position: int,
        loop_in: int,
        loop_out: int,
        seconds: float = READ_AHEAD,
    ) -> Iterator[int]:
        """Pages that a playhead at `position` comes to in `seconds`, loop included."""
        first = position // stem.page_frames
        count = math.ceil(seconds * self._desk.sample_rate / stem.page_frames)
        for page in range(first, first + count + 1):
            if loop_out and page * stem.page_frames >= loop_out:
                again = loop_in // stem.page_frames
                yield from range(again, again + count - (page - first) + 1)
                return
            if page >= stem.pages:
                return
            yield page
