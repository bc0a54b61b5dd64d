"""Eviction: free pages of streamed tracks, except those that are held."""

from __future__ import annotations

import time

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.pages import Arena
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.prefetch import Heads, PrefetchPlan

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
