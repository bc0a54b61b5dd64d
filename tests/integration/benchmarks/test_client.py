"""The benchmark of the client library runs, and its figures are plausible."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import client


def test_the_benchmark_measures_both_libraries(tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    assert client.main(["--trips", "20", "--messages", "400", "--json", str(file)]) == 0
    result = json.loads(file.read_text(encoding="utf-8"))
    assert len(result["trips"]) == 5
    for times in result["trips"].values():
        assert 0.0 < times["p50_ms"] <= times["p99_ms"] <= times["max_ms"]
    assert set(result["sending"]) == {"client", "python-osc"}
    for found in result["sending"].values():
        assert found["per_second"] > 0 and found["lost"] == 0
    assert result["parallel_calls_per_second"] > 0
