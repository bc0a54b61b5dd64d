"""The DJ's background analysis starts whatever the DJ's own priority."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crowdstream.dj.autopilot.background_analysis import NICE, BackgroundAnalysis


class FakeProcess:
    """A started process that prints nothing."""

    pid = 4711

    def __init__(self, command: list[str], **_options: Any) -> None:
        self.command = command
        reading, self._writing = os.pipe()
        self.stdout = os.fdopen(reading, "rb")

    def poll(self) -> None:
        """Return None: the process is running."""

    def close(self) -> None:
        self.stdout.close()
        os.close(self._writing)


@pytest.mark.parametrize(
    ("own", "allowed", "give_way", "set_to"),
    [
        (0, True, "yes", [NICE]),
        (-5, True, "yes", [NICE]),  # a service with priority
        (0, False, "yes", [NICE]),
        (15, True, "yes", []),  # never more than the DJ's own
        (0, True, "no", []),
    ],
)
def test_analysis_has_less_priority_and_runs_even_if_that_cannot_be_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    own: int, allowed: bool, give_way: str, set_to: list[int],
) -> None:  # fmt: skip
    monkeypatch.setenv("CROWDSTREAM_GIVE_WAY", give_way)
    started: list[FakeProcess] = []
    priorities: list[tuple[int, int]] = []

    def start(command: list[str], **options: Any) -> FakeProcess:
        started.append(FakeProcess(command, **options))
        return started[-1]

    def prioritize(_which: int, pid: int, nice: int) -> None:
        priorities.append((pid, nice))
        if not allowed:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "setpriority", prioritize)
    monkeypatch.setattr(os, "getpriority", lambda _which, _pid: own)
    analysis = BackgroundAnalysis(tmp_path)
    analysis.tick(0.0, soon=True)
    analysis.tick(1000.0, soon=True)
    assert len(started) == 1 and started[0].command[-1] == str(tmp_path)
    assert priorities == [(FakeProcess.pid, niceness) for niceness in set_to]
    started[0].close()


def test_an_analysis_that_cannot_be_started_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tries: list[list[str]] = []

    def refuse(command: list[str], **_options: Any) -> None:
        tries.append(command)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    analysis = BackgroundAnalysis(tmp_path)
    for now in (0.0, 1.0, 10.0):
        analysis.tick(now, soon=True)
    assert len(tries) == 2 and not analysis.running and analysis.progress == {}
    analysis.end()
