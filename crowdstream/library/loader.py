"""Which pages of which stems are in memory: the loader's plan, one page at a time.

A track that fits the budget is read from its cue point to its end and then from its
beginning, and stays. One that does not fit is streamed: the pages ahead of its playheads,
at its cue and at its beginning are kept, the others given back. Work is done page by page,
the most urgent first, so that a start never waits for another file's loading.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.pages import Arena, ArenaFull, SourceTooLong
from crowdstream.desk.sizes import PAGE_BYTES
from crowdstream.library.errors import AudioFileError, UnsupportedAudio, printable
from crowdstream.library.grids import describe_grid
from crowdstream.library.marker import Marker
from crowdstream.library.measure import Measure
from crowdstream.library.plan import READ_AHEAD, URGENT, Heads, Plan, Stem
from crowdstream.library.reader import open_stem

LITTLE_AHEAD = 5.0  # seconds where little is to be read ahead: one second at rate 4, and some
SPARE_PAGES = 64  # kept free while tracks are streamed: a page given back is free a block later
SPARE_SECONDS = 0.1  # between two attempts to have them


@dataclass
class Track:
    """The stems of one buffer, and how far they are."""

    number: int
    stems: list[Stem]
    cue: int  # frames
    streamed: bool
    reserved: int
    kept: int = 0  # pages set aside for `places`
    places: list[int] = field(default_factory=list)  # frames it may jump to, such as hot cues
    turn: int = 0  # how many pages from the cue on have been seen to be there
    ready: bool = False
    complete: bool = False
    measure: Measure | None = None  # of its loudness, from when it can be measured

    @property
    def frames(self) -> int:
        """Length of the longest stem."""
        return max(stem.reader.frames for stem in self.stems)


class Loader:
    """Keeps the desk's pages filled. `tell` gets a dict for everything control should know.

    `whole`: what fits is read whole. Without, every track is streamed and little is read ahead:
    for one who calls `work_all` once a second of sound, and wants no more read than is heard.
    Not thread-safe: call `load`, `cue`, `unload` and `work` from one thread.
    """

    def __init__(
        self, desk: Desk, tell: Callable[[dict[str, Any]], None], whole: bool = True
    ) -> None:
        self._whole = whole
        self._desk = desk
        self._tell = tell
        self._arena = Arena(desk)
        self._plan = Plan(desk)
        self._marker = Marker(self._arena)
        self._tracks: dict[int, Track] = {}
        self._spared = 0.0

    def load(
        self, number: int, stems: list[tuple[int, str]], cue: float, roots: Sequence[Path] = ()
    ) -> None:
        """Open the files of track `number` (`stems`: source number and path each).

        `roots`: folders that they have to lie in, if any: control has looked, but what a path
        leads to may have changed since.

        `cue`: where it will be started, as a fraction of its length. Answers `opened`, then
        `ready` when it can be started there and `complete` when all of it is in memory; or
        `failed`, and nothing is left of it.
        """
        opened: list[Stem] = []
        try:
            for source, path in stems:
                reader = open_stem(Path(path), round(self._desk.sample_rate), roots)
                opened.append(Stem(source, reader, 0))
                int16 = reader.dtype == "int16"
                try:
                    opened[-1].page_frames = self._arena.describe(
                        source, reader.frames, reader.channels, int16
                    )
                except SourceTooLong as error:
                    raise UnsupportedAudio(Path(path), str(error)) from error
            streamed, pages = self._admit(opened)
        except Exception as error:
            for stem in opened:
                stem.reader.close()
                self._desk.sources[stem.source]["used"] = 0
            self._tell({"event": "failed", "track": number, "reason": _reason(error, stems)})
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
                **describe_grid([Path(path) for _, path in stems], roots),
            }
        )

    def cue(self, number: int, frame: int) -> None:
        """Say from where a track will be started next; answers `ready` again."""
        track = self._tracks.get(number)
        if track:
            track.cue = frame
            track.ready = False
            track.turn = 0  # it counts from the cue

    def keep(self, number: int, frames: list[int]) -> None:
        """Say to which other places a track may jump; those of a streamed one stay in memory.

        As many as there is memory for, in this order; answers `crowded` when not all have room.
        """
        track = self._tracks.get(number)
        if track is None or not track.streamed:
            return
        self._arena.release(track.kept)
        track.kept = 0
        track.places.clear()
        each = sum(min(stem.pages, self._plan.ready_pages(stem)) for stem in track.stems)
        for frame in frames:
            try:
                self._arena.reserve(each)
            except ArenaFull as error:
                self._tell({"event": "crowded", "track": number, "reason": str(error)})
                break
            track.kept += each
            track.places.append(frame)

    def handle(self, request: dict[str, Any]) -> None:
        """Do what control asks for; `do` is load, cue, keep, unload or attacks."""
        name, number = request["do"], int(request["track"])
        if name == "load":
            stems = [(int(source), str(path)) for source, path in request["stems"]]
            roots = [Path(root) for root in request["roots"]]
            self.load(number, stems, float(request["cue"]), roots)
        elif name == "cue":
            self.cue(number, int(request["frame"]))
        elif name == "keep":
            self.keep(number, [int(frame) for frame in request["frames"]])
        elif name == "unload":
            self.unload(number)
        elif name == "attacks":
            self.find_attacks()

    def unload(self, number: int) -> None:
        """Close a track and take its pages back. No voice may be playing it."""
        track = self._tracks.pop(number, None)
        if track is None:
            return
        for stem in track.stems:
            self._marker.forget(stem)
            self._arena.forget(stem.source)
            stem.reader.close()
        self._arena.release(track.reserved + track.kept)
        self._tell({"event": "unloaded", "track": number})

    def work(self) -> bool:
        """Bring in the most urgent page; False when there is nothing to do, or no room."""
        self._keep_spare()
        marked = self._marker.work()
        for track, stem, page in self._wanted():
            return self._fill(track, stem, page) or marked
        return marked

    def find_attacks(self) -> None:
        """Look for the attacks of all that is and will be read: keylock is going to be used."""
        stems = [stem for track in self._tracks.values() for stem in track.stems]
        self._marker.begin(stems, self._plan.playheads())

    def measure(self) -> bool:
        """Measure a slice of a track's loudness; False when there is nothing to measure.

        Takes about 2 ms, after which pages may be wanted: to be called when `work` had nothing
        to do. Answers `loudness` when a track is measured; of a streamed one, what is heard of
        it is, and that is told several times.
        """
        heads: Heads | None = None
        for track in self._tracks.values():
            if track.measure is None and (track.complete or (track.streamed and track.ready)):
                partly = track.streamed
                track.measure = Measure(self._desk, track.stems, track.cue, partly)
            if track.measure is None or track.measure.done:
                continue
            if track.streamed and heads is None:
                heads = self._plan.playheads()
            places = (heads or {}).get(track.stems[0].source, ())
            if track.measure.step(head.position for head in places):
                report = track.measure.report()
                if report:
                    self._tell({"event": "loudness", "track": track.number, **report})
                return True
        return False

    def work_all(self) -> None:
        """Bring in all that is wanted, while no playhead moves and nothing else is asked for."""
        while self._marker.work():
            pass
        if not self._whole:
            self._make_room()
            self._arena.reclaim()  # to be used next: they are still in the processor's cache
        while self._fill_wanted():
            pass

    def _fill_wanted(self) -> bool:
        # True when a file turned out bad: then other things are wanted.
        for track, stem, page in self._wanted():
            if not self._fill(track, stem, page):
                return False
            if track.complete:
                return True
        return False

    def urgent(self) -> bool:
        """Whether a page is missing that is about to be heard."""
        return next(self._soon(self._plan.playheads()), None) is not None

    def watching(self) -> bool:
        """Whether playheads have to be looked at, because not all of a track is there."""
        return any(not track.complete for track in self._tracks.values())

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
        if self._whole and self._arena.reserved + whole <= self._arena.total:
            self._arena.reserve(whole)
            return False, whole
        window = sum(min(stem.pages, self._plan.window(stem)) for stem in stems)
        self._arena.reserve(window)
        return True, window

    def _wanted(self) -> Iterator[tuple[Track, Stem, int]]:
        # What is heard next, then starts, then what is heard later, then the rest of what fits.
        tracks = list(self._tracks.values())
        if all(track.complete and track.ready for track in tracks):
            return
        heads = self._plan.playheads()
        if self._whole:
            yield from self._soon(heads)
        for track in tracks:
            if not track.ready and not track.complete:
                yield from self._missing(track, self._plan.start_pages(track.stems, track.cue))
                self._note_ready(track)
            elif not track.ready:
                self._note_ready(track)
        yield from self._heard(heads, READ_AHEAD if self._whole else LITTLE_AHEAD)
        for track in tracks:
            if track.complete or not self._whole:
                continue
            if track.streamed:
                for frame in (0, *track.places):
                    yield from self._missing(track, self._plan.start_pages(track.stems, frame))
            else:
                yield from self._rest(track)

    def _soon(self, heads: Heads) -> Iterator[tuple[Track, Stem, int]]:
        return self._heard(heads, URGENT)

    def _heard(self, heads: Heads, seconds: float) -> Iterator[tuple[Track, Stem, int]]:
        # What the playheads come to within `seconds`.
        for track in list(self._tracks.values()):
            if track.complete:
                continue
            for stem in track.stems:
                for head in heads.get(stem.source, ()):
                    pages = self._plan.ahead(stem, head, seconds)
                    yield from self._missing(track, ((stem, page) for page in pages))

    def _note_ready(self, track: Track) -> None:
        track.ready = True
        self._tell({"event": "ready", "track": track.number, "cue": track.cue})

    def _missing(
        self, track: Track, pages: Any
    ) -> Iterator[tuple[Track, Stem, int]]:
        for stem, page in pages:
            if page < stem.pages and not self._arena.resident(stem.source, page):
                yield track, stem, page

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
            into = self._arena.samples(stem.source, place)
            samples = stem.reader.read(page * stem.page_frames, stem.page_frames, into)
        except Exception as error:
            self._arena.give_back(place)
            self._give_up(track, _reason(error, [(stem.source, str(stem.reader.path))]))
            return True
        attacks = self._marker.find(stem, page, samples)
        self._arena.publish(stem.source, page, place, samples, attacks)
        return True

    def _give_up(self, track: Track, reason: str) -> None:
        # What is resident plays on; nothing more is read.
        track.complete = True
        track.ready = True
        self._tell({"event": "broken", "track": track.number, "reason": reason})

    def _keep_spare(self) -> None:
        # A page given back can be used two blocks later: a start should not wait for that.
        if not any(track.streamed for track in self._tracks.values()):
            return
        now = time.monotonic()
        if now < self._spared + SPARE_SECONDS:
            return
        self._spared = now
        if self._arena.total - self._arena.in_use() < min(SPARE_PAGES, self._arena.total // 8):
            self._make_room()

    def _make_room(self) -> None:
        # Only streamed tracks hold pages that can be spared.
        heads = self._plan.playheads()
        for track in self._tracks.values():
            if not track.streamed:
                continue
            keep: dict[int, set[int]] = {stem.source: set() for stem in track.stems}
            for frame in (0, track.cue, *track.places):
                for stem, page in self._plan.start_pages(track.stems, frame):
                    keep[stem.source].add(page)
            for stem in track.stems:
                wanted = keep[stem.source]
                wanted.update(self._plan.kept(stem, heads.get(stem.source, [])))
                table = self._desk.page_table[stem.source, : stem.pages]
                for page in np.flatnonzero(table).tolist():
                    if page not in wanted:
                        self._arena.evict(stem.source, page)


def _reason(error: Exception, stems: list[tuple[int, str]]) -> str:
    if isinstance(error, AudioFileError | ArenaFull):
        return str(error)
    paths = ", ".join(printable(path) for _, path in stems)
    if isinstance(error, MemoryError):
        return f"{paths}: this machine has no memory left to decode it"
    return f"{paths}: it can't be read ({type(error).__name__}: {error})"


def budget_pages(megabytes: int) -> int:
    """Pages of a budget given in MB (10**6 bytes)."""
    return megabytes * 1_000_000 // PAGE_BYTES
