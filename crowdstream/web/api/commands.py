"""The command table indexed by address. For its declarations, see `commands.registry`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crowdstream.desk.constants import BUSES, DECKS

PLACES = {
    "deck": tuple("ABCD"[:DECKS]),
    "bus": tuple(str(number + 1) for number in range(BUSES)),
}
_PLACE = re.compile(r"\{(\w+)\}")

Command = dict[str, Any]
"""An entry of the table as control sends it: address, name, help, args, ..."""


def place_of(address: str) -> str:
    """The placeholder in an address pattern: `deck`, `bus`, or empty if there is none."""
    found = _PLACE.search(address)
    return found[1] if found else ""


def addresses(command: Command) -> Iterator[str]:
    """All addresses of a command; deck letters in capitals."""
    address = command["address"]
    place = place_of(address)
    for one in PLACES.get(place, ("",)):
        yield address.replace(f"{{{place}}}", one)


class Commands:
    """An index of the command table, rebuilt when control sends another table."""

    def __init__(self) -> None:
        self._table: list[Command] = []
        self._exact: dict[str, Command] = {}

    def of(self, table: list[Command]) -> dict[str, Command]:
        """The commands of a table by address; deck letters also in lower case."""
        if table is not self._table:
            self._table = table
            self._exact = {}
            for command in table:
                for address in addresses(command):
                    self._exact[address] = command
                if place_of(command["address"]) == "deck":
                    for letter in PLACES["deck"]:
                        small = command["address"].replace("{deck}", letter.lower())
                        self._exact[small] = command
        return self._exact
