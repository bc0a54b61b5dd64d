"""Pages of stems: their ownership, and when a page may be reused.

The loader owns the arena. It fills a page and publishes it in the page table (release), where the
engine finds it (acquire). To reclaim a page, the loader clears the entry and waits until the engine
has started and finished another block: only then can no render be reading it. A fence between
clearing the entry and reading the block count guarantees this on every processor.

All published state is in the desk, so a new loader finds the work of one that has died.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from crowdstream.desk.atomics import fence, load_acquire, store_release32
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import ATTACKS_UNKNOWN, MAX_PAGES, PAGE_BYTES, SOURCES
from crowdstream.desk.dtypes import CLOCK
from crowdstream.desk.layout import REGIONS, frames_per_page_shift
from crowdstream.desk.opcodes import FLOAT32, INT16


class ArenaFull(MemoryError):
    """The page budget is too small for the request."""


class SourceTooLong(ValueError):
    """A file has more frames than a page table can address."""


_FIELDS = CLOCK.fields
assert _FIELDS is not None
_TABLE = REGIONS["page_table"].offset
_EPOCH = REGIONS["clock"].offset + _FIELDS["epoch"][1]


def _publish(desk: Desk, source: int, page: int, value: int) -> int:
    # Write a page-table entry; return the number of blocks rendered, read after that write.
    store_release32(desk.address + _TABLE + 4 * (source * MAX_PAGES + page), value)
    fence()
    return int(load_acquire(desk.address + _EPOCH))


def _epoch(desk: Desk) -> int:
    # An acquire, so that later writes to a page follow the engine's last read of it.
    return int(load_acquire(desk.address + _EPOCH))


class Arena:
    """The loader's view of the pages. Not for use by two processes or two threads.

    Pages that the desk's page table refers to are in use from the start: an earlier loader
    published them. `evicted` counts the pages that were evicted so far.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.total = len(desk.arena)
        self._retired: deque[tuple[int, int]] = deque()
        self.reserved = 0
        self.evicted = 0
        sources = np.flatnonzero(desk.sources["used"]).tolist()
        held = np.zeros(self.total, bool)
        for source in sources:
            held[self._entries(source)] = True
        free = np.flatnonzero(~held)[::-1].tolist()
        # While something may be playing, the page that was freed last may still be read.
        self._free = [] if sources else free
        if sources:
            epoch = _epoch(desk)
            self._retired.extend((page, epoch + 2) for page in reversed(free))

    def _entries(self, source: int) -> np.ndarray:
        # Arena pages in a source's page table.
        record = self._desk.sources[source]
        pages = min((int(record["frames"]) >> int(record["page_shift"])) + 1, MAX_PAGES)
        table = self._desk.page_table[source, :pages]
        found: np.ndarray = table[(table > 0) & (table <= self.total)] - 1
        return found

    def reserve(self, pages: int) -> None:
        """Reserve `pages` for a track. Raises `ArenaFull`, whose message gives the figures."""
        if self.reserved + pages > self.total:
            mb = PAGE_BYTES / 1e6
            raise ArenaFull(
                f"no memory left: {pages * mb:.1f} MB wanted, {self.reserved * mb:.1f} of "
                f"{self.total * mb:.1f} MB taken (unload a track, or raise --cache-mb)"
            )
        self.reserved += pages

    def release(self, pages: int) -> None:
        """Return pages that were reserved by `reserve`."""
        self.reserved -= pages

    def describe(self, source: int, frames: int, channels: int, int16: bool) -> int:
        """Declare a source and return its frames per page. No page is resident yet."""
        fmt = INT16 if int16 else FLOAT32
        shift = frames_per_page_shift(fmt, channels)
        if frames >> shift >= MAX_PAGES:
            raise SourceTooLong(f"{frames} frames are more than {MAX_PAGES << shift}")
        assert 0 <= source < SOURCES
        record = self._desk.sources[source]
        record["frames"] = frames
        record["format"] = fmt
        record["channels"] = channels
        record["page_shift"] = shift
        record["used"] = 1
        return 1 << shift

    def take(self) -> int | None:
        """Take a page to fill; None while every free page may still be read by a render."""
        if not self._free:
            self.reclaim()
        return self._free.pop() if self._free else None

    def return_page(self, arena_page: int) -> None:
        """Return a page that was taken and not published."""
        self._free.append(arena_page)

    def samples(self, source: int, arena_page: int) -> np.ndarray:
        """A page that was taken, as samples `(frames, channels)` in the source's format."""
        record = self._desk.sources[source]
        dtype = np.int16 if int(record["format"]) == INT16 else np.float32
        channels = int(record["channels"])
        frames = 1 << int(record["page_shift"])
        page: np.ndarray = self._desk.arena[arena_page].view(dtype)
        return page[: frames * channels].reshape(frames, channels)

    def publish(
        self,
        source: int,
        page: int,
        arena_page: int,
        samples: np.ndarray,
        attacks: np.ndarray | None = None,
    ) -> None:
        """Copy `samples` (frames, channels) into the page and make it visible to the engine.

        Samples that were read directly into `samples(source, arena_page)` are not copied. The
        unfilled rest of a page is silence. `attacks`: the frames of the page at which attacks
        begin, ascending, at most `ATTACKS`, uint16; None if the page has not been scanned. A page
        that was published at this position before is evicted.
        """
        target = self.samples(source, arena_page)
        frames = len(samples)
        if not np.may_share_memory(target, samples):
            target[:frames] = samples.reshape(frames, -1)
        target[frames:] = 0
        self._desk.attacks[arena_page, 0] = ATTACKS_UNKNOWN if attacks is None else len(attacks)
        if attacks is not None:
            self._desk.attacks[arena_page, 1 : 1 + len(attacks)] = attacks
        earlier = int(self._desk.page_table[source, page])
        epoch = _publish(self._desk, source, page, arena_page + 1)
        if earlier:
            self._retired.append((earlier - 1, epoch + 2))

    def set_attacks(self, source: int, page: int, attacks: np.ndarray) -> None:
        """Record the attacks of a page that is already published."""
        record = self._desk.attacks[int(self._desk.page_table[source, page]) - 1]
        record[1 : 1 + len(attacks)] = attacks
        fence()  # the engine must not see the count before the attacks
        record[0] = len(attacks)

    def needs_attacks(self, source: int, page: int) -> bool:
        """Whether a page is resident and has not been scanned for attacks."""
        place = int(self._desk.page_table[source, page]) - 1
        return place >= 0 and int(self._desk.attacks[place, 0]) == ATTACKS_UNKNOWN

    def published(self, source: int, page: int) -> np.ndarray | None:
        """The samples `(frames, channels)` of a resident page, or None."""
        place = int(self._desk.page_table[source, page]) - 1
        return self.samples(source, place) if place >= 0 else None

    def resident(self, source: int, page: int) -> bool:
        """Whether the engine can read this page."""
        return bool(self._desk.page_table[source, page])

    def evict(self, source: int, page: int) -> None:
        """Evict a page of a source; it becomes free when no render can be reading it."""
        entry_value = int(self._desk.page_table[source, page])
        if entry_value:
            epoch = _publish(self._desk, source, page, 0)
            self._retired.append((entry_value - 1, epoch + 2))
            self.evicted += 1

    def release_source(self, source: int) -> None:
        """Evict all pages of a source and remove its declaration. No voice may be using it."""
        frames = int(self._desk.sources[source]["frames"])
        shift = int(self._desk.sources[source]["page_shift"])
        table = self._desk.page_table[source, : (frames >> shift) + 1]
        for page in np.flatnonzero(table):
            self.evict(source, int(page))
        self._desk.sources[source]["used"] = 0
        # The page table of a file of several hours takes 200 KB, which is no longer needed.
        self._desk.discard(table)

    def sources(self) -> list[int]:
        """Numbers of the declared sources."""
        return [int(source) for source in np.flatnonzero(self._desk.sources["used"])]

    def in_use(self) -> int:
        """Number of pages that are published or may still be read."""
        self.reclaim()
        return self.total - len(self._free)

    def reclaim(self) -> None:
        """Free the pages that no render can be reading; `take` calls it when no page is free."""
        epoch = _epoch(self._desk)
        while self._retired and self._retired[0][1] <= epoch:
            self._free.append(self._retired.popleft()[0])
