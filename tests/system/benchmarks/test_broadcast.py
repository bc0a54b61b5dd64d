"""The cost of broadcasts, in a short run with few listeners."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import broadcast


def test_a_short_run_measures_every_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broadcast.json"
    # Whether the goal is met depends on the machine.
    broadcast.main(["--seconds", "2", "--listeners", "5", "--json", str(file)])
    said, trouble = capsys.readouterr()
    assert "in percent of one core" in said, trouble
    found = json.loads(file.read_text())
    assert [row["broadcast to"] for row in found["rows"]][::7] == ["nothing", "Snapcast, PCM"]
    assert len(found["rows"]) == 8 and found["rooms"] is None
    assert found["listening"]["listeners"] == 5 and found["listening"]["disconnected"] == 0
    assert found["listening"]["min_kbit_a_second"] > 0
