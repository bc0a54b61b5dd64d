"""The cost of listeners, in a short run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import listening


def test_a_short_run_has_all_stretches_and_every_listener_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "listening.json"
    # Whether the goals are met depends on the machine.
    listening.main([
        "--seconds", "2", "--listeners", "2", "--stem-seconds", "2", "--driver", "null",
        "--json", str(file),
    ])  # fmt: skip
    said, trouble = capsys.readouterr()
    assert "in percent of one core" in said, trouble
    found = json.loads(file.read_text())
    assert [row["stretch"] for row in found["rows"]] == ["nobody", "2 listen"] * 2
    # The amount of sound received in that time depends on the machine, too.
    assert found["jumps"] >= 0 and found["bytes_a_second"] > 0
    assert found["slow"]["kbit_a_second"] > 0
    assert found["page"] is None
