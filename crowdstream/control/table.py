"""The one table of commands: what each is called, takes, means and answers.

Dispatch, validation, error replies, the Python calls and `docs/osc.md` come from it.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from crowdstream.control.errors import BadArgument, UnknownAddress
from crowdstream.desk.sizes import BUSES, DECKS

DECK_LETTERS = "ABCD"[:DECKS]
BANDS = ("low", "mid", "high")

# What stands for a place in an address: how each is written, and its number.
PLACES = {
    "deck": [
        (case, number)
        for number, letter in enumerate(DECK_LETTERS)
        for case in (letter, letter.lower())
    ],
    "bus": [(str(number + 1), number) for number in range(BUSES)],
}

HINT_SECONDS = 0.1  # at most ten suggestions a second

REQUIRED: Any = object()
"""Marks an argument without a default."""


@dataclass(frozen=True)
class Arg:
    """One argument: OSC type tag (i, f, s), unit, inclusive range, default, choices.

    `rest`: takes all that remain (at least one unless there is a default), as a tuple. Type `*`
    is any value, as it comes. `words`: texts that may stand for a number: the handler gets those.
    """

    name: str
    type: str
    help: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    rest: bool = False
    words: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """`value` as this argument's type; raises `BadArgument` saying what is allowed."""
        if self.type == "*":
            return value
        if self.type == "s":
            return self._check_text(value)
        if self.words and isinstance(value, str) and value.lower() in self.words:
            return value.lower()
        try:
            number = float(value) if isinstance(value, Real) else None
        except OverflowError:
            number = math.inf
        if number is None:
            words = f" nor one of {', '.join(self.words)}" if self.words else ""
            raise BadArgument(f"{self.name}: {_shown(value)} is not a number{words}")
        if not math.isfinite(number):
            raise BadArgument(f"{self.name}: {_shown(value)} is not finite")
        if self.type == "i" and not number.is_integer():
            raise BadArgument(f"{self.name}: {number:g} is not a whole number")
        if (self.low is not None and number < self.low) or (
            self.high is not None and number > self.high
        ):
            raise BadArgument(f"{self.name}: {number:g} is out of range, {self.range_text()}")
        return number if self.type == "f" else int(value)

    def _check_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadArgument(f"{self.name}: {_shown(value)} is not a text")
        if not self.choices:
            if not value and self.default == "":
                return value
            if not value or "\0" in value:
                raise BadArgument(f"{self.name}: is empty or holds a zero byte")
            return value
        for choice in self.choices:
            if value.lower() == choice.lower():
                return choice
        raise BadArgument(f"{self.name}: {_shown(value)} is none of {', '.join(self.choices)}")

    def range_text(self) -> str:
        """The allowed range in words, with its unit; empty when all is allowed."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}{unit}"
        if self.low is not None:
            return f"at least {self.low:g}{unit}"
        return unit.strip()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@dataclass(frozen=True)
class Command:
    """One address, or one for each deck or bus when it contains `{deck}` or `{bus}`.

    `handler(context, **arguments)` does it; `answers` says in words what the sender gets
    besides `/fail`. `scheduled`: it acts exactly at the frame that a bundle's time tag names.
    `quantized`: sent for at once, it waits for the beat that `/deck/{deck}/quantize` says.
    `asks`: it needs nothing of the engine, and is answered also while that is overloaded.
    `changes`: others may see a difference after it, and those who watch are told.
    """

    address: str
    args: tuple[Arg, ...]
    help: str
    handler: Callable[..., Any]
    answers: str = ""
    scheduled: bool = False
    quantized: bool = False
    asks: bool = False
    changes: bool = True
    reorder: Callable[[Sequence[Any]], Sequence[Any]] | None = None

    @property
    def name(self) -> str:
        """The address as a Python name: `/deck/{deck}/eq/low` is `deck_eq_low`."""
        parts = [part for part in self.address.split("/") if part and "{" not in part]
        return "_".join(parts).replace(".", "_")

    def bind(self, values: Sequence[Any]) -> dict[str, Any]:
        """Arguments by name, checked; raises `BadArgument`."""
        if self.reorder:
            values = self.reorder(values)
        bound: dict[str, Any] = {}
        at = 0
        for arg in self.args:
            if arg.rest:
                rest = values[at:]
                if not rest and arg.default is REQUIRED:
                    raise BadArgument(f"{arg.name} is missing ({self.usage()})")
                bound[arg.name] = tuple(arg.check(value) for value in rest)
                at = len(values)
            elif at < len(values):
                bound[arg.name] = arg.check(values[at])
                at += 1
            elif arg.default is REQUIRED:
                raise BadArgument(f"{arg.name} is missing ({self.usage()})")
            else:
                bound[arg.name] = arg.default
        if at < len(values):
            raise BadArgument(f"{len(values)} arguments are too many ({self.usage()})")
        return bound

    def values(self, bound: dict[str, Any], count: int) -> tuple[Any, ...]:
        """Arguments in their order, as they were bound; of `count` that came, so many."""
        values: list[Any] = []
        for arg in self.args:
            if arg.rest:
                values += bound[arg.name]
            else:
                values.append(bound[arg.name])
        return tuple(values if self.reorder else values[:count])

    def address_at(self, place: dict[str, Any]) -> str:
        """The address of one deck or bus, as `Table.find` gives it, in its first spelling."""
        address = self.address
        for name, number in place.items():
            spelling = next(one for one, known in PLACES[name] if known == number)
            address = address.replace(f"{{{name}}}", spelling)
        return address

    def usage(self) -> str:
        """The address and its arguments, as one would write them."""
        words = [self.address]
        for arg in self.args:
            word = f"{arg.type} {arg.name}" + (" ..." if arg.rest else "")
            words.append(word if arg.default is REQUIRED else f"[{word}]")
        return " ".join(words)


@dataclass
class Table:
    """All commands, found by address. Deck letters in an address come in either case."""

    commands: list[Command] = field(default_factory=list)
    _exact: dict[str, tuple[Command, dict[str, Any]]] = field(default_factory=dict)
    _hinted: float = -1.0

    def add(self, address: str, *args: Arg, **options: Any) -> Callable[..., Any]:
        """Decorator: the function below is the handler; its docstring is the help."""

        def register(handler: Callable[..., Any]) -> Callable[..., Any]:
            text = " ".join((handler.__doc__ or "").split())
            command = Command(address, args, text, handler, **options)
            self.commands.append(command)
            place = next((name for name in PLACES if f"{{{name}}}" in address), None)
            if place is None:
                self._exact[address] = (command, {})
                return handler
            for spelling, number in PLACES[place]:
                exact = address.replace(f"{{{place}}}", spelling)
                self._exact[exact] = (command, {place: number})
            return handler

        return register

    def find(self, address: str) -> tuple[Command, dict[str, Any]]:
        """The command of an address and what the address itself says.

        Raises `UnknownAddress`, naming the nearest one there is.
        """
        found = self._exact.get(address)
        if found is None:
            raise UnknownAddress(f"unknown address{self._hint(address)}")
        return found

    def _hint(self, address: str) -> str:
        # Looking for the nearest name takes a millisecond: not for every message of a flood.
        now = time.monotonic()
        if now - self._hinted < HINT_SECONDS:
            return ""
        self._hinted = now
        near = difflib.get_close_matches(address[:100], self._exact, 1)
        return f" (did you mean {near[0]}?)" if near else ""

    def by_name(self, name: str) -> Command | None:
        """The command with this Python name."""
        return next((command for command in self.commands if command.name == name), None)


TABLE = Table()
"""Filled by the modules of `crowdstream.control.commands`."""


def deck_arg(name: str = "deck", **options: Any) -> Arg:
    """A deck's letter."""
    return Arg(name, "s", "deck", choices=tuple(DECK_LETTERS), **options)


def deck_number(letter: str) -> int:
    """0 for A, 1 for B, ..."""
    return DECK_LETTERS.index(letter)
