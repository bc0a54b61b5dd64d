"""The table of commands: help, wrong usage, completion, and what is imported for them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crowdstream.cli import COMMANDS, main
from tests.support.environment import PROJECT, child_environment

LARGE = (
    "numba", "rich", "scipy", "starlette", "uvicorn", "prometheus_client", "segno",
    "crowdstream.engine.render", "crowdstream.web", "crowdstream.control",
)  # fmt: skip
# Writes the imported modules at exit, also after the os._exit of argcomplete.
PROGRAM = """
import os, sys
from crowdstream.cli import main
def report():
    open(sys.argv[1], "w").write("\\n".join(sys.modules))
leave = os._exit
os._exit = lambda status: (report(), leave(status))
try:
    status = main(sys.argv[2:])
finally:
    report()
sys.exit(status)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crowdstream", *arguments], cwd=PROJECT, text=True,
        env=child_environment(**environment), capture_output=True, check=False, timeout=300,
    )  # fmt: skip


def completion(line: str, place: Path) -> dict[str, str]:
    """The environment in which a shell asks for the completions of a line."""
    return {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(place),
        "COMP_LINE": line, "COMP_POINT": str(len(line.encode())), "COMP_TYPE": "9",
    }  # fmt: skip


def imported(place: Path, *arguments: str, **environment: str) -> set[str]:
    """The large packages that are imported for a command line."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place), *arguments], cwd=PROJECT, text=True,
        env=child_environment(**environment), capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    modules = place.read_text(encoding="utf-8").splitlines()
    return {name for name in LARGE if name in modules}


def completed(line: str, folder: Path) -> list[str]:
    """The completions of a command line. No large package may be imported for them."""
    place = folder / "completions"
    assert imported(folder / "modules", **completion(line, place)) == set()
    return [word.strip() for word in place.read_text(encoding="utf-8").split("\n")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: crowdstream {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_arguments_print_the_usage_and_exit_with_2(name: str) -> None:
    done = run(name, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"crowdstream {name}: ")
    assert f"usage: crowdstream {name} [options]" in line and "--help" in line


@pytest.mark.parametrize("arguments", [[], ["playlist"], [""], ["--wrong"], ["--", "serve"]])
def test_without_a_known_command_the_commands_are_listed_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and "usage: crowdstream " in err
    for name in COMMANDS:
        assert f"    {name} " in err or f"    {name}\n" in err


@pytest.mark.parametrize(
    ("word", "meant"), [("analyse", "analyze"), ("Plan", "plan"), ("docter", "doctor")]
)
def test_an_unknown_command_gets_a_suggestion(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"crowdstream: there is no command {word!r}; did you mean {meant}?"
    assert main(["xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_the_table_names_functions_that_exist() -> None:
    for name, command in COMMANDS.items():
        parser = command.build_parser()
        assert name == "serve" or parser.prog == f"crowdstream {name}"


def test_commands_are_completed(tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(completed("crowdstream ", tmp_path))
    assert completed("crowdstream s", tmp_path) == ["serve", "simulate-crowd"]
    assert completed(".venv/bin/crowdstream do", tmp_path) == ["doctor"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_every_command_are_completed(name: str, tmp_path: Path) -> None:
    found = set(completed(f"crowdstream {name} --", tmp_path))
    options = {
        flag for action in COMMANDS[name].build_parser()._actions
        for flag in action.option_strings if flag.startswith("--")
    }  # fmt: skip
    # argcomplete offers one of several spellings of an option.
    assert "--help" in found and found <= options
    for action in COMMANDS[name].build_parser()._actions:
        flags = {flag for flag in action.option_strings if flag.startswith("--")}
        shown = action.help != argparse.SUPPRESS  # an alias is accepted, and not offered
        assert not flags or bool(flags & found) == shown, flags


def test_the_values_of_an_option_are_completed(tmp_path: Path) -> None:
    assert completed("crowdstream render --format ", tmp_path) == ["16", "24", "float"]


def test_an_option_of_another_command_is_not_completed(tmp_path: Path) -> None:
    assert "--json" not in completed("crowdstream render --", tmp_path)


def test_completion_finds_the_mark_in_the_module_that_the_script_imports() -> None:
    # Completion of every Python program (activate-global-python-argcomplete) looks for it there.
    text = (PROJECT / "crowdstream" / "__main__.py").read_text(encoding="utf-8")
    assert "PYTHON_ARGCOMPLETE_OK" in text[:1024]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_version_and_help_import_no_large_package(arguments: list[str], tmp_path: Path) -> None:
    assert imported(tmp_path / "modules", *arguments) == set()


def test_commands_work_without_argcomplete(tmp_path: Path) -> None:
    (tmp_path / "argcomplete.py").write_text("raise ImportError", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(PROJECT)])
    for environment in ({}, completion("crowdstream ", tmp_path / "completions")):
        done = run("--version", PYTHONPATH=paths, **environment)
        assert done.returncode == 0 and done.stdout.startswith("crowdstream ")
