"""The generated pages of the documentation are what the declarations say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crowdstream.commands.patterns import MAX_PATTERN_CHARS
from crowdstream.commands.registry import MAX_MATCHES
from crowdstream.control.scheduler import MIN_REPORTED_WAIT_SECONDS
from crowdstream.reference import PARTS, UnknownPart, cell, filled, pages, write
from crowdstream.settings.schema import GROUPS, OPTIONS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"


def test_no_generated_page_is_stale() -> None:
    made = pages(FOLDER)
    stale = [
        str(path.relative_to(FOLDER))
        for path, text in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run: .venv/bin/crowdstream reference docs/reference"
    assert {"settings.md", "command-line.md", "http.md", "metrics.md", "python-api.md"} <= {
        path.name for path in made
    }


def test_no_page_of_the_osc_folder_is_left_over() -> None:
    assert {path.name for path in (FOLDER / "osc").iterdir()} == {
        path.name for path in pages(FOLDER) if path.parent.name == "osc"
    } | {"index.md"}


def test_every_part_has_a_place() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md"))
    for name in PARTS:
        assert text.count(f"<!-- generated: {name} -->") == 1


def test_every_setting_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(OPTIONS)


def test_the_page_names_every_setting_once() -> None:
    text = PARTS["settings"]()
    for name, option in OPTIONS.items():
        alias = "".join(f" (alias `{alias}`)" for alias in option.aliases)
        assert text.count(f"| `{name}`{alias} |") == 1


def test_aliases_are_shown_beside_the_flag_and_have_no_line_of_their_own() -> None:
    aliased = [option for option in OPTIONS.values() if option.aliases]
    assert aliased
    for part in ("settings", "serve", "commands"):
        text = PARTS[part]()
        assert "==SUPPRESS==" not in text
        # Subcommands have only some of the settings.
        shown = aliased if part != "commands" else [OPTIONS["cache_mb"], OPTIONS["duration"]]
        for option in shown:
            assert re.search(rf"`{option.flag}\b[^|]*` \(alias `{option.flags[1]}`\) \|", text)
        for option in aliased:
            assert not re.search(rf"\| `{option.flags[1]}[` ]", text)


def test_the_limits_in_the_text_are_those_of_the_code() -> None:
    text = " ".join((FOLDER / "osc" / "index.md").read_text(encoding="utf-8").split())
    assert f"up to {MAX_MATCHES}, act on one frame" in text
    assert f"A pattern has up to {MAX_PATTERN_CHARS} characters" in text
    assert f"more than {MIN_REPORTED_WAIT_SECONDS:g} s ahead" in text


def test_writing_replaces_a_part_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "paths.md"
    page.write_text(
        "before\n<!-- generated: paths -->\nold\n<!-- end of paths -->\nafter\n", encoding="utf-8"
    )
    assert page in write(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and "| `{bus}` | 1, 2 |" in text
    assert write(tmp_path) == [], "nothing has changed since"


def test_a_part_that_nothing_writes_is_refused() -> None:
    with pytest.raises(UnknownPart, match="nothing"):
        filled("<!-- generated: nothing -->\n<!-- end of nothing -->")


def test_a_cell_is_one_line_and_keeps_its_columns() -> None:
    assert cell("a |\n b") == "a \\| b"
