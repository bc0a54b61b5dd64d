"""Names that texts of the program and of the project give are those of things that exist."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib

import pytest

from crowdstream import REPORT
from crowdstream.audiofile import transcode
from crowdstream.library import dask_pool
from crowdstream.mcp import cli
from crowdstream.midi.ports import MidiError, RtMidi
from crowdstream.system.text import install_command
from tests.support.environment import PROJECT


def test_the_page_about_reporting_a_fault_exists() -> None:
    [page] = [word for word in REPORT.split() if word.endswith(".md")]
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert "git remote get-url origin" in text and "--log-file" in text


def test_every_module_that_pyproject_makes_exceptions_for_exists() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    missing = []
    for override in settings["tool"]["mypy"]["overrides"]:
        for module in override["module"]:
            place = PROJECT / module.removesuffix(".*").replace(".", "/")
            ours = module.startswith("crowdstream.")
            if ours and not place.is_dir() and not place.with_suffix(".py").is_file():
                missing.append(module)
    assert missing == []


def test_packages_that_messages_recommend_are_the_extras_of_pyproject() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    assert install_command(*extras["stems"]) == transcode.INSTALL
    assert dask_pool.MISSING.endswith(install_command(*extras["dask"]))
    assert transcode.INSTALL.startswith(f"{shlex.quote(sys.executable)} -m pip install ")
    library = (PROJECT / "docs" / "how-to" / "prepare-stems.md").read_text(encoding="utf-8")
    for requirement in (*extras["stems"], *extras["dask"]):
        assert f".venv/bin/pip install '{requirement}'" in library


def test_packages_of_other_extras_are_recommended_for_this_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    with pytest.raises(MidiError) as error:
        RtMidi()
    assert install_command(*extras["midi"]) in str(error.value)
    assert cli.MISSING.endswith(install_command(*extras["mcp"]))


PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")))
BARE = re.compile(r"^(?: {4})?(?:\$ )?(crowdstream|python3?|pip) ")


def bare_commands(text: str) -> list[str]:
    """Lines of code blocks that call a program of .venv/ as if it were in PATH."""
    found, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and BARE.match(line):
            found.append(line)
    return found


def test_commands_are_written_as_they_work_in_the_folder_of_the_project() -> None:
    assert len(PAGES) > 20
    assert bare_commands("a\n\n    python x.py\n```sh\ncrowdstream top\n```\ncrowdstream is it\n")
    found = {f"{page.name}: {line}" for page in PAGES for line in bare_commands(page.read_text())}
    assert found == set(), "write .venv/bin/crowdstream, .venv/bin/python, .venv/bin/pip"
