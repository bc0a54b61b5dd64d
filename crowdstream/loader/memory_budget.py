"""Memory budget: reserve pages for whole tracks, windows of streamed tracks, and jump targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from crowdstream.desk.pages import Arena, ArenaFull
from crowdstream.loader.loaded_track import LoadedTrack
from crowdstream.loader.prefetch import PrefetchPlan, Stem


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
