"""Control's side of the rings: whole batches, in order, wrapping around the end of the memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, EVENT_RING
from crowdstream.desk.dtypes import COMMAND, EVENT, RINGS
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.rings import (
    COMMAND_HEAD,
    COMMAND_TAIL,
    EVENT_HEAD,
    EVENT_TAIL,
    pop_events,
    push_commands,
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


def batch_of(first: int, count: int) -> np.ndarray:
    batch = np.zeros(count, COMMAND)
    batch["serial"] = np.arange(first, first + count)
    return batch


def put_events(desk: Desk, count: int) -> None:
    """Write events like the engine does: an event's serial number is its place in the stream."""
    head = int(desk.rings["event_head"])
    places = np.arange(head, head + count)
    desk.events["serial"][places % EVENT_RING] = places
    desk.rings["event_head"] = head + count


def test_the_counter_offsets_match_the_blocks_fields() -> None:
    fields = RINGS.fields
    assert fields is not None
    places = {
        "command_head": COMMAND_HEAD, "command_tail": COMMAND_TAIL,
        "event_head": EVENT_HEAD, "event_tail": EVENT_TAIL,
    }  # fmt: skip
    for name, place in places.items():
        assert place == REGIONS["rings"].offset + fields[name][1]


@pytest.mark.parametrize("begin", [0, 1, COMMAND_RING - 1, COMMAND_RING, 5 * COMMAND_RING + 7])
def test_a_ring_accepts_exactly_its_capacity(desk: Desk, begin: int) -> None:
    desk.rings["command_head"] = desk.rings["command_tail"] = begin
    assert not push_commands(desk, batch_of(1, COMMAND_RING + 1))
    assert int(desk.rings["command_head"]) == begin, "no part of it is published"
    assert not desk.commands["serial"].any(), "or written"
    assert push_commands(desk, batch_of(1, COMMAND_RING - 1))
    assert not push_commands(desk, batch_of(50_000, 2))
    assert push_commands(desk, batch_of(COMMAND_RING, 1))
    assert not push_commands(desk, batch_of(50_000, 1))
    assert push_commands(desk, batch_of(0, 0)), "an empty batch always has room"
    assert int(desk.rings["command_head"]) == begin + COMMAND_RING
    assert int(desk.rings["command_tail"]) == begin, "only the reader moves it"
    places = np.arange(begin, begin + COMMAND_RING) % COMMAND_RING
    assert desk.commands["serial"][places].tolist() == list(range(1, COMMAND_RING + 1))


def test_room_grows_as_the_reader_advances(desk: Desk) -> None:
    assert push_commands(desk, batch_of(1, COMMAND_RING))
    desk.rings["command_tail"] = 3
    assert not push_commands(desk, batch_of(100_000, 4))
    assert push_commands(desk, batch_of(100_000, 3))
    assert desk.commands["serial"][:4].tolist() == [100_000, 100_001, 100_002, 4]


def test_a_batch_wraps_around_the_end(desk: Desk) -> None:
    desk.rings["command_head"] = desk.rings["command_tail"] = COMMAND_RING - 2
    assert push_commands(desk, batch_of(1, 5))
    assert desk.commands["serial"][-2:].tolist() == [1, 2]
    assert desk.commands["serial"][:4].tolist() == [3, 4, 5, 0]


def test_the_command_ring_accepts_only_commands(desk: Desk) -> None:
    with pytest.raises(AssertionError):
        push_commands(desk, np.zeros(1, EVENT))


def test_events_are_returned_once_and_oldest_first(desk: Desk) -> None:
    assert len(pop_events(desk)) == 0
    put_events(desk, 5)
    assert pop_events(desk, 2)["serial"].tolist() == [0, 1]
    assert int(desk.rings["event_tail"]) == 2
    assert pop_events(desk, 0)["serial"].tolist() == []
    taken = pop_events(desk, 100)
    assert taken.dtype == EVENT and taken["serial"].tolist() == [2, 3, 4]
    assert len(pop_events(desk)) == 0
    assert int(desk.rings["event_head"]) == int(desk.rings["event_tail"]) == 5


def test_all_events_are_returned_by_default(desk: Desk) -> None:
    desk.rings["event_head"] = desk.rings["event_tail"] = 3 * EVENT_RING - 5
    put_events(desk, EVENT_RING)
    begin = 3 * EVENT_RING - 5
    taken = pop_events(desk)
    assert taken["serial"].tolist() == list(range(begin, begin + EVENT_RING))
    assert int(desk.rings["event_head"]) == begin + EVENT_RING, "only the engine moves it"


@settings(max_examples=30)
@given(
    turns=st.lists(
        st.tuples(st.integers(0, COMMAND_RING + 5), st.integers(0, COMMAND_RING)), max_size=8
    ),
    begin=st.integers(0, 3 * COMMAND_RING),
)
def test_commands_against_a_queue(turns: list[tuple[int, int]], begin: int) -> None:
    desk = Desk.create(0)
    desk.rings["command_head"] = desk.rings["command_tail"] = begin
    model: deque[int] = deque()
    serial, tail = 1, begin
    for pushed, taken in turns:
        fits = pushed <= COMMAND_RING - len(model)
        assert push_commands(desk, batch_of(serial, pushed)) is fits
        if fits:
            model.extend(range(serial, serial + pushed))
            serial += pushed
        count = min(taken, len(model))
        got = desk.commands["serial"][np.arange(tail, tail + count) % COMMAND_RING]
        assert got.tolist() == [model.popleft() for _ in range(count)]
        tail += count
        desk.rings["command_tail"] = tail
    desk.close()
