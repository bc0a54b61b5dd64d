"""The state log survives at whatever moment its writer is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.control.scheduler import pack, unpack
from crowdstream.control.state import state_log as notes_module
from crowdstream.control.state.state_log import REMOVED, StateLog, create_state_log


@pytest.fixture
def fd() -> Iterator[int]:
    made = create_state_log()
    yield made
    os.close(made)


def read(fd: int) -> dict[str, Any]:
    """The state that another process reads."""
    other = StateLog(os.dup(fd))
    values = dict(other.values)
    other.close()
    return values


class Killed(BaseException):
    """The writer was killed."""


class Dying(StateLog):
    """A state log whose writer is killed after a number of bytes."""

    left = 1 << 60

    def _put(self, at: int, data: bytes) -> None:
        part = data[: self.left]
        self.left -= len(part)
        super()._put(at, part)
        if len(part) < len(data):
            raise Killed


def test_saved_values_are_read_back(fd: int) -> None:
    notes = StateLog(os.dup(fd))
    assert read(fd) == {}
    notes.record([("a", 1), ("b", [1.5, None, "x"])])
    notes.record([("a", 2)])
    assert read(fd) == {"a": 2, "b": [1.5, None, "x"]} == notes.values
    notes.record([("b", REMOVED), ("c", {"d": "\udcff"})])
    assert read(fd) == {"a": 2, "c": {"d": "\udcff"}}
    notes.record([])
    notes.close()
    later = StateLog(os.dup(fd))
    later.record([("e", 5)])
    assert read(fd) == {"a": 2, "c": {"d": "\udcff"}, "e": 5}
    later.close()


@pytest.mark.parametrize("grown", [1 << 18, 0])
def test_a_write_killed_at_any_byte_leaves_all_or_nothing_of_a_turn(
    fd: int, grown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without room to grow, the log switches to the other half.
    before = {"a": 1, "b": "old"}
    after = {"a": 2, "c": "new"}
    outcomes = []
    for count in range(200):
        os.ftruncate(fd, 0)
        os.ftruncate(fd, 2 * notes_module.HALF_BYTES)
        monkeypatch.setattr(notes_module, "GROWN_BYTES", 1 << 18)
        notes = Dying(os.dup(fd))
        notes.record([("x", list(range(50)))])
        notes.record([*before.items(), ("x", REMOVED)])
        if not grown:
            notes._full = 0
        notes.left = count
        try:
            notes.record([("a", 2), ("b", REMOVED), ("c", "new")])
        except Killed:
            outcomes.append(read(fd))
            # The successor continues from there.
            heir = StateLog(os.dup(fd))
            heir.record([("d", 4)])
            assert read(fd) == {**outcomes[-1], "d": 4}
            heir.close()
        else:
            assert read(fd) == after
            notes.close()
            break
        notes.close()
    else:
        pytest.fail("it was never whole")
    turning = outcomes.index(after) if after in outcomes else len(outcomes)
    assert turning > 20
    assert all(outcome == before for outcome in outcomes[:turning])
    assert all(outcome == after for outcome in outcomes[turning:])


def test_the_log_stays_small_and_correct_over_many_turns(fd: int) -> None:
    notes = StateLog(os.dup(fd))
    kept: dict[str, Any] = {}
    for number in range(20_000):
        key = f"wait/{number}"
        kept[key] = ["x" * 50, number]
        gone = f"wait/{number - 100}"
        notes.record([(key, kept[key]), *([(gone, REMOVED)] if gone in kept else [])])
        kept.pop(gone, None)
    assert read(fd) == kept == notes.values
    assert os.fstat(fd).st_blocks * 512 < 2 << 20
    notes.close()


def test_scheduled_messages_are_dropped_first_when_the_state_is_too_large(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "MAX_BYTES", 10_000)
    monkeypatch.setattr(notes_module, "GROWN_BYTES", 1000)
    notes = StateLog(os.dup(fd))
    for number in range(500):
        notes.record([(f"wait/{number}", "x" * 100), ("core", number)])
    found = read(fd)
    assert found["core"] == 499
    assert len(found) < 250
    notes.close()


@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.booleans(),
                          st.none(), st.binary())))
def test_message_arguments_are_restored_exactly(arguments: list[Any]) -> None:
    import json

    packed = json.loads(json.dumps(pack(tuple(arguments))))
    assert unpack(packed) == tuple(arguments)
