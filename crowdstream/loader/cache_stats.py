"""Statistics of the page cache: what is held and why, and its hit rate."""

from __future__ import annotations

from crowdstream.desk.pages import Arena
from crowdstream.loader.eviction import Eviction
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.prefetch import PrefetchPlan


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
