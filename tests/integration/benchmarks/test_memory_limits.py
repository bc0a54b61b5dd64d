"""The benchmark of the memory's limits, in small: it keeps them, and sees when they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import memory_limits


def test_the_limits_are_kept_and_everything_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    assert memory_limits.main(["--messages", "400", "--memory", "32", "--json", str(out)]) == 0
    [result] = json.loads(out.read_text())
    assert result["begin"] == result["end"]
    assert result["over_budget_mb"] <= 300
    assert result["pages_evicted"] > 0


def test_a_limit_that_is_not_kept_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limits, "OVER_MB", 1.0)
    out = tmp_path / "result.json"
    assert memory_limits.main(["--messages", "100", "--memory", "32", "--json", str(out)]) == 1
    assert json.loads(out.read_text())[0]["kept"] is False
