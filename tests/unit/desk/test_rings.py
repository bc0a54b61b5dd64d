"""The rings: nothing is lost, torn or reordered, and neither side waits."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, EVENT_RING
from crowdstream.desk.dtypes import COMMAND, EVENT
from crowdstream.desk.opcodes import OP_MARK
from crowdstream.desk.rings import COMMAND_HEAD, COMMAND_TAIL, pop_events, push_commands
from crowdstream.engine.render import render


@pytest.fixture
def desk():  # type: ignore[no-untyped-def]
    made = Desk.create(0)
    yield made
    made.close()


def _batch(first: int, count: int) -> np.ndarray:
    batch = np.zeros(count, COMMAND)
    batch["serial"] = np.arange(first, first + count)
    batch["op"] = OP_MARK
    return batch


def _take(desk: Desk, most: int) -> np.ndarray:
    # Like the engine does it.
    tail = load_acquire(desk.address + COMMAND_TAIL)
    head = load_acquire(desk.address + COMMAND_HEAD)
    count = min(most, head - tail)
    taken: np.ndarray = desk.commands[np.arange(tail, tail + count) % COMMAND_RING]
    store_release(desk.address + COMMAND_TAIL, tail + count)
    return taken


@settings(max_examples=60)
@given(
    turns=st.lists(
        st.tuples(st.integers(0, COMMAND_RING + 5), st.integers(0, COMMAND_RING)), max_size=15
    ),
    offset=st.integers(0, 3 * COMMAND_RING),
)
def test_commands_against_a_model(turns: list[tuple[int, int]], offset: int) -> None:
    desk = Desk.create(0)
    desk.rings["command_head"] = desk.rings["command_tail"] = offset
    model: deque[int] = deque()
    serial = 1
    for push, take in turns:
        fits = push <= COMMAND_RING - len(model)
        assert push_commands(desk, _batch(serial, push)) == fits
        if fits:
            model.extend(range(serial, serial + push))
            serial += push
        taken = _take(desk, take)
        assert taken["serial"].tolist() == [model.popleft() for _ in range(len(taken))]
    assert int(desk.rings["command_head"]) - int(desk.rings["command_tail"]) == len(model)
    desk.close()


@settings(max_examples=40)
@given(turns=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 2000)), max_size=14))
def test_events_against_a_model(turns: list[tuple[int, int]]) -> None:
    desk = Desk.create(0)
    out = np.zeros((1, 2), np.float32)
    model: deque[int] = deque()
    serial, lost = 1, 0
    for marks, room in turns:
        assert push_commands(desk, _batch(serial, marks))
        render(desk, out)
        for number in range(serial, serial + marks):
            if len(model) < EVENT_RING:
                model.append(number)
            else:
                lost += 1
        serial += marks
        events = pop_events(desk, room)
        assert events.dtype == EVENT
        assert len(events) == min(room, len(model))
        assert events["serial"].tolist() == [model.popleft() for _ in range(len(events))]
        assert int(desk.ledger["events_lost"]) == lost
    desk.close()


def test_returned_events_are_a_copy(desk: Desk) -> None:
    assert push_commands(desk, _batch(1, 3))
    render(desk, np.zeros((1, 2), np.float32))
    events = pop_events(desk)
    desk.events["serial"] = 99
    assert events["serial"].tolist() == [1, 2, 3]


def test_a_pushed_batch_is_a_copy(desk: Desk) -> None:
    batch = _batch(1, 3)
    assert push_commands(desk, batch)
    batch["serial"] = 99
    assert _take(desk, 10)["serial"].tolist() == [1, 2, 3]


def test_a_strided_batch_is_pushed_correctly(desk: Desk) -> None:
    assert push_commands(desk, _batch(1, 10)[::2])
    assert _take(desk, 10)["serial"].tolist() == [1, 3, 5, 7, 9]
