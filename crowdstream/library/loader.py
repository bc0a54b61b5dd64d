"""Which pages of which stems are in memory: the loader's plan, one page at a time.

A track that fits the budget is read from its cue point to its end and then from its
beginning, and stays. One that does not fit is streamed: the pages ahead of its playheads,
at its cue and at its beginning are kept, the others given back. Work is done page by page,
the most urgent first, so that a start never waits for another file's loading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.layout import FREE, MAX_RATE, PAGE_BYTES
from crowdstream.desk.pages import Arena, SourceTooLong
from crowdstream.library.errors import AudioFileError, UnsupportedAudio
from crowdstream.library.reader import StemReader, open_stem

READ_AHEAD = 10.0  # seconds of sound kept ahead of a playhead: an SD card may stall for 5
READY = 0.25  # seconds that have to be there before a start


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


@dataclass
class Track:
    """The stems of one buffer, and how far they are."""

    number: int
    stems: list[Stem]
    cue: int  # frames
    streamed: bool
    reserved: int
    turn: int = 0  # how many pages from the cue on have been seen to be there
    ready: bool = False
    complete: bool = False

    @property
    def frames(self) -> int:
        """Length of the longest stem."""
        return max(stem.reader.frames for stem in self.stems)


class Loader:
    """Keeps the desk's pages filled. `tell` gets a dict for everything control should know.

    Not thread-safe: call `load`, `cue`, `unload` and `work` from one thread.
    """

    def __init__(self, desk: Desk, tell: Callable[[dict[str, Any]], None]) -> None:
        self._desk = desk
        self._tell = tell
        self._arena = Arena(desk)
        self._tracks: dict[int, Track] = {}

    def load(self, number: int, stems: list[tuple[int, str]], cue: float) -> None:
        """Open the files of track `number` (`stems`: source number and path each).

        `cue`: where it will be started, as a fraction of its length. Answers `opened`, then
        `ready` when it can be started there and `complete` when all of it is in memory; or
        `failed`, and nothing is left of it.
        """
        opened: list[Stem] = []
        try:
            for source, path in stems:
                reader = open_stem(Path(path), round(self._desk.sample_rate))
                opened.append(Stem(source, reader, 0))
                int16 = reader.dtype == "int16"
                try:
                    opened[-1].page_frames = self._arena.describe(
                        source, reader.frames, reader.channels, int16
                    )
                except SourceTooLong as error:
                    raise UnsupportedAudio(Path(path), str(error)) from error
            streamed, pages = self._admit(opened)
        except (AudioFileError, MemoryError) as error:
            for stem in opened:
                stem.reader.close()
                self._desk.sources[stem.source]["used"] = 0
            self._tell({"event": "failed", "track": number, "reason": str(error)})
            return
        track = Track(number, opened, 0, streamed, pages)
        track.cue = min(int(cue * track.frames), track.frames - 1)
        self._tracks[number] = track
        self._tell(
            {
                "event": "opened",
                "track": number,
                "frames": track.frames,
                "streamed": streamed,
                "channels": [stem.reader.channels for stem in opened],
            }
        )

    def cue(self, number: int, frame: int) -> None:
        """Say from where a track will be started next; answers `ready` again."""
        track = self._tracks.get(number)
        if track:
            track.cue = frame
            track.ready = False

    def unload(self, number: int) -> None:
        """Close a track and take its pages back. No voice may be playing it."""
        track = self._tracks.pop(number, None)
        if track is None:
            return
        for stem in track.stems:
            self._arena.forget(stem.source)
            stem.reader.close()
        self._arena.release(track.reserved)
        self._tell({"event": "unloaded", "track": number})

    def work(self) -> bool:
        """Bring in the most urgent page; False when there is nothing to do."""
        for track, stem, page in self._wanted():
            return self._fill(track, stem, page)
        return False

    def status(self) -> dict[str, Any]:
        """Pages of the budget: total, in use, reserved."""
        return {
            "event": "pages",
            "total": self._arena.total,
            "used": self._arena.in_use(),
            "reserved": self._arena.reserved,
        }

    def close(self) -> None:
        """Close every file."""
        for number in list(self._tracks):
            self.unload(number)

    def _admit(self, stems: list[Stem]) -> tuple[bool, int]:
        # Whole if that fits, else a window of it, else refused.
        whole = sum(stem.pages for stem in stems)
        if self._arena.reserved + whole <= self._arena.total:
            self._arena.reserve(whole)
            return False, whole
        window = sum(min(stem.pages, self._window(stem)) for stem in stems)
        self._arena.reserve(window)
        return True, window

    def _window(self, stem: Stem) -> int:
        ahead = math.ceil(READ_AHEAD * self._desk.sample_rate / stem.page_frames)
        start = self._ready_pages(stem)
        return ahead + 2 * start + 3

    def _ready_pages(self, stem: Stem) -> int:
        return 1 + math.ceil(READY * MAX_RATE * self._desk.sample_rate / stem.page_frames)

    def _playheads(self) -> dict[int, list[tuple[int, int, int]]]:
        # For every source that sounds: position, and where a loop would jump.
        heads: dict[int, list[tuple[int, int, int]]] = {}
        voices = self._desk.voices
        for slot in np.flatnonzero(voices["state"] != FREE):
            voice = voices[slot]
            border = (int(voice["loop_in"]), int(voice["loop_out"])) if voice["loop"] else (0, 0)
            for source in voice["sources"][: int(voice["stems"])]:
                heads.setdefault(int(source), []).append((int(voice["cursor"]), *border))
        return heads

    def _wanted(self) -> Iterator[tuple[Track, Stem, int]]:
        # Starts first, then what is about to be heard, then the rest of what fits.
        tracks = list(self._tracks.values())
        for track in tracks:
            if not track.ready and not track.complete:
                yield from self._missing(track, self._start_pages(track, track.cue))
                self._note_ready(track)
            elif not track.ready:
                self._note_ready(track)
        heads = self._playheads()
        for track in tracks:
            if track.complete:
                continue
            for stem in track.stems:
                for position, loop_in, loop_out in heads.get(stem.source, ()):
                    pages = self._ahead(stem, position, loop_in, loop_out)
                    yield from self._missing(track, ((stem, page) for page in pages))
        for track in tracks:
            if track.complete:
                continue
            if track.streamed:
                yield from self._missing(track, self._start_pages(track, 0))
            else:
                yield from self._rest(track)

    def _note_ready(self, track: Track) -> None:
        track.ready = True
        self._tell({"event": "ready", "track": track.number, "cue": track.cue})

    def _missing(
        self, track: Track, pages: Any
    ) -> Iterator[tuple[Track, Stem, int]]:
        for stem, page in pages:
            if page < stem.pages and not self._arena.resident(stem.source, page):
                yield track, stem, page

    def _start_pages(self, track: Track, frame: int) -> Iterator[tuple[Stem, int]]:
        for step in range(max(self._ready_pages(stem) for stem in track.stems)):
            for stem in track.stems:
                if step < self._ready_pages(stem):
                    yield stem, frame // stem.page_frames + step

    def _ahead(self, stem: Stem, position: int, loop_in: int, loop_out: int) -> Iterator[int]:
        first = position // stem.page_frames
        count = math.ceil(READ_AHEAD * self._desk.sample_rate / stem.page_frames)
        for page in range(first, first + count + 1):
            if loop_out and page * stem.page_frames >= loop_out:
                again = loop_in // stem.page_frames
                yield from range(again, again + count - (page - first) + 1)
                return
            if page >= stem.pages:
                return
            yield page

    def _rest(self, track: Track) -> Iterator[tuple[Track, Stem, int]]:
        # The stems side by side, from the cue to the end and round; each page asked for once.
        longest = max(stem.pages for stem in track.stems)
        for turn in range(track.turn, longest):
            for stem in track.stems:
                page = (track.cue // stem.page_frames + turn) % max(1, stem.pages)
                if turn < stem.pages and not self._arena.resident(stem.source, page):
                    track.turn = turn
                    yield track, stem, page
        track.complete = True
        self._tell({"event": "complete", "track": track.number})

    def _fill(self, track: Track, stem: Stem, page: int) -> bool:
        place = self._arena.take()
        if place is None:
            self._make_room()
            place = self._arena.take()
            if place is None:
                return False
        try:
            samples = stem.reader.read(page * stem.page_frames, stem.page_frames)
        except AudioFileError as error:
            self._arena.give_back(place)
            self._give_up(track, str(error))
            return True
        self._arena.publish(stem.source, page, place, samples)
        return True

    def _give_up(self, track: Track, reason: str) -> None:
        # What is resident plays on; nothing more is read.
        track.complete = True
        track.ready = True
        self._tell({"event": "broken", "track": track.number, "reason": reason})

    def _make_room(self) -> None:
        # Only streamed tracks hold pages that can be spared.
        heads = self._playheads()
        for track in self._tracks.values():
            if not track.streamed:
                continue
            keep: dict[int, set[int]] = {stem.source: set() for stem in track.stems}
            for frame in (0, track.cue):
                for stem, page in self._start_pages(track, frame):
                    keep[stem.source].add(page)
            for stem in track.stems:
                wanted = keep[stem.source]
                for position, loop_in, loop_out in heads.get(stem.source, ()):
                    wanted.add(max(0, position // stem.page_frames - 1))
                    wanted.update(self._ahead(stem, position, loop_in, loop_out))
                table = self._desk.page_table[stem.source, : stem.pages]
                for page in np.flatnonzero(table):
                    if int(page) not in wanted:
                        self._arena.evict(stem.source, int(page))


def budget_pages(megabytes: int) -> int:
    """Pages of a budget given in MB (10**6 bytes)."""
    return megabytes * 1_000_000 // PAGE_BYTES
