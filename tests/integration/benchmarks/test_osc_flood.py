"""The OSC flood benchmark runs from end to end on the built-in clock, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import osc_flood


def test_every_message_is_accounted_for(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    # A goal that this machine misses gives status 1: figures are not asserted here.
    arguments = ["--driver", "null", "--rate", "3000", "--seconds", "1", "--stem-seconds", "2"]
    assert osc_flood.main([*arguments, "--json", str(out)]) in (0, 1)
    (entry,) = json.loads(out.read_text())
    assert entry["sent"] == 3000
    assert entry["unaccounted"] == 0
    assert entry["malformed"] > 0
    assert entry["of_these_failed"] > 0
    total = entry["handled"] + entry["malformed"] + entry["refused"] + entry["dropped_by_kernel"]
    assert total == 3000


def test_a_lost_message_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{"messages": 11 + asked} for asked in range(1, 100)])
    monkeypatch.setattr(osc_flood, "DRAIN_SECONDS", 0.0)
    monkeypatch.setattr(
        osc_flood, "accounted",
        lambda _server: dict.fromkeys(osc_flood.BUCKETS, 0) | next(readings),
    )  # fmt: skip
    before = dict.fromkeys(osc_flood.BUCKETS, 0)
    counts, missing = osc_flood.settle(None, before, 12)  # type: ignore[arg-type]
    assert counts["messages"] == 11
    assert missing == 1
