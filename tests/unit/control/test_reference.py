"""docs/osc.md is what the table says."""

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


def test_the_stems_of_a_deck_are_one_section() -> None:
    text = reference()
    assert "/stem/1" not in text
    assert "### `/deck/{deck}/stem/{number} f gain [f seconds]`" in text
    assert "`osc_deck_stem_{number}(address, ...)`" in text
    assert "`{number}` stands for 1 to 8." in text
