"""The memory benchmarks run from end to end on a small scale; an exceeded limit is reported."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from benchmarks import memory


def test_usage(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    # A goal that this machine misses gives status 1: figures are not asserted here.
    arguments = ["usage", "--driver", "null", "--stem-seconds", "2", "--seconds", "0.1"]
    assert memory.main([*arguments, "--json", str(out)]) in (0, 1)
    (entry,) = json.loads(out.read_text())
    assert entry["stems"] == 16
    assert entry["pcm_mb"] == pytest.approx(16 * 2 * 44100 * 4 / 1e6, abs=0.1)
    assert entry["besides_pcm_mb"] == pytest.approx(
        entry["all_processes_mb"] - entry["pcm_mb"], abs=0.11
    )
    # The stems are in the shared block, and some process has them mapped.
    assert entry["shared_block_mb"] >= entry["pcm_mb"]
    assert entry["all_processes_mb"] > entry["before_loading_mb"]
    assert {"supervisor_mb", "control_mb", "engine_mb", "standby_mb", "loader_mb"} <= entry.keys()


def test_the_limits_are_kept_and_everything_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "WARM_UP_SECONDS", 1.0)
    out = tmp_path / "result.json"
    assert memory.main(["limits", "--messages", "200", "--cache-mb", "32", "--json", str(out)]) == 0
    [result] = json.loads(out.read_text())
    assert result["begin"] == result["end"]
    assert result["over_budget_mb"] <= 300
    assert result["pages_evicted"] > 0


@pytest.mark.parametrize(
    ("over_mb", "left", "kept"), [(300.0, 0, True), (300.1, 0, False), (10.0, 1, False)]
)
def test_a_limit_that_is_exceeded_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over_mb: float, left: int, kept: bool
) -> None:
    found = {
        "over_budget_mb": over_mb, "begin": {"descriptors": 40}, "end": {"descriptors": 40 + left},
    }  # fmt: skip
    monkeypatch.setattr(memory, "live_server", lambda *_flags: contextlib.nullcontext())
    monkeypatch.setattr(memory, "play_randomly", lambda *_: found)
    out = tmp_path / "result.json"
    assert memory.main(["limits", "--json", str(out)]) == (0 if kept else 1)
    assert json.loads(out.read_text())[0]["kept"] is kept
