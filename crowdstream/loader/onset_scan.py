"""Which pages have their attacks looked for, and when: from the first use of keylock on.

It takes a tenth of the time that reading a page does, so it is left out while nobody needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from crowdstream.audiofile.onsets import CONTEXT, find_attacks
from crowdstream.desk.pages import Arena
from crowdstream.loader.prefetch import Heads, Stem

AT_ONCE = 8  # pages of those that were in memory already, between two that are read


class OnsetScan:
    """Finds attacks in pages, once it is told to begin. What it finds depends on the file alone.

    `read(stem, start, count)` reads frames of a stem's file, where its pages are not in memory.
    """

    def __init__(self, arena: Arena, read: Callable[[Stem, int, int], np.ndarray]) -> None:
        self._arena = arena
        self._read = read
        self._on = False
        self._queue: deque[tuple[Stem, int]] = deque()

    def begin(self, stems: list[Stem], heads: Heads) -> None:
        """From now on; what is in memory already comes in turn, first what is heard next."""
        if self._on:
            return
        self._on = True
        waiting: list[tuple[bool, int, int, Stem, int]] = []
        for stem in stems:
            places = [head.position // stem.page_frames for head in heads.get(stem.source, [])]
            for page in range(stem.pages):
                if self._arena.unmarked(stem.source, page):
                    ahead = min(((page - place) % stem.pages for place in places), default=page)
                    waiting.append((not places, ahead, len(waiting), stem, page))
        self._queue.extend((stem, page) for _, _, _, stem, page in sorted(waiting))

    def forget(self, stem: Stem) -> None:
        """A stem is being unloaded."""
        self._queue = deque(entry for entry in self._queue if entry[0] is not stem)

    def work(self) -> bool:
        """Do the next few pages that were in memory before; False when there is none."""
        for done in range(AT_ONCE):
            if not self._queue:
                return done > 0
            stem, page = self._queue.popleft()
            samples = self._arena.published(stem.source, page)
            if samples is None or not self._arena.unmarked(stem.source, page):
                continue
            length = min(stem.page_frames, stem.reader.frames - page * stem.page_frames)
            attacks = self.find(stem, page, samples[:length])
            if attacks is not None:
                self._arena.mark(stem.source, page, attacks)
        return True

    def find(self, stem: Stem, page: int, samples: np.ndarray) -> np.ndarray | None:
        """Attacks of a page's samples, `(frames, channels)`; None while nobody needs them."""
        if not self._on:
            return None
        return find_attacks(samples, self._before(stem, page))

    def _before(self, stem: Stem, page: int) -> np.ndarray:
        # What precedes a page in the file.
        earlier = self._arena.published(stem.source, page - 1) if page > 0 else None
        if earlier is not None:
            return earlier[-CONTEXT:]
        start = page * stem.page_frames
        first = max(0, start - CONTEXT)
        try:
            return self._read(stem, first, start - first)
        except Exception:  # it will be told when the page itself can't be read
            return np.empty((0, stem.reader.channels), np.float32)
