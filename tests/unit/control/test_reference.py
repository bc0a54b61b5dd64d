"""docs/osc.md is what the table says."""

import re
from pathlib import Path

from crowdstream.control.reference import reference
from crowdstream.control.status import STATUS_NAMES
from crowdstream.control.table import TABLE

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_reference_is_not_stale() -> None:
    written = (DOCS / "osc.md").read_text(encoding="utf-8")
    assert written == reference(), "run: crowdstream reference > docs/osc.md"


def test_every_command_and_argument_is_explained() -> None:
    for command in TABLE.commands:
        assert command.help.endswith("."), command.address
        for arg in command.args:
            assert arg.help, f"{command.address} {arg.name}"


def test_every_name_of_the_status_is_explained_once() -> None:
    text = reference()
    for name in STATUS_NAMES:
        assert text.count(f"| `{name}` |") == 1


def test_each_method_that_the_reference_names_is_there() -> None:
    named = re.findall(r"`osc_(\w+)", reference().split("## What `/status.reply`")[0])
    assert not [name for name in named if TABLE.by_name(name) is None]
    assert {"deck_fx_insert", "bus_fx_insert", "mix_fx_insert", "deck_stem_8_eq_low"} <= set(named)
    assert len(re.findall("^Python: ", reference(), re.MULTILINE)) == reference().count("\n### `")


def test_the_stems_of_a_deck_are_one_section() -> None:
    text = reference()
    assert "/stem/1" not in text
    assert "### `/deck/{deck}/stem/{number} f gain [f seconds]`" in text
    assert "`osc_deck_stem_1(address, ...)` to `osc_deck_stem_8`" in text
    assert "`{number}` stands for 1 to 8." in text
