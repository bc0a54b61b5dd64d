"""The benchmark of buffer sizes."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import buffer_sizes
from crowdstream.settings import user_config_path

DOCUMENTED = {
    "buffer_size", "latency_ms", "underruns", "baseline_underruns", "cpu_percent",
    "render_p99_ms", "budget_ms", "missing_pages",
}  # fmt: skip


def result(size: int, **changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "buffer_size": size, "underruns": 0, "baseline_underruns": 0, "missing_pages": 0,
        "render_p99_ms": 0.1, "budget_ms": size / 44.1, "seconds": 30.0,
        "underruns_late_callback": 0, "underruns_slow_render": 0, "underruns_device": 0,
    }  # fmt: skip
    return values | changed


def test_the_smallest_size_without_a_gap_is_recommended() -> None:
    results = [result(1024), result(256), result(128, underruns=1)]
    size, why = buffer_sizes.recommend(results)
    assert size == 256
    assert "smaller one had gaps" in why


def test_missing_pages_are_gaps_too() -> None:
    assert buffer_sizes.recommend([result(128, missing_pages=2), result(256)])[0] == 256


def test_a_render_near_its_budget_is_not_recommended() -> None:
    results = [result(128, render_p99_ms=2.0), result(256)]
    assert buffer_sizes.recommend(results)[0] == 256


def test_underruns_of_the_machine_itself_are_named() -> None:
    results = [
        result(128, underruns=9, baseline_underruns=12),
        result(256, underruns=3, baseline_underruns=4),
    ]
    size, why = buffer_sizes.recommend(results)
    assert size == 256
    assert "4 by itself" in why


def test_gaps_of_the_server_name_their_cause() -> None:
    results = [result(128, underruns=5, underruns_slow_render=5)]
    size, why = buffer_sizes.recommend(results)
    assert size == 128
    assert "5 render" in why


def test_the_command_line_is_as_documented() -> None:
    options = buffer_sizes.parser().parse_args([])
    assert options.sizes == [128, 256, 512, 1024, 2048]
    assert options.seconds == 30.0
    assert options.bytes == 140_000_000


@pytest.mark.parametrize("flags", [["--sizes", "0"], ["--seconds", "-1"], ["--bytes", "3"]])
def test_invalid_values_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert buffer_sizes.main(flags) == 2
    assert "sizes must be 16 to 8192" in capsys.readouterr().err


def test_a_whole_run_under_storm_is_written_and_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer_sizes, "SETTLE_SECONDS", 0.1)
    file = tmp_path / "sizes.json"
    flags = ["--driver", "null", "--sizes", "512", "--seconds", "1", "--bytes", "400000"]
    assert buffer_sizes.main([*flags, "--storm", "--json", str(file), "--save"]) == 0
    (entry,) = json.loads(file.read_text())
    assert set(entry) >= DOCUMENTED
    assert entry["buffer_size"] == 512
    assert entry["driver"] == "null"
    assert entry["cpu_percent"] > 0.0
    assert entry["missing_pages"] == 0
    assert entry["storm"]["sent"] > 0
    assert entry["messages"] > 0
    assert entry["failed"] == 0
    printed = capsys.readouterr().out
    assert "recommended: 512 frames" in printed
    assert "empty callback" in printed
    assert "buffer_size = 512" in user_config_path(os.environ).read_text()
