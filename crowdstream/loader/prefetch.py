"""Prefetch: the pages that playheads and starts are going to need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crowdstream.audiofile.reader import ClosedFile, StemReader
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import MAX_RATE
from crowdstream.desk.opcodes import FREE

READ_AHEAD = 10.0  # seconds of audio kept ahead of a playhead: an SD card may stall for 5
READY_SECONDS = 0.25  # seconds that must be in memory before a start
URGENT_SECONDS = 2.0  # seconds ahead of a playhead that take precedence even over starts


@dataclass
class Stem:
    """One open file of a track, and its source in the desk."""

    track: int
    source: int
    reader: StemReader | ClosedFile
    page_frames: int
    reported_warnings: int = 0  # number of the reader's warnings already reported

    @property
    def pages(self) -> int:
        """Pages of the whole file."""
        return -(-self.reader.frames // self.page_frames)


class Head(NamedTuple):
    """A position where a source is being read, or is going to be.

    `loop_in`, `loop_out`: bounds of its loop in frames (0, 0: none); `step`: 1 forward, -1
    backward; `back`: file frames to which it may jump at any moment.
    """

    position: int
    loop_in: int = 0
    loop_out: int = 0
    step: int = 1
    jump_targets: tuple[int, ...] = ()


Heads = dict[int, list[Head]]
"""By source number: the positions where it is read."""


class PrefetchPlan:
    """Converts the desk's playheads from frames to pages. Reads the desk and changes nothing.

    `read_ahead`: seconds of audio kept ahead of a playhead.
    """

    def __init__(self, desk: Desk, read_ahead: float = READ_AHEAD) -> None:
        self._desk = desk
        self._ahead = read_ahead

    def window(self, stem: Stem) -> int:
        """Pages that a streamed stem needs: ahead, cue, beginning and the start of a loop."""
        ahead = math.ceil(self._ahead * self._desk.sample_rate / stem.page_frames)
        start = self.ready_pages(stem)
        return ahead + 3 * start + 3

    def ready_pages(self, stem: Stem) -> int:
        """Pages that must be in memory before a start, at any playback rate."""
        return 1 + math.ceil(READY_SECONDS * MAX_RATE * self._desk.sample_rate / stem.page_frames)

    def playheads(self) -> Heads:
        """For every source that plays: where it is read, and where it may jump."""
        heads: Heads = {}
        voices = self._desk.voices
        for slot in np.flatnonzero(voices["state"] != FREE):
            voice = voices[slot]
            places = [self._head(voice)]
            if voice["locked"]:
                # The audible head of keylock: at a loop's end it may be behind the other one.
                places.append(places[0]._replace(position=int(voice["lock_cursor"])))
            for source in voice["sources"][: int(voice["stems"])]:
                heads.setdefault(int(source), []).extend(places)
        return heads

    def _head(self, voice: Any) -> Head:
        loop_in, loop_out = int(voice["loop_in"]), int(voice["loop_out"])
        border = (loop_in, loop_out) if voice["loop"] else (0, 0)
        # A loop that was left may be re-entered, and slip mode may end.
        back: tuple[int, ...] = (loop_in,) if loop_out > loop_in else ()
        if voice["slip"]:
            back += (self._underneath(voice),)
        step = -1 if voice["direction"] < 0 else 1
        return Head(int(voice["cursor"]), *border, step, back)

    def _underneath(self, voice: Any) -> int:
        # Position at which slip mode resumes; for a synced track it follows from clock and grid.
        if not voice["synced"] or voice["grid"] < 0:
            return max(0, int(voice["slip_place"]))
        clock = self._desk.clock
        passed = self._desk.frame - int(clock["tempo_frame"])
        ramp = min(max(0, passed), int(clock["tempo_left"]))
        beat = clock["tempo_beat"] + ramp * (clock["tempo_rate"] + clock["tempo_slope"] * ramp / 2)
        beat = (beat + (passed - ramp) * clock["tempo_end"]) * voice["sync_ratio"]
        grid = self._desk.grids[int(voice["grid"])]
        count = int(grid["count"])
        beats, frames = grid["beats"][:count], grid["frames"][:count]
        beat += voice["slip_offset"]
        at = min(max(int(np.searchsorted(beats, beat, "right")) - 1, 0), max(0, count - 2))
        if count < 2:
            return 0
        each = (frames[at + 1] - frames[at]) / (beats[at + 1] - beats[at])
        place = float(frames[at] + (beat - beats[at]) * each)
        return max(0, int(place)) if math.isfinite(place) else 0

    def start_pages(self, stems: list[Stem], frame: int) -> Iterator[tuple[Stem, int]]:
        """Pages needed to start at `frame`, the stems side by side."""
        ready = [(stem, self.ready_pages(stem)) for stem in stems]
        for step in range(max(count for _, count in ready)):
            for stem, count in ready:
                if step < count:
                    yield stem, frame // stem.page_frames + step

    def ahead(self, stem: Stem, head: Head, seconds: float | None = None) -> Iterable[int]:
        """Pages that a playhead reaches in `seconds` (None: the read-ahead).

        Includes its loop once, and what follows the loop.
        """
        seconds = self._ahead if seconds is None else seconds
        size, step, pages = stem.page_frames, head.step, stem.pages
        page = min(head.position // size, pages - 1) if step < 0 else head.position // size
        count = math.ceil(seconds * self._desk.sample_rate / size) + 1
        if head.loop_out or head.jump_targets:
            return self._with_jumps(stem, head, page, count)
        if not 0 <= page < pages:
            return ()
        # Nearly all playheads are of this kind, and they are looked at each second.
        end = min(page + count, pages) if step > 0 else max(page - count, -1)
        return range(page, end, step)

    def _with_jumps(self, stem: Stem, head: Head, page: int, count: int) -> Iterator[int]:
        # `ahead` for a playhead with a loop, or with frames to which it may jump.
        size, step, pages = stem.page_frames, head.step, stem.pages
        # The page behind the end of the loop, and the page at which the loop repeats.
        border, again = -(-head.loop_out // size), head.loop_in // size
        if step < 0:
            border, again = again - 1, border - 1
        # A playhead that has jumped out of its loop plays on.
        inside = head.position <= head.loop_out if step > 0 else head.position >= head.loop_in - 1
        looped = head.loop_out > 0 and inside
        for _ in range(count):
            if looped and (page - border) * step >= 0:
                looped = False
                page = again
            if not 0 <= page < pages:
                break
            yield page
            page += step
        if head.loop_out:  # the loop may be left at any moment
            for ahead in range(self.ready_pages(stem)):
                if 0 <= border + step * ahead < pages:
                    yield border + step * ahead
        for frame in head.jump_targets:
            for _, page in self.start_pages([stem], frame):
                if page < pages:
                    yield page

    def kept(self, stem: Stem, heads: list[Head]) -> Iterator[int]:
        """Pages that must not be evicted while the stem is read at these positions."""
        for head in heads:
            yield max(0, head.position // stem.page_frames - 1)
            yield from self.ahead(stem, head)
