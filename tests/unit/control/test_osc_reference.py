"""The generated OSC reference is complete and matches the command table."""

import re

from crowdstream.commands.registry import TABLE
from crowdstream.control.osc_reference import SUBJECTS, osc_pages
from crowdstream.control.publish.status import STATUS_NAMES


def test_every_command_is_on_exactly_one_page() -> None:
    pages = osc_pages()
    headings = [line for text in pages.values() for line in text.splitlines() if line[:4] == "## `"]
    assert len(headings) == len(set(headings))
    for command in TABLE.commands:
        if "/fx/" not in command.address and "/stem/" not in command.address:
            assert f"## `{command.usage()}`" in headings, command.address
    assert len(pages) == len(SUBJECTS) + 1


def test_every_command_and_argument_has_a_help_text() -> None:
    for command in TABLE.commands:
        assert command.help.endswith("."), command.address
        for arg in command.args:
            assert arg.help, f"{command.address} {arg.name}"


def test_every_name_of_the_status_is_documented_once() -> None:
    text = "".join(osc_pages().values())
    for name in STATUS_NAMES:
        assert text.count(f"| `{name}` |") == 1


def test_the_stems_of_a_deck_are_one_section() -> None:
    text = osc_pages()["decks-and-mixer.md"]
    assert "## `/deck/{deck}/stem/{number} f gain [f seconds]`" in text
    assert "`osc_deck_stem_1(address, ...)` to `osc_deck_stem_8(address, ...)`" in text
    assert "`{number}` stands for 1 to 8." in text


def test_the_chains_are_one_section_with_all_their_python_names() -> None:
    text = osc_pages()["effects.md"]
    assert text.count("## `{chain}/fx/insert ") == 1
    for chain in ("deck", "bus", "mix"):
        assert f"`osc_{chain}_fx_insert(address, ...)`" in text


def test_every_method_named_in_the_reference_exists() -> None:
    named = re.findall(r"`osc_(\w+)", "".join(osc_pages().values()))
    assert not [name for name in named if TABLE.by_name(name) is None]
    assert {"deck_fx_insert", "bus_fx_insert", "mix_fx_insert", "deck_stem_8_eq_low"} <= set(named)
