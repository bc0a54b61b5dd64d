"""Notes survive whatever moment their writer is killed in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.control.scheduler import pack, unpack
from crowdstream.control.state import state_log as notes_module
from crowdstream.control.state.state_log import GONE, StateLog, make_notes


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_notes()
    yield made
    os.close(made)


def read(fd: int) -> dict[str, Any]:
    """What another process finds."""
    other = StateLog(os.dup(fd))
    values = dict(other.values)
    other.close()
    return values


class Killed(BaseException):
    """The writer is no more."""


class Dying(StateLog):
    """Notes whose writer is killed after so many bytes."""

    left = 1 << 60

    def _put(self, at: int, data: bytes) -> None:
        part = data[: self.left]
        self.left -= len(part)
        super()._put(at, part)
        if len(part) < len(data):
            raise Killed


def test_what_is_noted_is_read(fd: int) -> None:
    notes = StateLog(os.dup(fd))
    assert read(fd) == {}
    notes.note([("a", 1), ("b", [1.5, None, "x"])])
    notes.note([("a", 2)])
    assert read(fd) == {"a": 2, "b": [1.5, None, "x"]} == notes.values
    notes.note([("b", GONE), ("c", {"d": "\udcff"})])
    assert read(fd) == {"a": 2, "c": {"d": "\udcff"}}
    notes.note([])
    notes.close()
    later = StateLog(os.dup(fd))
    later.note([("e", 5)])
    assert read(fd) == {"a": 2, "c": {"d": "\udcff"}, "e": 5}
    later.close()


@pytest.mark.parametrize("grown", [1 << 18, 0])
def test_killed_at_any_byte_it_leaves_all_or_nothing_of_a_turn(
    fd: int, grown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With no room to grow, the other half is begun.
    before = {"a": 1, "b": "old"}
    after = {"a": 2, "c": "new"}
    outcomes = []
    for count in range(200):
        os.ftruncate(fd, 0)
        os.ftruncate(fd, 2 * notes_module.HALF_BYTES)
        monkeypatch.setattr(notes_module, "GROWN_BYTES", 1 << 18)
        notes = Dying(os.dup(fd))
        notes.note([("x", list(range(50)))])
        notes.note([*before.items(), ("x", GONE)])
        if not grown:
            notes._full = 0
        notes.left = count
        try:
            notes.note([("a", 2), ("b", GONE), ("c", "new")])
        except Killed:
            outcomes.append(read(fd))
            # Whoever comes next goes on from there.
            heir = StateLog(os.dup(fd))
            heir.note([("d", 4)])
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


def test_notes_stay_small_and_right_through_many_turns(fd: int) -> None:
    notes = StateLog(os.dup(fd))
    kept: dict[str, Any] = {}
    for number in range(20_000):
        key = f"wait/{number}"
        kept[key] = ["x" * 50, number]
        gone = f"wait/{number - 100}"
        notes.note([(key, kept[key]), *([(gone, GONE)] if gone in kept else [])])
        kept.pop(gone, None)
    assert read(fd) == kept == notes.values
    assert os.fstat(fd).st_blocks * 512 < 2 << 20
    notes.close()


def test_too_much_that_waits_is_let_go_of_before_anything_else(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "MAX_BYTES", 10_000)
    monkeypatch.setattr(notes_module, "GROWN_BYTES", 1000)
    notes = StateLog(os.dup(fd))
    for number in range(500):
        notes.note([(f"wait/{number}", "x" * 100), ("core", number)])
    found = read(fd)
    assert found["core"] == 499
    assert len(found) < 250
    notes.close()


@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.booleans(),
                          st.none(), st.binary())))
def test_arguments_of_messages_come_back_as_they_were(arguments: list[Any]) -> None:
    import json

    packed = json.loads(json.dumps(pack(tuple(arguments))))
    assert unpack(packed) == tuple(arguments)
