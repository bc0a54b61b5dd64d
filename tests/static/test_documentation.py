"""The documentation builds without warnings, and the files and commands it names exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdstream.reference import PARSERS
from crowdstream.settings.cli import ACTIONS
from crowdstream.settings.schema import OPTIONS
from tests.support.documented_commands import blocks
from tests.support.environment import PROJECT, bare_environment

DOCS = PROJECT / "docs"
TOP = [PROJECT / name for name in (
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "ROADMAP.md", "CHANGELOG.md",
)]  # fmt: skip
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
NAMED_PATH = re.compile(
    r"`((?:crowdstream|benchmarks|configs|contrib|docs|examples|tests)/[\w./-]*[\w/])(?:::\w+)?`"
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")
SECTIONS = {
    "tutorials": {"first-mix", "your-own-music", "first-sequencer", "raspberry-pi"},
    "how-to": {
        "prepare-stems", "start-at-boot-with-dj", "secure-network", "https-for-phones", "record",
        "render", "tune-latency", "monitor", "upgrade-and-backup",
        "migrate-from-the-first-server", "write-an-effect", "supercollider-and-tidal",
    },
    "concepts": {
        "overview", "time-and-sync", "decks-and-stems", "the-dj", "failover", "load-shedding",
    },
    "reference": {
        "settings", "command-line", "python-api", "http", "metrics", "set-files", "sidecars",
        "files-ports-exit-codes",
    },
    "development": {
        "architecture", "code-map", "testing", "fuzzing", "soak", "analysis", "releasing",
    },
}  # fmt: skip
"""Pages that readers look for; a section may have more."""


def test_the_documentation_builds_without_warnings_and_without_network(
    tmp_path: Path,
) -> None:
    built = subprocess.run(
        [sys.executable, "-P", "-m", "sphinx", "-q", "-W", "--keep-going",
         "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
        env=bare_environment(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9"),
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    index = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert "pictures/page-wide" not in index and "page-wide.png" in index
    # Readable offline: no page loads anything from another host.
    for page in (tmp_path / "html").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=\"(?:https?:)?//", text), page
    api = (tmp_path / "html" / "reference" / "python-api.html").read_text(encoding="utf-8")
    assert "PythonAudioServer.start" in api and "Open the sound device and the port" in api


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_its_pages(section: str) -> None:
    assert {path.stem for path in (DOCS / section).glob("*.md")} >= {"index", *SECTIONS[section]}


def test_links_between_files_have_a_target() -> None:
    # Sphinx checks the links between its own pages; the others are read on the code host.
    for path in [*TOP, *PAGES]:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in LINK.findall(text):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(PROJECT)}: {target}"


def test_files_named_in_the_documentation_exist() -> None:
    missing = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in [*TOP, *PAGES]
        for name in NAMED_PATH.findall(path.read_text(encoding="utf-8"))
        if not name.startswith("docs/_build") and not (PROJECT / name).exists()
    ]
    assert not missing


def source_files() -> list[Path]:
    """Return the files of code, scripts and settings."""
    folders = ("crowdstream", "benchmarks", "contrib", "configs", "examples", "tests")
    sources = [path for folder in folders for path in (PROJECT / folder).rglob("*")
               if path.suffix in (".py", ".sh", ".toml", ".js", ".json", ".service")]  # fmt: skip
    for pattern in ("*.py", "*.sh", "*.toml", "Containerfile"):
        sources += PROJECT.glob(pattern)
    return sources


def test_modules_named_anywhere_exist() -> None:
    # A module is named with as much of its path as needed: `source.py`, `dj/setfile/reader.py`.
    sources = source_files()
    known = [f"/{path.relative_to(PROJECT)}" for path in sources]
    missing = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in [*TOP, *PAGES, *sources]
        for name in re.findall(r"`([\w/]+\.(?:py|js|sh))`", path.read_text(encoding="utf-8"))
        if not any(one.endswith(f"/{name}") for one in known)
    ]
    assert not missing


def test_pages_named_in_the_code_exist() -> None:
    sources = source_files()
    missing = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in sources
        for name in re.findall(r"docs/[\w./-]+\.md", path.read_text(encoding="utf-8"))
        if not (PROJECT / name).exists()
    ]
    assert not missing


SERVER_FLAGS = {
    *(option.flag for option in OPTIONS.values()), *ACTIONS,
    *(f"--no-{option.flag[2:]}" for option in OPTIONS.values() if option.metavar is None),
}  # fmt: skip
SCRIPT_FLAGS = set(re.findall(r"--[a-z-]+", (PROJECT / "start-crowdstream.sh").read_text("utf-8")))
KNOWN = {
    "serve": SERVER_FLAGS, "doctor": SERVER_FLAGS | {"--json"}, "compile": set[str](),
    "reference": set[str](), "--version": {"--version"},
    **{name: {flag for one in build()._actions for flag in one.option_strings}
       for name, build in PARSERS.items()},
}  # fmt: skip
"""The options of each subcommand."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """The location and the words of each command of this project in the documentation."""
    for path in [*TOP, *PAGES]:
        for block in blocks(path, str(path.relative_to(PROJECT))):
            for line in block.code.replace("\\\n", " ").splitlines():
                text = re.sub(r"<<.*", "", line)
                if re.match(r"(sudo )?(\./|\.venv/bin/)", text):
                    words = shlex.split(text.removeprefix("sudo "), comments=True)
                    yield f"{block.page}: {line}", words


def test_documented_commands_exist_and_accept_the_options_shown() -> None:
    # This includes commands that tests/system/test_documented_commands.py does not run.
    found = list(commands())
    assert len(found) > 50
    for where, words in found:
        program, *rest = words
        given = {word.partition("=")[0] for word in rest if word.startswith("-")}
        if program == ".venv/bin/crowdstream":
            assert rest[0] in KNOWN, where
            assert given <= KNOWN[rest[0]] | {"--help"}, where
        elif program == "./start-crowdstream.sh":
            assert given <= SERVER_FLAGS | SCRIPT_FLAGS, where
        elif program == ".venv/bin/python" and rest and rest[0].endswith(".py"):
            assert rest[0] == "script.py" or (PROJECT / rest[0]).is_file(), where
        elif program == ".venv/bin/python" and "-m" in rest:
            module = rest[rest.index("-m") + 1].replace(".", "/")
            there = (f"{module}.py", f"{module}/__main__.py")
            assert module == "pip" or any((PROJECT / name).is_file() for name in there), where
        elif program.startswith("./"):
            assert (PROJECT / program).is_file(), where
