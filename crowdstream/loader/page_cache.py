"""Eviction: free pages of streamed tracks, except those that are held.

Memory budget: reserve pages for whole tracks, windows of streamed tracks, and jump targets.

Statistics of the page cache: what is held and why, and its hit rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.pages import Arena, ArenaFull
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.prefetch import Heads, PrefetchPlan, Stem

SPARE_PAGES = 64  # kept free while tracks are streamed: an evicted page is free a block later
SPARE_SECONDS = 0.1  # between two attempts to free them


class Eviction:
    """Evicts pages of streamed tracks, but never a page that is about to be played."""

    def __init__(
        self, desk: Desk, arena: Arena, plan: PrefetchPlan, tracks: dict[int, LoadedTrack]
    ) -> None:
        self._desk = desk
        self._arena = arena
        self._plan = plan
        self._tracks = tracks
        self._spared = 0.0

    def keep_spare(self) -> None:
        """Keep some pages free in advance: an evicted page is usable only two blocks later."""
        if not any(track.streamed for track in self._tracks.values()):
            return
        now = time.monotonic()
        if now < self._spared + SPARE_SECONDS:
            return
        self._spared = now
        if self._arena.total - self._arena.in_use() < min(SPARE_PAGES, self._arena.total // 8):
            self.make()

    def make(self) -> None:
        """Evict all pages of streamed tracks that are not held."""
        heads = self._plan.playheads()
        for track in self._tracks.values():
            if not track.streamed:
                continue
            held = self.held(track, heads)
            for stem in track.stems:
                table = self._desk.page_table[stem.source, : stem.pages]
                for page in np.flatnonzero(table).tolist():
                    if page not in held[stem.source]:
                        self._arena.evict(stem.source, page)

    def held(self, track: LoadedTrack, heads: Heads) -> dict[int, set[int]]:
        """Held pages by source: beginning, cue, hot cues and loops, and around playheads."""
        held: dict[int, set[int]] = {stem.source: set() for stem in track.stems}
        for frame in (0, track.cue, *track.places):
            for stem, page in self._plan.start_pages(track.stems, frame):
                held[stem.source].add(page)
        for stem in track.stems:
            held[stem.source].update(self._plan.kept(stem, heads.get(stem.source, [])))
        return held


class MemoryBudget:
    """Reserves pages of the budget. `max_preload`: seconds from which a track is streamed.

    `whole`: read tracks that fit completely; without it, all are streamed.
    """

    def __init__(
        self,
        arena: Arena,
        plan: PrefetchPlan,
        send: Callable[[dict[str, Any]], None],
        whole: bool = True,
        max_preload: float = math.inf,
    ) -> None:
        self._arena = arena
        self._plan = plan
        self._send = send
        self._whole = whole
        self._most = max_preload

    def admit(self, stems: list[Stem], sample_rate: float) -> tuple[bool, int]:
        """Decide whether to stream a track and reserve its pages: all if they fit, else a window.

        Returns whether it is streamed, and the number of pages. Raises `ArenaFull` when not even
        a window fits.
        """
        whole = pages_of(stems)
        seconds = max(stem.reader.frames for stem in stems) / sample_rate
        may = self._whole and seconds < self._most
        if may and self._arena.reserved + whole <= self._arena.total:
            self._arena.reserve(whole)
            return False, whole
        return True, self.reserve(stems, True)

    def reserve(self, stems: list[Stem], streamed: bool) -> int:
        """Reserve the pages of a track, streamed or whole. Raises `ArenaFull`."""
        pages = self.window(stems) if streamed else pages_of(stems)
        self._arena.reserve(pages)
        return pages

    def window(self, stems: list[Stem]) -> int:
        """Number of pages that a streamed track needs."""
        return sum(min(stem.pages, self._plan.window(stem)) for stem in stems)

    def keep(self, track: LoadedTrack, frames: list[int]) -> None:
        """Reserve pages for frames to which a streamed track may jump, as far as there is room.

        Sends `crowded` when some don't fit.
        """
        self._arena.release(track.kept)
        track.kept = 0
        track.places.clear()
        each = sum(min(stem.pages, self._plan.ready_pages(stem)) for stem in track.stems)
        for frame in frames:
            try:
                self._arena.reserve(each)
            except ArenaFull as error:
                self._send({"event": "crowded", "track": track.number, "reason": str(error)})
                break
            track.kept += each
            track.places.append(frame)


def pages_of(stems: list[Stem]) -> int:
    """Number of pages of whole stems."""
    return sum(stem.pages for stem in stems)


class CacheStats:
    """Counts pages. Call `look` a few times a second, and `fetched` for each page that is read.

    A page counts as wanted when a start, a jump or the read-ahead of a playhead requests it, and
    as a hit if it was in memory by then.
    """

    def __init__(
        self, arena: Arena, plan: PrefetchPlan, eviction: Eviction, tracks: dict[int, LoadedTrack]
    ) -> None:
        self._arena = arena
        self._plan = plan
        self._eviction = eviction
        self._tracks = tracks
        self._known: dict[int, set[int]] = {}
        self._fetched: set[tuple[int, int]] = set()
        self.wanted = 0
        self.hits = 0
        self.pinned = 0

    def fetched(self, source: int, page: int) -> None:
        """Record that a page has just been read."""
        self._fetched.add((source, page))

    def count_requests(self) -> None:
        """Count the pages requested since the last call."""
        known, fetched = self._known, self._fetched
        self._known, self._fetched = {}, set()
        self.pinned = 0
        heads = self._plan.playheads()
        for track in self._tracks.values():
            held = self._eviction.held(track, heads)
            for stem in track.stems:
                source = stem.source
                pages = {page for page in held[source] if page < stem.pages}
                there = {page for page in pages if self._arena.resident(source, page)}
                new = pages - known.get(source, set())
                self.pinned += len(there)
                self.wanted += len(new)
                self.hits += sum((source, page) not in fetched for page in new & there)
                self._known[source] = pages

    def report(self) -> dict[str, int]:
        """Pages: total, used, reserved and pinned; evicted, wanted and hits as totals so far."""
        self.count_requests()
        return {
            "total": self._arena.total,
            "used": self._arena.in_use(),
            "reserved": self._arena.reserved,
            "pinned": self.pinned,
            "evicted": self._arena.evicted,
            "wanted": self.wanted,
            "hits": self.hits,
        }
