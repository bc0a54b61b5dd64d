"""Onset detection in pages, from the first use of keylock on.

Detection takes a tenth of the time that reading a page does, so it is skipped until it is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from crowdstream.audiofile.onsets import CONTEXT, find_onsets
from crowdstream.desk.pages import Arena
from crowdstream.loader.prefetch import Heads, Stem

PAGES_PER_STEP = 8  # pages that were in memory already, processed between two reads


class OnsetScan:
    """Finds onsets in pages once it has been started. Results depend on the file alone.

    `read(stem, start, count)` reads frames of a stem's file where its pages are not in memory.
    """

    def __init__(self, arena: Arena, read: Callable[[Stem, int, int], np.ndarray]) -> None:
        self._arena = arena
        self._read = read
        self._on = False
        self._queue: deque[tuple[Stem, int]] = deque()

    def begin(self, stems: list[Stem], heads: Heads) -> None:
        """Start detection; pages that are in memory already are queued in playing order."""
        if self._on:
            return
        self._on = True
        waiting: list[tuple[bool, int, int, Stem, int]] = []
        for stem in stems:
            places = [head.position // stem.page_frames for head in heads.get(stem.source, [])]
            for page in range(stem.pages):
                if self._arena.needs_attacks(stem.source, page):
                    ahead = min(((page - place) % stem.pages for place in places), default=page)
                    waiting.append((not places, ahead, len(waiting), stem, page))
        self._queue.extend((stem, page) for _, _, _, stem, page in sorted(waiting))

    def forget(self, stem: Stem) -> None:
        """Drop a stem that is being unloaded from the queue."""
        self._queue = deque(entry for entry in self._queue if entry[0] is not stem)

    def work(self) -> bool:
        """Process the next few queued pages; False when there are none."""
        for done in range(PAGES_PER_STEP):
            if not self._queue:
                return done > 0
            stem, page = self._queue.popleft()
            samples = self._arena.published(stem.source, page)
            if samples is None or not self._arena.needs_attacks(stem.source, page):
                continue
            length = min(stem.page_frames, stem.reader.frames - page * stem.page_frames)
            attacks = self.find(stem, page, samples[:length])
            if attacks is not None:
                self._arena.set_attacks(stem.source, page, attacks)
        return True

    def find(self, stem: Stem, page: int, samples: np.ndarray) -> np.ndarray | None:
        """Onsets in a page's samples of shape `(frames, channels)`; None before the start."""
        if not self._on:
            return None
        return find_onsets(samples, self._before(stem, page))

    def _before(self, stem: Stem, page: int) -> np.ndarray:
        # The samples that precede a page in the file.
        earlier = self._arena.published(stem.source, page - 1) if page > 0 else None
        if earlier is not None:
            return earlier[-CONTEXT:]
        start = page * stem.page_frames
        first = max(0, start - CONTEXT)
        try:
            return self._read(stem, first, start - first)
        except Exception:  # reported when the page itself can't be read
            return np.empty((0, stem.reader.channels), np.float32)
