"""`crowdstream doctor`: text output, JSON output and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crowdstream.doctor import cli
from crowdstream.doctor.check import Check, Machine
from crowdstream.settings import Settings, validate
from tests.support.doctor_machine import machine


def give(monkeypatch: pytest.MonkeyPatch, *checks: Check | Exception | None) -> None:
    """Replace the doctor's checks by these results."""

    def made(_machine: Machine, _settings: Settings) -> Any:
        for check in checks:

            def run(found: Check | Exception | None = check) -> Check | None:
                if isinstance(found, Exception):
                    raise found
                return found

            yield "its name", run

    monkeypatch.setattr(cli, "_checks", made)


GOOD = Check("a", "ok", "fine")
SO_SO = Check("b", "warn", "not so well", "do this", {"n": 1})
BAD = Check("c", "fail", "broken", "do that")


@pytest.mark.parametrize(
    ("checks", "status", "state"),
    [
        ((GOOD, None), 0, "ok"),
        ((GOOD, SO_SO), 1, "warn"),
        ((BAD, SO_SO, GOOD), 3, "fail"),
        ((GOOD, OSError("odd")), 1, "warn"),
    ],
)
def test_the_worst_check_determines_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    checks: tuple[Any, ...], status: int, state: str,
) -> None:  # fmt: skip
    give(monkeypatch, *checks)
    assert cli.doctor([]) == status
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len([check for check in checks if check])
    assert cli.doctor(["--json"]) == status
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == state
    assert len(said["checks"]) == len(lines)


def test_a_check_is_printed_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.line(GOOD).split() == ["ok", "a", "fine"]
    assert cli.line(SO_SO).endswith("not so well -> do this")
    assert "\n" not in cli.line(Check("a", "ok", "two\nlines\x1b[2J"))
    assert "\x1b" not in cli.line(Check("a", "ok", "two\nlines\x1b[2J"))


@pytest.mark.parametrize(
    ("user", "sudo", "said"),
    [
        (0, "/usr/bin/sudo", "-> echo 1 | tee /x; usermod y"),
        (0, None, "-> echo 1 | tee /x; usermod y"),
        (1000, "/usr/bin/sudo", "-> echo 1 | sudo tee /x; sudo usermod y"),
        (1000, None, "-> as root (su): echo 1 | tee /x; usermod y"),
    ],
)
def test_sudo_is_recommended_only_if_installed(
    monkeypatch: pytest.MonkeyPatch, user: int, sudo: str | None, said: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda _name: sudo)
    line = cli.line(Check("a", "warn", "so so", "echo 1 | sudo tee /x; sudo usermod y"))
    assert line.endswith(said)
    assert cli.line(SO_SO).endswith("-> do this")


def test_wrong_options_exit_with_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.doctor(["--buffer-size", "3"]) == 2
    assert "buffer_size" in capsys.readouterr().err
    assert cli.doctor(["--help"]) == 0
    assert "Exit status" in capsys.readouterr().out


def test_all_checks_run_on_an_unknown_machine(tmp_path: Path) -> None:
    found = list(cli.examine(machine(tmp_path), validate(driver="null", port=0)))
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert {"Python", "real-time priority", "memlock", "CPU governor", "clock source", "NTP",
            "shared memory", "swap", "network", "port", "compiled kernels", "free space",
            "disk speed (music)", "disk speed (recordings)", "disk speed (cache)"} <= set(names)
    assert not [check for check in found if "the check failed" in check.text]
    assert all(check.fix for check in found if check.state != "ok")
