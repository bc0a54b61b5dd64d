"""`crowdstream analyze --progress`: reports of the progress for another program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.analyze_command import Analyze, Sound


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_progress_line_is_json_and_the_last_one_reports_completion(
    run: Analyze, sound: Sound, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        sound(tmp_path / "media" / name / f"{name}.wav")
    assert run("--progress", tmp_path / "media") == 0
    reports = lines(capsys)
    assert reports[0] == {"found": 1}
    assert (reports[1]["tracks"], reports[1]["done"], reports[1]["share"]) == (3, 0, 0.0)
    assert (reports[-1]["tracks"], reports[-1]["done"], reports[-1]["share"]) == (3, 3, 1.0)
    assert reports[-1]["bad"] == 0 and reports[-1]["reason"] == ""
    # A second run has nothing to analyse, and reports no tracks.
    assert run("--progress", tmp_path / "media") == 0
    assert all(not one.get("tracks") for one in lines(capsys))


def test_bad_tracks_are_counted_with_the_latest_reason(
    run: Analyze, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "noise.wav").write_bytes(b"RIFF" + bytes(64))
    assert run("--progress", tmp_path / "media") == 1
    last = lines(capsys)[-1]
    assert last["bad"] == 1 and "noise.wav" in last["reason"]
