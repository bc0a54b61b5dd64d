"""The shared block: all processes use the same layout, and any other layout is rejected."""

from __future__ import annotations

import os

import numpy as np
import pytest

from crowdstream.desk import constants, dtypes, layout, ramps
from crowdstream.desk.block import Desk, DeskError
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.layout import ARENA_OFFSET, REGIONS
from tests.support.held_resources import nothing_left_behind


def test_regions_are_aligned_and_do_not_overlap() -> None:
    end = 0
    for region in REGIONS.values():
        assert region.offset >= end, region.name
        assert region.offset % 64 == 0, region.name
        end = region.offset + region.dtype.itemsize * int(np.prod(region.shape))
    assert end <= ARENA_OFFSET
    assert ARENA_OFFSET % PAGE_BYTES == 0


def test_atomic_fields_are_aligned_and_on_separate_cache_lines() -> None:
    rings = dtypes.RINGS.fields
    clock = dtypes.CLOCK.fields
    assert rings and clock
    counters = [rings[n][1] for n in ("command_head", "command_tail", "event_head", "event_tail")]
    assert len({offset // 64 for offset in counters}) == 4
    assert all(clock[name][1] % 8 == 0 for name in ("epoch", "frame", "stamp"))


def test_another_process_sees_the_same_memory() -> None:
    desk = Desk.create(3 * PAGE_BYTES, 48000.0)
    other = Desk(os.dup(desk.fd))
    assert len(other.arena) == len(desk.arena) == 4  # at least one page a deck
    assert other.sample_rate == 48000.0
    desk.voices[3]["play"] = 12345
    desk.arena[2, 7] = 99
    assert int(other.voices[3]["play"]) == 12345
    assert int(other.arena[2, 7]) == 99
    assert desk.address % 64 == 0
    other.close()
    assert int(desk.voices[3]["play"]) == 12345
    desk.close()


def test_a_new_desk_has_neutral_values() -> None:
    desk = Desk.create(0)
    expected = np.ones(ramps.RAMPS)
    expected[list(ramps.NEUTRAL)] = list(ramps.NEUTRAL.values())
    assert np.array_equal(desk.ramps["value"], expected)
    assert np.array_equal(desk.ramps["target"], expected)
    assert (desk.chains == -1).all()
    assert not desk.voices["state"].any()
    assert desk.frame == 0
    assert sorted(desk.spare.tolist()) == list(range(constants.PENDING))
    desk.close()


def test_desk_of_another_version_is_refused() -> None:
    desk = Desk.create(0)
    desk.header["version"] = layout.VERSION + 1
    fd = os.dup(desk.fd)
    with pytest.raises(DeskError, match=r"version .* restart all processes"):
        Desk(fd)
    os.close(fd)
    desk.close()


def test_a_block_that_is_not_a_desk_is_refused() -> None:
    fd = os.memfd_create("no-desk")
    with pytest.raises(DeskError, match="at least"):
        Desk(fd)
    os.ftruncate(fd, ARENA_OFFSET)
    with pytest.raises(DeskError, match="version 0"):
        Desk(fd)
    os.close(fd)


def test_an_impossible_size_is_refused_without_a_leak() -> None:
    with nothing_left_behind():
        for size in (1 << 70, 1 << 62):
            with pytest.raises(DeskError, match="lower --cache-mb"):
                Desk.create(size)


def test_close_releases_all_resources() -> None:
    with nothing_left_behind():
        for _turn in range(20):
            Desk.create(0).close()
