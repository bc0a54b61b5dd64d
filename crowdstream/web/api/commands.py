"""The command table indexed by address. For its declarations, see `commands.registry`.

Convert a command's arguments from JSON into the order of its OSC message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from crowdstream.desk.constants import BUSES, DECKS, INPUTS, SAMPLE_PADS
from crowdstream.system.text import read_json

PLACES = {
    "deck": tuple("ABCD"[:DECKS]),
    "bus": tuple(str(number + 1) for number in range(BUSES)),
    "sample": tuple(str(number + 1) for number in range(SAMPLE_PADS)),
    "input": tuple(str(number + 1) for number in range(INPUTS)),
}
_PLACE = re.compile(r"\{(\w+)\}")

Command = dict[str, Any]
"""An entry of the table as control sends it: address, name, help, args, ..."""


def place_of(address: str) -> str:
    """The placeholder in an address pattern: such as `deck`, or empty if there is none."""
    found = _PLACE.search(address)
    return found[1] if found else ""


def addresses(command: Command) -> Iterator[str]:
    """All addresses of a command; deck letters in capitals."""
    address = command["address"]
    place = place_of(address)
    for one in PLACES.get(place, ("",)):
        yield address.replace(f"{{{place}}}", one)


def with_aliases(table: list[Command]) -> list[Command]:
    """The table with an entry of its own for each alias: `alias_of` is the command's address."""
    found: list[Command] = []
    for command in table:
        found.append(command)
        found += [
            {**command, "address": alias, "aliases": [], "alias_of": command["address"]}
            for alias in command.get("aliases", ())
        ]
    return found


class Commands:
    """An index of the command table, rebuilt when control sends another table."""

    def __init__(self) -> None:
        self._table: list[Command] = []
        self._exact: dict[str, Command] = {}

    def of(self, table: list[Command]) -> dict[str, Command]:
        """The commands of a table by address or alias; deck letters also in lower case."""
        if table is not self._table:
            self._table = table
            self._exact = {}
            for command in with_aliases(table):
                for address in addresses(command):
                    self._exact[address] = command
                if place_of(command["address"]) == "deck":
                    for letter in PLACES["deck"]:
                        small = command["address"].replace("{deck}", letter.lower())
                        self._exact[small] = command
        return self._exact


MAX_ARGUMENTS = 1100  # a beat grid of 512 points has 1024
MAX_NUMBER = 3.4028234663852886e38  # the largest float of OSC; each argument has its own range


class InvalidArguments(ValueError):
    """The request does not contain valid arguments; the text gives the reason."""


def parse_json(body: bytes) -> Any:
    """Parse a request's body. Raises `InvalidArguments`."""
    try:
        return read_json(body)
    except ValueError as error:
        raise InvalidArguments(f"invalid JSON: {error}") from None


def in_order(command: dict[str, Any], given: Any) -> list[Any]:
    """The arguments in the command's order, from `{"args": [...]}`, a list, or an object by name.

    `command`: its entry of the table. Control checks the values; this function only their JSON
    types. None stands for an omitted argument without a default. Raises `InvalidArguments`.
    """
    if isinstance(given, dict):
        named = given.get("args") if set(given) == {"args"} else given
        given = _checked(named) if isinstance(named, list) else _by_name(command, given)
    elif isinstance(given, list):
        given = _checked(given)
    if not isinstance(given, list):
        raise InvalidArguments('arguments must be {"args": [...]} or an object by name')
    if len(given) > MAX_ARGUMENTS:
        raise InvalidArguments(f"a command has at most {MAX_ARGUMENTS} arguments")
    args = command["args"]
    for place, value in enumerate(given):
        arg = args[min(place, len(args) - 1)] if args else None
        if isinstance(value, bool) and arg and (command["any_order"] or not arg["switch"]):
            # The switches of OSC are numbers; elsewhere a boolean is probably a mistake.
            raise InvalidArguments(f"{arg['name']}: {json.dumps(value)} is not a number")
    return given


def _by_name(command: dict[str, Any], given: dict[str, Any]) -> list[Any]:
    args = command["args"]
    names = [arg["name"] for arg in args]
    if strange := [name for name in given if name not in names]:
        known = f"its arguments are {', '.join(names)}" if names else "it has none"
        raise InvalidArguments(
            f"{strange[0][:40]} is not an argument of {command['address']}: {known}"
        )
    last = max((names.index(name) for name in given), default=-1)
    found: list[Any] = []
    for arg in args[: last + 1]:
        name = arg["name"]
        if name not in given:
            if "default" not in arg:
                raise InvalidArguments(f"{name} is missing, but {names[last]} comes after it")
            found.append(arg["default"])
            continue
        values = given[name] if arg["rest"] and isinstance(given[name], list) else [given[name]]
        if command["any_order"] and any(isinstance(one, str) != (arg["type"] == "s")
                                        for one in values):
            # By its type alone it would be taken for another argument.
            raise InvalidArguments(f"{name} is a {'text' if arg['type'] == 's' else 'number'}")
        found += _checked(values)
    return found


def _checked(values: list[Any]) -> list[Any]:
    for value in values:
        _check(value)
    return values


def _check(value: Any) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:
            raise InvalidArguments("a number is too large")
    elif isinstance(value, str):
        try:
            # File names that are not UTF-8 come as lone surrogates, and are sent as the same bytes.
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidArguments("a text is not valid Unicode") from None
    else:
        raise InvalidArguments("arguments must be numbers or texts")
