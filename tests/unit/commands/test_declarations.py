"""Declarations of the command table: checking and binding arguments, finding addresses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.commands.errors import BadArgument, UnknownAddress
from crowdstream.commands.registry import (
    DECK_LETTERS,
    HINT_SECONDS,
    PLACES,
    REQUIRED,
    TABLE,
    Arg,
    Command,
    Table,
    deck_arg,
    deck_number,
)


def nothing(_context: Any, **_arguments: Any) -> None:
    """Do nothing,
    in two lines."""


def made(*args: Arg, address: str = "/x", **options: Any) -> Command:
    return Command(address, args, "", nothing, **options)


def refused(arg: Arg, value: Any) -> str:
    with pytest.raises(BadArgument) as error:
        arg.check(value)
    return str(error.value)


# --- one argument -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (1.5, 1.5), (True, 1.0), (np.float32(0.25), 0.25), (Fraction(1, 4), 0.25)],
)
def test_a_number_is_accepted_in_any_form(value: Any, number: float) -> None:
    checked = Arg("gain", "f").check(value)
    assert checked == number and type(checked) is float


def test_a_whole_number_is_accepted_in_any_form() -> None:
    for value in (3, 3.0, np.int64(3)):
        checked = Arg("count", "i").check(value)
        assert checked == 3 and type(checked) is int
    assert refused(Arg("count", "i"), 3.5) == "count: 3.5 is not a whole number"
    assert Arg("gain", "f").check(3.5) == 3.5


@pytest.mark.parametrize("value", ["1", None, b"1", [1], Decimal(1), 1j])
def test_a_value_that_is_not_a_number_is_refused(value: Any) -> None:
    assert refused(Arg("gain", "f"), value) == f"gain: {value!r} is not a number"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400])
def test_a_number_that_is_not_finite_is_refused(value: Any) -> None:
    for kind in "if":
        assert refused(Arg("gain", kind), value).endswith("is not finite")


def test_a_range_includes_both_ends() -> None:
    arg = Arg("gain", "f", unit="dB", low=-2.0, high=4.5)
    assert [arg.check(value) for value in (-2, 0, 4.5)] == [-2.0, 0.0, 4.5]
    text = "is out of range, -2 to 4.5 dB"
    assert refused(arg, -2.001) == f"gain: -2.001 {text}"
    assert refused(arg, 4.501) == f"gain: 4.501 {text}"
    from_zero = Arg("gain", "f", low=0.0)
    assert from_zero.check(0.0) == 0.0 and from_zero.check(1e30) == 1e30
    assert refused(from_zero, -1) == "gain: -1 is out of range, at least 0"
    up_to = Arg("gain", "f", high=0.0)
    assert up_to.check(-1e30) == -1e30 and "out of range" in refused(up_to, 0.5)


def test_a_range_in_words() -> None:
    assert Arg("a", "f").range_text() == ""
    assert Arg("a", "f", unit="s").range_text() == "s"
    assert Arg("a", "f", unit="s", low=0.0).range_text() == "at least 0 s"
    assert Arg("a", "f", low=0.0, high=1.0).range_text() == "0 to 1"
    assert Arg("a", "f", unit="s", high=1.0).range_text() == "s"


def test_words_are_accepted_in_place_of_a_number() -> None:
    arg = Arg("beats", "f", low=1.0, words=("off", "bar"))
    assert arg.check("OFF") == "off" and arg.check("bar") == "bar" and arg.check(2) == 2.0
    assert refused(arg, "bars") == "beats: 'bars' is not a number nor one of off, bar"
    assert refused(Arg("beats", "f"), "off") == "beats: 'off' is not a number"


def test_a_wildcard_argument_accepts_any_value_unchanged() -> None:
    value = object()
    assert Arg("any", "*").check(value) is value and Arg("any", "*").check("") == ""


def test_a_string_is_not_empty_and_contains_no_zero_byte() -> None:
    arg = Arg("path", "s")
    assert arg.check("a b") == "a b"
    for value in ("", "a\0b"):
        assert refused(arg, value) == "path: is empty or contains a zero byte"
    for wrong in (1, None, b"x"):
        assert refused(arg, wrong) == f"path: {wrong!r} is not a string"
    may_be_empty = Arg("name", "s", default="")
    assert may_be_empty.check("") == "" and may_be_empty.check("a") == "a"
    assert "zero byte" in refused(may_be_empty, "\0")
    assert "empty" in refused(Arg("name", "s", default="x"), "")


def test_a_choice_is_returned_in_its_declared_spelling() -> None:
    arg = Arg("band", "s", choices=("low", "Mid"))
    assert arg.check("LOW") == "low" and arg.check("mid") == "Mid"
    assert refused(arg, "high") == "band: 'high' must be one of low, Mid"
    assert "must be one of" in refused(arg, "")


def test_a_long_value_is_shortened_in_the_error() -> None:
    arg = Arg("band", "s", choices=("low",))
    longest = "x" * 38
    assert refused(arg, longest) == f"band: '{longest}' must be one of low"
    text = refused(arg, longest + "x")
    assert text == f"band: '{'x' * 36}... must be one of low"


# --- the arguments of a command ---------------------------------------------------------------

TWO = (Arg("a", "i"), Arg("b", "f", default=0.5))


def test_arguments_are_bound_by_name() -> None:
    command = made(*TWO)
    assert command.bind([1]) == {"a": 1, "b": 0.5}
    assert command.bind((1, 2)) == {"a": 1, "b": 2.0}
    with pytest.raises(BadArgument, match=r"^a is missing \(/x i a \[f b\]\)$"):
        command.bind([])
    with pytest.raises(BadArgument, match=r"^3 arguments are too many \(/x i a \[f b\]\)$"):
        command.bind([1, 2, 3])
    with pytest.raises(BadArgument, match=r"^b: "):
        command.bind([1, "x"])
    with pytest.raises(BadArgument, match="too many"):
        made().bind([1])
    assert made().bind([]) == {}


def test_a_rest_argument_takes_all_remaining_values() -> None:
    command = made(Arg("a", "i"), Arg("more", "f", rest=True))
    assert command.bind([1, 2, 3]) == {"a": 1, "more": (2.0, 3.0)}
    assert command.bind([1, 2]) == {"a": 1, "more": (2.0,)}
    with pytest.raises(BadArgument, match=r"^more is missing \(/x i a f more \.\.\.\)$"):
        command.bind([1])
    with pytest.raises(BadArgument, match=r"^more: 'x' is not a number$"):
        command.bind([1, 2, "x"])
    optional = made(Arg("more", "i", rest=True, default=()))
    assert optional.bind([]) == {"more": ()} and optional.bind([4]) == {"more": (4,)}
    assert optional.usage() == "/x [i more ...]"


def test_arguments_may_come_in_another_order() -> None:
    def swap(values: Sequence[Any]) -> Sequence[Any]:
        return values[::-1]

    command = made(*TWO, reorder=swap)
    assert command.bind([0.25, 7]) == {"a": 7, "b": 0.25}
    assert command.values({"a": 7, "b": 0.25}, 1) == (7, 0.25), "reordered: all of them"


def test_values_returns_as_many_as_were_sent() -> None:
    command = made(*TWO)
    bound = command.bind([1])
    assert command.values(bound, 1) == (1,)
    assert command.values(bound, 2) == (1, 0.5)
    assert command.values(bound, 0) == ()
    rest = made(Arg("a", "i"), Arg("more", "i", rest=True))
    assert rest.values(rest.bind([1, 2, 3]), 3) == (1, 2, 3)


# --- addresses --------------------------------------------------------------------------------


def test_the_letters_and_numbers_of_places() -> None:
    assert DECK_LETTERS == "ABCD"
    assert PLACES["deck"][:3] == [("A", 0), ("a", 0), ("B", 1)] and PLACES["deck"][-1] == ("d", 3)
    assert PLACES["bus"] == [("1", 0), ("2", 1)]
    assert [deck_number(letter) for letter in "ABCD"] == [0, 1, 2, 3]
    arg = deck_arg("other", default="A")
    assert (arg.name, arg.check("c"), arg.default) == ("other", "C", "A")
    assert deck_arg().name == "deck" and deck_arg().default is REQUIRED
    assert "must be one of A, B, C, D" in refused(arg, "E")


def test_an_address_becomes_a_python_name() -> None:
    assert made(address="/deck/{deck}/eq/low").name == "deck_eq_low"
    assert made(address="/status.json").name == "status_json"


def test_a_command_for_each_place_is_found_in_each_spelling() -> None:
    table = Table()
    handler = table.add("/deck/{deck}/level", Arg("gain", "f"), scheduled=True)(nothing)
    assert handler is nothing
    table.add("/bus/{bus}/level")(nothing)
    level, bus = table.commands
    assert level.help == "Do nothing, in two lines."
    assert level.scheduled and not bus.scheduled
    assert table.find("/deck/C/level") == table.find("/deck/c/level") == (level, {"deck": 2})
    assert table.find("/bus/2/level") == (bus, {"bus": 1})
    assert level.address_at({"deck": 2}) == "/deck/C/level"
    assert bus.address_at({"bus": 0}) == "/bus/1/level"
    assert made().address_at({}) == "/x"
    for unknown in ("/deck/E/level", "/deck/{deck}/level", "/bus/3/level", "/bus/0/level"):
        with pytest.raises(UnknownAddress):
            table.find(unknown)


def test_a_command_without_deck_or_bus_has_one_address() -> None:
    table = Table()
    assert table.add("/status")(nothing) is nothing
    assert table.find("/status") == (table.commands[0], {})
    assert table.by_name("status") is table.commands[0] and table.by_name("other") is None
    with pytest.raises(UnknownAddress):
        table.find("/STATUS")


def test_no_two_commands_share_a_python_name() -> None:
    table = Table()
    table.add("/deck_eq")(nothing)
    with pytest.raises(ValueError, match="'deck_eq' is taken"):
        table.add("/deck/{deck}/eq")(nothing)
    with pytest.raises(ValueError, match="not a valid Python name"):
        table.add("/deck/eq-low")(nothing)
    table.add("/deck/{deck}/eq", python="deck_eq_db")(nothing)
    assert [command.address for command in (table.by_name("deck_eq"), table.by_name("deck_eq_db"))
            if command] == ["/deck_eq", "/deck/{deck}/eq"]


def test_every_command_of_the_server_has_a_python_name_of_its_own() -> None:
    for command in TABLE.commands:
        assert f"osc_{command.name}".isidentifier()
        assert TABLE.by_name(command.name) is command


def test_a_handler_without_a_docstring_has_no_help() -> None:
    table = Table()
    table.add("/x")(lambda _context: None)
    assert table.commands[0].help == ""


def test_the_defaults_of_a_command() -> None:
    command = made()
    options = (command.scheduled, command.quantized, command.control_only, command.changes)
    assert options == (False, False, False, True)
    assert command.reorder is None and command.answers == ""
    arg = Arg("a", "f")
    assert arg.default is REQUIRED and not arg.rest and not arg.choices and not arg.words


def test_declarations_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        made().address = "/y"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Arg("a", "f").low = 1.0  # type: ignore[misc]


def hint(table: Table, address: str) -> str:
    with pytest.raises(UnknownAddress) as error:
        table.find(address)
    return str(error.value)


def test_suggestions_are_rate_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("crowdstream.commands.registry.time.monotonic", lambda: now)
    table = Table()
    table.add("/status")(nothing)
    assert hint(table, "/statsu") == "unknown address (did you mean /status?)"
    assert hint(table, "/statsu") == "unknown address", "a flood gets no suggestions"
    now += HINT_SECONDS / 2
    assert hint(table, "/statsu") == "unknown address"
    now += HINT_SECONDS / 2 + 1e-6
    assert hint(table, "/statsu") == "unknown address (did you mean /status?)"
    now += 1.0
    assert hint(table, "/nothing/like/it") == "unknown address"


def test_the_first_unknown_address_gets_a_suggestion_even_at_time_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("crowdstream.commands.registry.time.monotonic", lambda: now)
    table = Table()
    table.add("/status")(nothing)
    assert "did you mean" in hint(table, "/statsu")
    now = HINT_SECONDS
    assert "did you mean" in hint(table, "/statsu"), "ten a second"


def test_only_the_beginning_of_a_long_address_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def to_state(word: str, _known: Any, count: int) -> list[str]:
        seen.append(word)
        assert count == 1
        return []

    monkeypatch.setattr("difflib.get_close_matches", to_state)
    table = Table()
    hint(table, "/" + "x" * 5000)
    assert [len(word) for word in seen] == [100]
