"""The benchmark of the first sight: it sees the decks, counts the bytes, and hears of commands."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import first_sight


def test_everything_is_seen(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    status = first_sight.main(["--visits", "1", "--commands", "6", "--json", str(out)])
    rows = {row["what"]: row for row in json.loads(out.read_text())["rows"]}
    assert [row["number"] for row in rows.values()] == [3, 3, 1, 1]
    assert all(0 < row["p50"] <= row["p95"] <= row["worst"] for row in rows.values())
    # The page with its scripts and styles, and not more than was promised.
    assert 40 < rows["over HTTP, kB"]["worst"] < first_sight.KILOBYTES
    goals = {"page, ms": first_sight.TOLD_MS, "osc, ms": first_sight.TOLD_MS,
             "screen, s": first_sight.PAINT_SECONDS}  # fmt: skip
    assert status == any(
        row["p95"] > goal
        for what, row in rows.items() for ending, goal in goals.items() if what.endswith(ending)
    )  # fmt: skip
