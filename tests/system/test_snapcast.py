"""Snapcast's own server and clients, in network namespaces: rooms in step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.in_namespace import run_in_namespace

MAX_DISTANCE_MS = 1.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.support.snapcast_rooms` measured."""
    return run_in_namespace("tests.support.snapcast_rooms", tmp_path_factory.mktemp("rooms"))


def test_two_rooms_play_at_the_same_time(seen: dict[str, Any]) -> None:
    # On a busy machine, snapserver may interrupt its clients; the median leaves that out.
    assert abs(np.median(seen["distances_ms"])) < MAX_DISTANCE_MS, seen


def test_the_rooms_play_the_master(seen: dict[str, Any]) -> None:
    assert seen["correlation"] > 0.9, seen
    assert seen["dropped"] == 0.0
