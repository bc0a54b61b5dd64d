"""The ring protocol in every interleaving, and the check that the code follows the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crowdstream.desk import rings
from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, EVENT_RING
from crowdstream.desk.dtypes import COMMAND
from tests.fuzz.ring_model import Rules, Torn, explore


@pytest.mark.parametrize(
    "rules",
    [
        Rules((2, 1, 3, 1), kills=2),
        Rules((3, 3), kills=2),
        Rules((1, 2, 1, 2, 1), at_once=True),
        Rules((1, 2, 1, 3, 1), drops=True, at_once=True, kills=2),
    ],
)
def test_no_interleaving_tears_a_batch(rules: Rules) -> None:
    assert explore(rules) > 500


@pytest.mark.parametrize(
    ("mistake", "seen"),
    [("plain_head", "was read as"), ("early_tail", "was read as"), ("two_heads", "inside")],
)
def test_a_wrong_order_of_steps_is_detected(mistake: str, seen: str) -> None:
    wrong: dict[str, Any] = {mistake: True}
    with pytest.raises(Torn, match=seen):
        explore(replace(Rules((2, 2, 2)), **wrong))


class _Watched:
    """A region that logs reads and writes."""

    def __init__(self, region: np.ndarray, steps: list[str]) -> None:
        self._region = region
        self._steps = steps

    def __setitem__(self, where: Any, value: Any) -> None:
        if len(value):
            self._steps.append("write")
        self._region[where] = value

    def __getitem__(self, where: Any) -> Any:
        self._steps.append("read")
        return self._region[where]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


@pytest.fixture
def steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The log of the code's accesses to the desk's memory, in order."""
    done: list[str] = []
    names = {
        rings.COMMAND_HEAD: "head", rings.COMMAND_TAIL: "tail", rings.EVENT_HEAD: "head",
        rings.EVENT_TAIL: "tail",
    }  # fmt: skip

    def loaded(address: int) -> int:
        done.append(f"load {names[address - desk.address]}")
        return int(load_acquire(address))

    def stored(address: int, value: int) -> None:
        done.append(f"release {names[address - desk.address]}")
        store_release(address, value)

    monkeypatch.setattr(rings, "load_acquire", loaded)
    monkeypatch.setattr(rings, "store_release", stored)
    for name in ("commands", "events"):
        monkeypatch.setattr(desk, name, _Watched(getattr(desk, name), done))
    return done


def test_commands_are_published_in_the_order_of_the_model(desk: Desk, steps: list[str]) -> None:
    desk.rings["command_head"] = desk.rings["command_tail"] = COMMAND_RING - 2
    assert rings.push_commands(desk, np.zeros(5, COMMAND))
    assert steps == ["load head", "load tail", "write", "write", "release head"]


def test_a_full_ring_is_not_modified(desk: Desk, steps: list[str]) -> None:
    desk.rings["command_head"] = COMMAND_RING - 1
    assert not rings.push_commands(desk, np.zeros(2, COMMAND))
    assert steps == ["load head", "load tail"]


def test_events_are_read_in_the_order_of_the_model(desk: Desk, steps: list[str]) -> None:
    desk.rings["event_head"] = EVENT_RING + 3
    desk.rings["event_tail"] = EVENT_RING - 3
    assert len(rings.pop_events(desk)) == 6
    assert steps == ["load tail", "load head", "read", "release tail"]
