"""Onset detection in pages, from the first use of keylock on.

Detection takes a tenth of the time that reading a page does, so it is skipped until it is needed.

Measure the loudness of a loaded track in slices while the loader is idle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.audiofile.onsets import CONTEXT, find_onsets
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import INT16
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


SLICE_FRAMES = 16384  # per step: two milliseconds, after which pages may be requested
FIRST_REPORT = 10.0  # s of a streamed track before the first report; doubles


class LoudnessScan:
    """Measures the loudness of the sum of a track's stems, read from their pages.

    `partly`: measure only pages that are in memory anyway, as they appear, from `begin` on.
    """

    def __init__(self, desk: Desk, stems: list[Stem], begin: int = 0, partly: bool = False) -> None:
        self._desk = desk
        self._stems = stems
        self._frames = max(stem.reader.frames for stem in stems)
        self._partly = partly
        self._at = begin if partly else 0
        self._report_at = FIRST_REPORT if partly else float("inf")
        self._loudness = LoudnessMeter(desk.sample_rate)
        self.done = False

    def step(self, heads: Iterable[int] = ()) -> bool:
        """Measure the next slice; False when there is none, or none in memory.

        `heads`: frames at which the track is playing; a partial measurement continues there.
        """
        if self.done:
            return False
        count = min(SLICE_FRAMES, self._frames - self._at)
        if self._partly and not self._resident(self._at, count):
            ahead = [head for head in heads if head > self._at]
            if not ahead or not self._resident(min(ahead), SLICE_FRAMES):
                return False
            self._at = min(ahead)
            self._loudness.mark_gap()
            count = min(SLICE_FRAMES, self._frames - self._at)
        self._loudness.feed(self._sum(self._at, count))
        self._at += count
        self.done = self._at >= self._frames
        return True

    def report(self) -> dict[str, float] | None:
        """The result so far in LUFS, linear sample peak and seconds; None if there is no news."""
        if not self.done and self._loudness.seconds < self._report_at:
            return None
        self._report_at *= 2
        return {
            "lufs": self._loudness.integrated(),
            "short_term": self._loudness.short_term(),
            "momentary": self._loudness.momentary(),
            "peak": self._loudness.peak,
            "seconds": self._loudness.seconds,
        }

    def _resident(self, begin: int, count: int) -> bool:
        for stem in self._stems:
            last = min(begin + count, stem.reader.frames) - 1
            first, size = begin // stem.page_frames, stem.page_frames
            if last >= begin and not self._desk.page_table[
                stem.source, first : last // size + 1
            ].all():
                return False
        return True

    def _sum(self, begin: int, count: int) -> np.ndarray:
        # The sum of the stems as in the engine: a mono stem goes to both sides.
        total = np.zeros((count, 2))
        for stem in self._stems:
            source = self._desk.sources[stem.source]
            channels, int16 = int(source["channels"]), int(source["format"]) == INT16
            done = 0
            while done < count and begin + done < stem.reader.frames:
                page, inside = divmod(begin + done, stem.page_frames)
                some = min(count - done, stem.page_frames - inside)
                place = int(self._desk.page_table[stem.source, page]) - 1
                if place >= 0:  # pages behind the end of a truncated file are missing
                    raw = self._desk.arena[place].view(np.int16 if int16 else np.float32)
                    part = raw[inside * channels : (inside + some) * channels]
                    scale = 1.0 / 32768.0 if int16 else 1.0
                    heard = part.reshape(-1, channels) * scale
                    # The engine, too, replaces samples that are not finite by silence.
                    total[done : done + some] += np.nan_to_num(heard, posinf=0.0, neginf=0.0)
                done += some
        return total
