"""The arena never loses a page, issues it twice, or reuses it while a render may read it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import MAX_PAGES, PAGE_BYTES
from crowdstream.desk.layout import frames_per_page_shift
from crowdstream.desk.pages import Arena, ArenaFull, SourceTooLong
from crowdstream.engine.render import render

PAGES = 12
SOURCES = 3
OUT = np.zeros((8, 2), np.float32)


class ArenaModel(RuleBasedStateMachine):
    """Takes, publishes, evicts and renders at random, and compares with a model of dictionaries."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk.create(PAGES * PAGE_BYTES)
        self.arena = Arena(self.desk)
        for source in range(SOURCES):
            self.arena.describe(source, 8 * 16384, 2, True)
        self.held: set[int] = set()  # taken and not published
        self.table: dict[tuple[int, int], int] = {}
        self.retired: dict[int, int] = {}  # arena page: blocks rendered when it was evicted
        self.blocks = 0

    def _retire(self, place: int) -> None:
        assert place not in self.retired
        self.retired[place] = self.blocks

    @rule()
    def take(self) -> None:
        place = self.arena.take()
        if place is None:
            sure = PAGES - len(self.held) - len(self.table) - len(self.retired)
            assert sure == 0
            assert all(self.blocks - since < 2 for since in self.retired.values())
            return
        assert 0 <= place < PAGES
        assert place not in self.held
        assert place not in self.table.values()
        if place in self.retired:
            # The render that was in progress has ended, and one more.
            assert self.blocks >= self.retired.pop(place) + 2
        self.held.add(place)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), source=st.integers(0, SOURCES - 1), page=st.integers(0, 7))
    def publish(self, data: st.DataObject, source: int, page: int) -> None:
        place = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(place)
        samples = np.full((16384, 2), place + 1, np.int16)
        self.arena.publish(source, page, place, samples)
        if (source, page) in self.table:
            self._retire(self.table[source, page])
        self.table[source, page] = place

    @precondition(lambda self: self.held)
    @rule()
    def give_back(self) -> None:
        self.arena.return_page(self.held.pop())

    @rule(source=st.integers(0, SOURCES - 1), page=st.integers(0, 7))
    def evict(self, source: int, page: int) -> None:
        self.arena.evict(source, page)
        place = self.table.pop((source, page), None)
        if place is not None:
            self._retire(place)

    @rule(source=st.integers(0, SOURCES - 1))
    def forget(self, source: int) -> None:
        self.arena.release_source(source)
        assert not self.desk.sources[source]["used"]
        for key in [key for key in self.table if key[0] == source]:
            self._retire(self.table.pop(key))
        self.arena.describe(source, 8 * 16384, 2, True)

    @rule()
    def block(self) -> None:
        render(self.desk, OUT)
        self.blocks += 1

    @invariant()
    def table_is_the_models(self) -> None:
        for source in range(SOURCES):
            for page in range(8):
                place = self.table.get((source, page))
                entry = int(self.desk.page_table[source, page])
                assert entry == (0 if place is None else place + 1)
                assert self.arena.resident(source, page) == (place is not None)
                if place is not None:
                    assert (self.desk.arena[place].view(np.int16) == place + 1).all()
        assert self.arena.in_use() >= len(self.held) + len(self.table)
        assert self.arena.in_use() <= len(self.held) + len(self.table) + len(self.retired)

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.close()


ArenaModel.TestCase.settings = settings(max_examples=50, stateful_step_count=60, deadline=None)
TestArena = ArenaModel.TestCase


def test_an_evicted_page_is_reused_after_two_blocks_and_not_before() -> None:
    desk = Desk.create(4 * PAGE_BYTES)
    arena = Arena(desk)
    arena.describe(0, 4 * 16384, 2, True)
    for page in range(4):
        place = arena.take()
        assert place is not None
        arena.publish(0, page, place, np.zeros((16384, 2), np.int16))
    assert arena.take() is None
    arena.evict(0, 2)
    for _block in range(2):
        assert arena.take() is None
        assert arena.in_use() == 4
        render(desk, OUT)
    assert arena.in_use() == 3
    assert arena.take() is not None
    desk.close()


def test_the_rest_of_a_page_is_silence() -> None:
    desk = Desk.create(4 * PAGE_BYTES)
    desk.arena[:] = 77
    arena = Arena(desk)
    arena.describe(0, 100, 1, False)
    place = arena.take()
    assert place is not None
    samples = np.arange(100, dtype=np.float32)
    arena.publish(0, 0, place, samples)
    assert np.array_equal(desk.arena[place].view(np.float32)[:100], samples)
    assert not desk.arena[place][400:].any()
    desk.close()


def test_reservations() -> None:
    desk = Desk.create(100 * PAGE_BYTES)
    arena = Arena(desk)
    arena.reserve(60)
    with pytest.raises(ArenaFull, match=r"2.7 MB wanted, 3.9 of 6.6 MB taken .*unload.*--cache-mb"):
        arena.reserve(41)
    assert arena.reserved == 60
    arena.reserve(40)
    arena.release(100)
    assert arena.reserved == 0
    desk.close()


@pytest.mark.parametrize(
    ("int16", "channels", "frames"),
    [(True, 2, 16384), (True, 1, 32768), (False, 2, 8192), (False, 1, 16384)],
)
def test_page_sizes_and_the_longest_file(int16: bool, channels: int, frames: int) -> None:
    desk = Desk.create(0)
    arena = Arena(desk)
    assert arena.describe(5, 1000, channels, int16) == frames
    assert 1 << frames_per_page_shift(0 if int16 else 1, channels) == frames
    assert frames * channels * (2 if int16 else 4) == PAGE_BYTES
    arena.describe(5, MAX_PAGES * frames - 1, channels, int16)
    with pytest.raises(SourceTooLong, match=str(MAX_PAGES * frames)):
        arena.describe(5, MAX_PAGES * frames, channels, int16)
    desk.close()


def test_attacks_are_published_with_their_page() -> None:
    desk = Desk.create(4 * PAGE_BYTES)
    arena = Arena(desk)
    arena.describe(0, 40000, 2, True)
    samples = np.zeros((16384, 2), np.int16)
    for attacks in (np.array([3, 16000], np.uint16), np.arange(31, dtype=np.uint16), None):
        place = arena.take()
        assert place is not None
        arena.publish(0, 1, place, samples, attacks)
        record = desk.attacks[int(desk.page_table[0, 1]) - 1]
        assert arena.needs_attacks(0, 1) == (attacks is None)
        if attacks is not None:
            assert record[0] == len(attacks)
            assert np.array_equal(record[1 : 1 + len(attacks)], attacks)
    arena.set_attacks(0, 1, np.array([7], np.uint16))
    assert not arena.needs_attacks(0, 1) and record[:2].tolist() == [1, 7]
    desk.arena[:] = 255  # the records behind the pages are not part of them
    assert record[:2].tolist() == [1, 7]
    desk.close()
