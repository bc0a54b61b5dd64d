"""Three servers in network namespaces, with jitter, loss and drifting cards: rooms in step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.in_namespace import run_in_namespace


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.support.real_rooms` measured."""
    return run_in_namespace("tests.support.real_rooms", tmp_path_factory.mktemp("rooms"))


def test_the_rooms_play_the_same_at_the_same_time(seen: dict[str, Any]) -> None:
    # The best quarter of the seconds: on a busy machine the built-in clocks are interrupted, which
    # the rooms catch up in the others. All of them are for the benchmark.
    assert np.quantile(seen["alike"], 0.75) > 0.99, seen
    assert np.quantile(seen["spread_ms"], 0.25) < 0.5, seen


def test_a_killed_room_returns(seen: dict[str, Any]) -> None:
    assert max(map(abs, seen["after_ms"])) < 2.0, seen


def test_strangers_change_nothing_and_are_counted(seen: dict[str, Any]) -> None:
    assert seen["rooms"][0]["rejected"] >= 1000, seen
    assert seen["rooms"][0]["state"] == "leading"
