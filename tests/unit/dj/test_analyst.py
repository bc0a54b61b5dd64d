"""The DJ's analysis of a folder: started beside the playing, whatever the priority of the DJ."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crowdstream.dj.autopilot.background_analysis import NICE, BackgroundAnalysis


class Started:
    """A process that was started, and writes nothing."""

    pid = 4711

    def __init__(self, command: list[str], **_options: Any) -> None:
        self.command = command
        reading, self._writing = os.pipe()
        self.stdout = os.fdopen(reading, "rb")

    def poll(self) -> None:
        """It runs."""

    def close(self) -> None:
        self.stdout.close()
        os.close(self._writing)


@pytest.mark.parametrize("allowed", [True, False])
def test_an_analysis_that_can_not_get_its_priority_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: bool
) -> None:
    started: list[Started] = []
    wanted: list[tuple[int, int]] = []

    def start(command: list[str], **options: Any) -> Started:
        started.append(Started(command, **options))
        return started[-1]

    def prioritize(_which: int, pid: int, nice: int) -> None:
        wanted.append((pid, nice))
        if not allowed:
            raise PermissionError(13, "Permission denied")  # as where the DJ is nicer already

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "setpriority", prioritize)
    analyst = BackgroundAnalysis(tmp_path)
    analyst.tick(0.0, soon=True)
    analyst.tick(1000.0, soon=True)
    assert len(started) == 1 and started[0].command[-1] == str(tmp_path)
    assert wanted == [(Started.pid, NICE)]
    started[0].close()
