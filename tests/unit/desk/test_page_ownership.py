"""Page ownership in the arena without an engine: when a page may be reused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crowdstream.desk import pages
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import ATTACKS, ATTACKS_UNKNOWN, MAX_PAGES, PAGE_BYTES, SOURCES
from crowdstream.desk.opcodes import FLOAT32, INT16
from crowdstream.desk.pages import Arena, ArenaFull, SourceTooLong

PAGES = 6
FRAMES = 16384  # per page, 16 bits, stereo
SILENCE = np.zeros((FRAMES, 2), np.int16)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(PAGES * PAGE_BYTES)
    yield made
    made.close()


@pytest.fixture
def arena(desk: Desk) -> Arena:
    """An arena with one source of four pages, none of them resident."""
    made = Arena(desk)
    made.describe(0, 3 * FRAMES + 5, 2, True)
    return made


def take(arena: Arena) -> int:
    place = arena.take()
    assert place is not None
    return place


def blocks(desk: Desk, count: int) -> None:
    """Pretend that the engine has rendered `count` more blocks."""
    desk.clock["epoch"] += count


def free(arena: Arena) -> list[int]:
    found = []
    while (place := arena.take()) is not None:
        found.append(place)
    return found


# --- what is free -----------------------------------------------------------------------------


def test_a_new_arena_issues_all_pages_from_the_first(desk: Desk) -> None:
    arena = Arena(desk)
    assert (arena.total, arena.reserved, arena.evicted, arena.in_use()) == (PAGES, 0, 0, 0)
    assert free(arena) == list(range(PAGES))
    assert arena.in_use() == PAGES


def test_a_returned_page_is_issued_next(arena: Arena) -> None:
    first, second = take(arena), take(arena)
    assert arena.in_use() == 2
    arena.return_page(first)
    assert arena.in_use() == 1
    assert take(arena) == first and take(arena) == second + 1


@pytest.mark.parametrize("way", ["evict", "replace", "forget"])
def test_an_evicted_page_is_free_after_a_complete_block(
    desk: Desk, arena: Arena, way: str
) -> None:
    place = take(arena)
    arena.publish(0, 1, place, SILENCE)
    others = free(arena)
    assert len(others) == PAGES - 1
    blocks(desk, 5)
    if way == "evict":
        arena.evict(0, 1)
    elif way == "forget":
        arena.release_source(0)
    else:
        arena.publish(0, 1, others[0], SILENCE)
    assert arena.evicted == (0 if way == "replace" else 1)
    assert int(desk.page_table[0, 1]) == (others[0] + 1 if way == "replace" else 0)
    assert arena.resident(0, 1) is (way == "replace")
    for _ in range(2):
        assert arena.take() is None and arena.in_use() == PAGES
        blocks(desk, 1)
    assert arena.in_use() == PAGES - 1
    assert arena.take() == place


def test_pages_become_free_in_the_order_of_their_eviction(
    desk: Desk, arena: Arena
) -> None:
    places = free(arena)
    for page in range(3):
        arena.publish(0, page, places[page], SILENCE)
    for page in range(3):
        arena.evict(0, page)
        blocks(desk, 1)
    assert arena.take() == places[1], "the two that are free; the one freed last is taken first"
    assert arena.take() == places[0]
    assert arena.take() is None
    blocks(desk, 1)
    assert arena.take() == places[2]
    assert arena.evicted == 3


def test_taking_away_what_is_not_there_does_nothing(arena: Arena) -> None:
    arena.evict(0, 2)
    assert arena.evicted == 0 and arena.in_use() == 0 and not arena._retired


def test_the_block_count_is_read_after_the_entry_is_visible(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a block that started with the old entry would not be waited for."""
    steps: list[str] = []

    def to_state(name: str, made: Any) -> Any:
        def step(*arguments: Any) -> Any:
            steps.append(name)
            return made(*arguments)

        return step

    for name in ("store_release32", "fence", "load_acquire"):
        monkeypatch.setattr(pages, name, to_state(name, getattr(pages, name)))
    arena.publish(0, 0, 0, SILENCE)
    assert steps == ["store_release32", "fence", "load_acquire"]
    arena.evict(0, 0)
    assert steps == ["store_release32", "fence", "load_acquire"] * 2


# --- a loader that takes over from a dead one ------------------------------------------------


def test_pages_published_by_an_earlier_loader_are_in_use(desk: Desk, arena: Arena) -> None:
    places = [take(arena) for _ in range(3)]
    arena.publish(0, 0, places[0], SILENCE)
    arena.publish(0, 3, places[2], SILENCE)
    blocks(desk, 7)
    later = Arena(desk)
    assert later.take() is None and later.in_use() == PAGES, "a render may be reading a freed page"
    blocks(desk, 1)
    assert later.take() is None
    blocks(desk, 1)
    assert later.in_use() == 2
    assert sorted(free(later)) == [1, 3, 4, 5]
    assert later.published(0, 0) is not None and later.published(0, 3) is not None


def test_a_later_loader_takes_the_first_pages_first(desk: Desk, arena: Arena) -> None:
    arena.publish(0, 0, take(arena), SILENCE)
    later = Arena(desk)
    assert [place for place, _epoch in later._retired] == [1, 2, 3, 4, 5]
    assert {epoch for _place, epoch in later._retired} == {2}


def test_only_table_entries_inside_the_arena_hold_a_page(desk: Desk, arena: Arena) -> None:
    desk.page_table[0, :4] = [PAGES + 1, PAGES, -3, 1]
    desk.page_table[0, 4] = 2  # beyond the end of the file
    desk.page_table[1, 0] = 3  # of an undeclared source
    later = Arena(desk)
    blocks(desk, 2)
    assert sorted(free(later)) == [1, 2, 3, 4]


def test_a_damaged_length_does_not_read_beyond_the_table(desk: Desk) -> None:
    arena = Arena(desk)
    arena.describe(SOURCES - 1, MAX_PAGES * FRAMES - 1, 2, True)
    desk.page_table[SOURCES - 1, MAX_PAGES - 1] = 2
    desk.sources[SOURCES - 1]["frames"] = 1 << 60  # as a dead loader might have left it
    later = Arena(desk)
    blocks(desk, 2)
    assert 1 not in free(later)


# --- reservations -----------------------------------------------------------------------------


def test_reservations_are_limited_to_the_arena(arena: Arena) -> None:
    arena.reserve(PAGES - 1)
    with pytest.raises(ArenaFull, match=r"0\.1 MB wanted, 0\.3 of 0\.4 MB taken"):
        arena.reserve(2)
    arena.reserve(1)
    assert arena.reserved == PAGES
    arena.release(4)
    assert arena.reserved == 2
    arena.reserve(4)
    with pytest.raises(ArenaFull):
        arena.reserve(1)


# --- sources ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("int16", "channels", "fmt", "shift"),
    [(True, 2, INT16, 14), (True, 1, INT16, 15), (False, 2, FLOAT32, 13), (False, 1, FLOAT32, 14)],
)
def test_a_source_is_declared_with_its_format(
    desk: Desk, int16: bool, channels: int, fmt: int, shift: int
) -> None:
    arena = Arena(desk)
    assert arena.sources() == []
    assert arena.describe(7, 1234, channels, int16) == 1 << shift
    record = desk.sources[7]
    found = {name: int(record[name]) for name in ("frames", "format", "channels", "page_shift")}
    assert found == {"frames": 1234, "format": fmt, "channels": channels, "page_shift": shift}
    assert arena.sources() == [7] and int(record["used"]) == 1
    samples = arena.samples(7, 2)
    assert samples.shape == (1 << shift, channels)
    assert samples.dtype == (np.int16 if int16 else np.float32)
    samples[:] = 3
    assert desk.arena[2].any() and not desk.arena[1].any() and not desk.arena[3].any()


def test_a_file_longer_than_a_page_table_is_refused(desk: Desk) -> None:
    arena = Arena(desk)
    arena.describe(0, MAX_PAGES * FRAMES - 1, 2, True)
    most = MAX_PAGES * FRAMES
    with pytest.raises(SourceTooLong):
        arena.describe(1, most, 2, True)
    with pytest.raises(SourceTooLong, match=f"^{most + 9} frames are more than {most}$"):
        arena.describe(1, most + 9, 2, True)
    assert arena.sources() == [0]


@pytest.mark.parametrize("source", [-1, SOURCES])
def test_a_source_number_out_of_range_is_refused(desk: Desk, source: int) -> None:
    with pytest.raises(AssertionError):
        Arena(desk).describe(source, 10, 2, True)
    Arena(desk).describe(0, 10, 2, True)
    Arena(desk).describe(SOURCES - 1, 10, 2, True)


def test_the_memory_of_a_removed_page_table_is_returned(
    desk: Desk, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    monkeypatch.setattr(desk, "discard", given.append)
    arena.describe(1, 5 * FRAMES, 2, True)
    arena.release_source(1)
    [table] = given
    assert len(table) == 6 and np.shares_memory(table, desk.page_table[1])


def test_removing_a_source_evicts_its_pages(desk: Desk, arena: Arena) -> None:
    arena.describe(1, 100, 2, True)
    places = [take(arena) for _ in range(5)]
    for page in range(4):
        arena.publish(0, page, places[page], SILENCE)
    arena.publish(1, 0, places[4], SILENCE)
    arena.release_source(0)
    assert arena.sources() == [1] and int(desk.sources[0]["used"]) == 0
    assert not desk.page_table[0].any()
    assert arena.evicted == 4 and arena.resident(1, 0)
    blocks(desk, 2)
    assert arena.in_use() == 1
    assert Arena(desk)._entries(1).tolist() == [places[4]]


# --- contents ---------------------------------------------------------------------------------


def test_the_engine_finds_published_samples(desk: Desk, arena: Arena) -> None:
    place = take(arena)
    desk.arena[:] = 9
    samples = np.arange(2 * 10, dtype=np.int16).reshape(10, 2)
    assert not arena.resident(0, 2) and arena.published(0, 2) is None
    arena.publish(0, 2, place, samples)
    assert int(desk.page_table[0, 2]) == place + 1
    assert np.flatnonzero(desk.page_table[0, :5]).tolist() == [2]
    shown = arena.published(0, 2)
    assert shown is not None and np.array_equal(shown[:10], samples)
    assert not shown[10:].any(), "the rest is silence"
    assert (desk.arena[place + 1] == 9).all()
    assert arena.resident(0, 2) is True and arena.resident(0, 1) is False


def test_the_first_page_of_the_arena_is_usable(arena: Arena) -> None:
    arena.publish(0, 0, 0, SILENCE)
    assert arena.resident(0, 0) and arena.published(0, 0) is not None
    assert arena.needs_attacks(0, 0)
    arena.evict(0, 0)
    assert arena.published(0, 0) is None and not arena.needs_attacks(0, 0)


def test_mono_samples_may_be_one_dimensional(desk: Desk) -> None:
    arena = Arena(desk)
    arena.describe(0, 100, 1, False)
    arena.publish(0, 0, 3, np.linspace(0.0, 1.0, 50, dtype=np.float32))
    shown = arena.published(0, 0)
    assert shown is not None and shown.shape == (16384, 1)
    assert np.array_equal(shown[:50, 0], np.linspace(0.0, 1.0, 50, dtype=np.float32))


def test_samples_read_directly_into_the_page_are_kept(arena: Arena) -> None:
    place = take(arena)
    page = arena.samples(0, place)
    page[:] = 5
    arena.publish(0, 0, place, page[:100])
    assert (page[:100] == 5).all() and not page[100:].any()


# --- attacks ----------------------------------------------------------------------------------


def test_a_page_records_its_attacks(desk: Desk, arena: Arena) -> None:
    attacks = np.array([3, 700, 16000], np.uint16)
    desk.attacks[:] = 44
    arena.publish(0, 0, 2, SILENCE, attacks)
    assert desk.attacks[2, :5].tolist() == [3, 3, 700, 16000, 44]
    assert not arena.needs_attacks(0, 0)
    arena.publish(0, 1, 4, SILENCE)
    assert int(desk.attacks[4, 0]) == ATTACKS_UNKNOWN and arena.needs_attacks(0, 1)
    assert (desk.attacks[3] == 44).all() and (desk.attacks[5] == 44).all()
    arena.publish(0, 1, 5, SILENCE, np.zeros(0, np.uint16))
    assert int(desk.attacks[5, 0]) == 0 and not arena.needs_attacks(0, 1)


def test_the_attacks_of_a_page_can_be_recorded_later(desk: Desk, arena: Arena) -> None:
    arena.publish(0, 0, 2, SILENCE)
    assert arena.needs_attacks(0, 0) is True
    arena.set_attacks(0, 0, np.arange(ATTACKS, dtype=np.uint16))
    assert desk.attacks[2].tolist() == [ATTACKS, *range(ATTACKS)]
    assert arena.needs_attacks(0, 0) is False
    desk.attacks[-1, 0] = ATTACKS_UNKNOWN
    assert arena.needs_attacks(0, 1) is False, "a missing page has no attacks to find"


def test_attacks_are_visible_before_their_count(
    desk: Desk, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena.publish(0, 0, 2, SILENCE)
    seen: list[list[int]] = []
    monkeypatch.setattr(pages, "fence", lambda: seen.append(desk.attacks[2, :3].tolist()))
    arena.set_attacks(0, 0, np.array([5, 6], np.uint16))
    assert seen == [[ATTACKS_UNKNOWN, 5, 6]]
