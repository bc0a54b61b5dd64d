"""Tools: their schemas are valid, and their arguments become the right commands."""

from __future__ import annotations

import jsonschema
import pytest

from crowdstream.commands.registry import TABLE
from crowdstream.mcp.tools import BadArguments, tools

TOOLS = tools()


@pytest.mark.parametrize("name", TOOLS)
def test_the_schema_of_each_tool_is_valid(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(TOOLS[name].schema)
    assert TOOLS[name].description


def test_reading_and_changing_tools_are_those_of_the_table() -> None:
    reading = {name for name, tool in TOOLS.items() if not tool.command.writes}
    assert reading == {
        "broadcast_list", "bus_fx_list", "clock_beat", "clock_time", "deck_fx_list", "dj_status",
        "events", "fx_modules", "input_fx_list", "lights_list", "link_status", "midi_list",
        "mix_fx_list", "record_status", "rooms_status", "schedule_status", "status", "version",
        "waiting",
    }  # fmt: skip
    known = {command.name: command for command in TABLE.commands}
    for name, tool in TOOLS.items():
        if name in known:
            assert known[name].changes == tool.command.writes


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("deck_level", {"deck": "a", "gain": 0.5}, "/deck/A/level 0.5"),
        ("deck_level", {"deck": "A", "gain": 0.5, "seconds": 4.0}, "/deck/A/level 0.5 4.0"),
        ("deck_play", {"deck": "B"}, "/deck/B/play"),
        ("deck_play", {"deck": "B", "start_at": 1.0}, "/deck/B/play 1.0 0"),
        ("deck_play", {"deck": "B", "at_beat": 64}, "/deck/B/play at beat 64"),
        ("deck_stem_eq_low", {"deck": "D", "stem": 3, "gain": 0}, "/deck/D/stem/3/eq/low 0"),
        ("deck_fx_insert", {"deck": "A", "slot": 1, "module": "echo", "values": [0.5, "x"]},
         "/deck/A/fx/insert 1 echo 0.5 x"),
        ("cancel", {"what": ["A"]}, "/cancel A"),
        ("clock_at", {"beat": 8, "address": "/deck/A/stop"}, "/clock/at 8 /deck/A/stop"),
        ("status", {}, "/status"),
    ],
)
def test_arguments_become_a_command(
    name: str, arguments: dict[str, object], expected: str
) -> None:
    assert str(TOOLS[name].bind(arguments)) == expected
    jsonschema.validate({**arguments, "deck": str(arguments.get("deck", "A")).upper()}
                        if "deck" in arguments else arguments, TOOLS[name].schema)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("deck_level", {"gain": 0.5}, "deck is missing"),
        ("deck_level", {"deck": "E", "gain": 0.5}, "deck must be one of A, B, C, D"),
        ("deck_level", {"deck": "A"}, "gain is missing"),
        ("deck_level", {"deck": "A", "gain": 1, "loud": 1}, "has no argument 'loud'"),
        ("deck_level", {"deck": "A", "gain": 1, "at_beat": "soon"}, "at_beat is not a number"),
        ("deck_grid_points", {"deck": "A"}, "pairs is missing"),
        ("deck_grid_points", {"deck": "A", "pairs": 1}, "pairs is not a list"),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(BadArguments, match=reason):
        TOOLS[name].bind(arguments)


def test_zero_is_allowed_where_it_has_a_meaning_of_its_own() -> None:
    schema = TOOLS["clock_quantize"].schema
    jsonschema.validate({"beats": 0}, schema)
    jsonschema.validate({"beats": "bar"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"beats": "never"}, schema)
