"""Ableton Link with the real library: its published test plan, a start/stop sync, and faults.

The items are those of TEST-PLAN.md in https://github.com/Ableton/link; `docs/development/
ableton-link.md` lists them with the tests here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import PROJECT, child_environment

SECONDS = 500.0  # the kernels may have to be compiled first
TOLERANCE_MS = 3.0
CONTINUOUS = 0.02  # beats: the deck has gone on at its tempo


def run(scenario: str, folder: Path) -> dict[str, Any]:
    """Return what `tests.support.link_scenarios` found in a network namespace of its own."""
    command = ["unshare", "-rn", sys.executable, "-P", "-m", "tests.support.link_scenarios"]
    with subprocess.Popen(
        [*command, str(folder), scenario], cwd=PROJECT, text=True, env=child_environment(),
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, error = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the servers, too
            raise
    assert process.returncode == 0, (
        "network namespaces are needed (unshare -rn, of util-linux; where user namespaces are "
        f"switched off, run this as root):\n{out}\n{error}"
    )
    found: dict[str, Any] = json.loads(out.splitlines()[-1])[scenario]
    return found


def test_tempo_1_changes_are_transmitted_in_both_directions(tmp_path: Path) -> None:
    found = run("tempo_1", tmp_path)
    for phase in ("own", "others", "leader"):
        assert found[phase] < TOLERANCE_MS
    assert "follows a Link session" in found["refused"][0]
    assert found["session"] == pytest.approx(125.0, abs=0.01)


def test_tempo_2_to_4_a_session_keeps_its_tempo_and_is_followed_to_its_limits(
    tmp_path: Path,
) -> None:
    found = run("tempo_2_3_4", tmp_path)
    assert found["session"] == found["after_loading"] == pytest.approx(130.0, abs=0.01)
    assert found["clock"] == 130.0
    for phase in ("joined", "loaded", "at_20", "at_999", "at_128"):
        assert found[phase] < TOLERANCE_MS


def test_tempo_5_and_beattime_enabling_and_joining_peers_change_nothing(tmp_path: Path) -> None:
    found = run("tempo_5_beattime", tmp_path)
    assert found["tempo_enabled"] == 127.0
    assert found["tempo_disabled"] == 122.0
    assert found["tempo_joined"] == pytest.approx(122.0, abs=0.01)
    for action in ("enabled", "disabled", "joined"):
        assert found[action] < CONTINUOUS
    assert found["phase"] < TOLERANCE_MS


def test_starts_and_stops_are_shared(tmp_path: Path) -> None:
    found = run("start_stop", tmp_path)
    assert found["started"] < TOLERANCE_MS
    assert found["bar"] < CONTINUOUS
    assert found["leader"]


def test_a_dead_process_and_a_lost_network_leave_the_music_alone(tmp_path: Path) -> None:
    found = run("faults", tmp_path)
    assert found["killed"] < CONTINUOUS
    assert found["without_network"] < CONTINUOUS
    assert found["tempo"] == 124.0
    for phase in ("restarted", "network_again"):
        assert found[phase] < TOLERANCE_MS
    texts = found["events"]
    assert len([text for text in texts if "has died (signal 9)" in text]) == 1
    assert len([text for text in texts if "no other peers" in text]) == 1


def test_a_new_control_process_follows_the_same_session(tmp_path: Path) -> None:
    assert run("successor", tmp_path) == {"same_process": True, "faults": 0, "mode": "follower"}
