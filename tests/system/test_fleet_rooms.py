"""A fleet of eight machines, each in a network namespace, that finds its servers by Zeroconf."""

from __future__ import annotations

from pathlib import Path

from tests.support.fleet_rooms import COUNT
from tests.support.in_namespace import run_in_namespace


def test_eight_machines_are_found_and_start_together(tmp_path: Path) -> None:
    seen = run_in_namespace("tests.support.fleet_rooms", tmp_path)
    machines = range(1, COUNT + 1)
    assert seen["found"] == [[f"room{number}", f"10.80.0.{number}"] for number in machines]
    assert seen["one"] == [True] and seen["outcomes"] == []
    # All namespaces have this machine's clock, so the servers' own times can be compared.
    assert seen["spreads_ms"][0] < seen["bounds_ms"][0], seen
