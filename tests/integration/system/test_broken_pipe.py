"""Commands whose output is not read to the end, as behind `| head`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.environment import PROJECT

COMMANDS = [
    ["-m", "crowdstream", "--help"], ["-m", "crowdstream", "--version"],
    ["-m", "crowdstream", "reference"], ["-m", "crowdstream", "doctor"],
    ["-m", "crowdstream", "doctor", "--json"], ["-m", "crowdstream", "doctor", "--help"],
    ["-m", "crowdstream", "serve", "--show-config"], ["-m", "crowdstream", "dj", "--help"],
    ["-m", "crowdstream", "analyze", "--help"], ["audio_server.py", "--show-config"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[-2:]))
def test_a_command_whose_output_is_not_read_ends_silently(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # before it starts: `head` may be as fast
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, *command], cwd=PROJECT, stdout=pipe, stderr=subprocess.PIPE,
            text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode in (0, 141)


@pytest.mark.parametrize("what", ["/no/such/WRONG", "/no/such/WRONG.toml"])
def test_a_dj_with_a_wrong_path_reports_it_in_one_line(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crowdstream", "dj", what], cwd=PROJECT, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert what in line
