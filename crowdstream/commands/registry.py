"""The command table: address, arguments, help and replies of each command, declared once.

Dispatch, validation, error replies, the Python methods and the OSC reference are derived from it.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from crowdstream.commands.errors import BadArgument, Refused, UnknownAddress
from crowdstream.commands.patterns import is_pattern, parts_of
from crowdstream.desk.constants import BUSES, DECKS, INPUTS, SAMPLE_PADS

DECK_LETTERS = "ABCD"[:DECKS]
BANDS = ("low", "mid", "high")

# The placeholders of addresses: each spelling, and the number that it stands for.
PLACES = {
    "deck": [
        (case, number)
        for number, letter in enumerate(DECK_LETTERS)
        for case in (letter, letter.lower())
    ],
    "bus": [(str(number + 1), number) for number in range(BUSES)],
    "sample": [(str(number + 1), number) for number in range(SAMPLE_PADS)],
    "input": [(str(number + 1), number) for number in range(INPUTS)],
}

HINT_SECONDS = 0.1  # at most ten suggestions a second
MAX_MATCHES = 128  # commands that one pattern may match: /deck/*/stem/*/eq/* matches 96
REMEMBERED_PATTERNS = 256  # a controller sends the same few over and over

Place = dict[str, Any]
"""The values in an address itself: the number of its deck, bus, sample or input, by name."""

MAX_TEXT_LENGTH = 4096  # characters: Linux opens no longer path
MAX_REST_COUNT = 64  # values of an argument that takes all remaining ones
MAX_WORD_LENGTH = 64  # characters of one of several names, so that all of them fit in a request
# Range of a number whose argument declares no limit: that of OSC's types h and f.
TYPE_LIMITS: dict[str, tuple[float, float]] = {
    "i": (-(2**63), 2**63 - 1), "f": (-3.4028234663852886e38, 3.4028234663852886e38),
}  # fmt: skip

REQUIRED: Any = object()
"""Marks an argument without a default."""


@dataclass(frozen=True)
class Arg:
    """One argument: OSC type tag (i, f, s), unit, inclusive range, default, choices.

    `type` `*` accepts any value unchanged. `rest` takes all remaining values as a tuple (at least
    one, unless there is a default), up to `max_count`. `words` are strings that are accepted in
    place of a number; the handler receives the string. `or_zero` also allows 0 where the range
    begins above it. `max_length` limits the characters of a string. OSC's nil stands for an
    optional argument whose default is None.
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
    or_zero: bool = False
    max_length: int = MAX_TEXT_LENGTH
    max_count: int = MAX_REST_COUNT

    @property
    def switch(self) -> bool:
        """Whether the argument is an on/off switch, for which JSON's true and false are valid."""
        return self.type == "i" and (self.low, self.high) == (0, 1)

    @property
    def limits(self) -> tuple[float, float] | None:
        """The smallest and the largest value; None if the argument is not a number."""
        if self.type not in TYPE_LIMITS:
            return None
        low, high = TYPE_LIMITS[self.type]
        return low if self.low is None else self.low, high if self.high is None else self.high

    def check(self, value: Any) -> Any:
        """Convert `value` to this argument's type.

        Raises `BadArgument`, whose message names the allowed values.
        """
        if value is None and self.default is None:
            return None
        if self.type == "*":
            if isinstance(value, str):
                self._check_length(value)
            return value
        if self.type == "s":
            return self._check_text(value)
        if self.words and isinstance(value, str) and _in(value, self.words):
            return value.lower()
        return self._check_number(value)

    def _check_number(self, value: Any) -> Any:
        number = None
        try:
            if isinstance(value, Real):
                number = float(value)
        except OverflowError:
            number = math.inf
        if number is None:
            words = f" nor one of {', '.join(self.words)}" if self.words else ""
            raise BadArgument(f"{self.name}: {_shown(value)} is not a number{words}")
        if not math.isfinite(number):
            raise BadArgument(f"{self.name}: {_shown(value)} is not finite")
        if self.type == "i" and not number.is_integer():
            raise BadArgument(f"{self.name}: {number:g} is not a whole number")
        exact = number if self.type == "f" else int(value)
        assert self.limits is not None
        low, high = self.limits
        if not low <= exact <= high and not (self.or_zero and exact == 0):
            text = self.range_text() or f"{low:g} to {high:g}"
            raise BadArgument(f"{self.name}: {number:g} is out of range, {text}")
        return exact

    def _check_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadArgument(f"{self.name}: {_shown(value)} is not a string")
        self._check_length(value)
        if not self.choices:
            if not value and self.default == "":
                return value
            if not value or "\0" in value:
                raise BadArgument(f"{self.name}: is empty or contains a zero byte")
            return value
        for choice in self.choices:
            if _in(value, (choice.lower(),)):
                return choice
        raise BadArgument(
            f"{self.name}: {_shown(value)} must be one of {', '.join(self.choices)}"
        )

    def _check_length(self, text: str) -> None:
        if len(text) > self.max_length:
            raise BadArgument(
                f"{self.name}: {len(text)} characters are too many; the maximum is "
                f"{self.max_length}"
            )

    def range_text(self) -> str:
        """Describe the allowed range with its unit; empty if it is unlimited."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            zero = "0 or " if self.or_zero else ""
            return f"{zero}{self.low:g} to {self.high:g}{unit}"
        if self.low is not None:
            return f"at least {self.low:g}{unit}"
        return unit.strip()


def _in(text: str, words: Sequence[str]) -> bool:
    # Case-insensitive. ASCII only: some letters of other scripts have a lower case in ASCII.
    return text.isascii() and text.lower() in words


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@dataclass(frozen=True)
class Command:
    """One address, or one per deck, bus, pad or input if it contains `{deck}` or the like.

    - `handler(request, **arguments)` carries the command out.
    - `answers` describes the replies to the sender, apart from `/fail`.
    - `scheduled`: the command acts exactly at the frame of a bundle's time tag.
    - `quantized`: sent for immediate execution, it waits for the quantum of
      `/deck/{deck}/quantize` or `/sample/{sample}/quantize`.
    - `control_only`: it needs nothing from the engine, so it is answered even while the engine's
      queue is full.
    - `changes`: it may change visible state, so subscribers of `/changes/subscribe` are notified.
    - `button`: a button may send it although it has arguments; see `pressed`.
    - `idempotent`: a second copy of the message changes nothing. None: see `repeatable`.
    - `python`: its Python name, where the name derived from the address is taken.
    - `aliases`: former addresses, with the same placeholders. A message to one of them is handled
      in the same way, and its replies repeat the alias. State is published under `address`.
    """

    address: str
    args: tuple[Arg, ...]
    help: str
    handler: Callable[..., Any]
    answers: str = ""
    scheduled: bool = False
    quantized: bool = False
    control_only: bool = False
    changes: bool = True
    button: bool = False
    idempotent: bool | None = None
    python: str = ""
    aliases: tuple[str, ...] = ()
    reorder: Callable[[Sequence[Any]], Sequence[Any]] | None = None

    @property
    def name(self) -> str:
        """The address as a Python name: `/deck/{deck}/eq/low` is `deck_eq_low`."""
        return self.python or _python_name(self.address)

    @property
    def names(self) -> dict[str, str]:
        """The address, then the aliases, by their Python names."""
        return {self.name: self.address, **{_python_name(one): one for one in self.aliases}}

    @property
    def repeatable(self) -> bool:
        """Whether a client may send the command again when a reply is lost.

        Unless `idempotent` decides, queries and subscriptions are, and commands that set a value:
        those that act at a frame, wait for no quantum, have no button, and require an argument or
        have a switch.
        """
        if self.idempotent is not None:
            return self.idempotent
        if not self.changes:
            return True
        sets_value = any(arg.default is REQUIRED or arg.switch for arg in self.args)
        return self.scheduled and not self.quantized and not self.button and sets_value

    @property
    def is_button(self) -> bool:
        """Whether a button may send the command: 1 when pressed, 0 when released."""
        return self.button or not self.args

    def pressed(self, values: Sequence[Any]) -> Sequence[Any] | None:
        """Strip a button's value from the arguments; return None if the button was released.

        Arguments that do not come from a button are returned unchanged. A button's value stands
        alone, or follows all arguments if all of them are required. If arguments are optional, a
        single 0 or 1 is a button's value; a single 1 is kept as the argument of a command that has
        exactly one and accepts it. Raises `BadArgument` for a negative button value.
        """
        if not self.is_button or not values or not isinstance(values[-1], Real):
            return values
        value = float(values[-1])
        if all(arg.default is REQUIRED for arg in self.args):
            if len(values) != len(self.args) + 1:
                return values
            if not value >= 0.0:
                raise BadArgument(f"a button sends 0 or more, not {value:g} ({self.usage()})")
            return values[:-1] if value else None
        if len(values) > 1 or value not in (0.0, 1.0):
            return values
        if not value:
            return None
        return values if len(self.args) == 1 and self._accepts_one() else ()

    def _accepts_one(self) -> bool:
        try:
            self.args[0].check(1.0)
        except BadArgument:
            return False
        return True

    def bind(self, values: Sequence[Any]) -> dict[str, Any]:
        """Check positional values and return the arguments by name; raise `BadArgument`."""
        if self.reorder:
            values = self.reorder(values)
        bound: dict[str, Any] = {}
        at = 0
        for arg in self.args:
            if arg.rest:
                rest = values[at:]
                if not rest and arg.default is REQUIRED:
                    raise BadArgument(f"{arg.name} is missing ({self.usage()})")
                if len(rest) > arg.max_count:
                    raise BadArgument(
                        f"{arg.name}: {len(rest)} are too many; the maximum is {arg.max_count}"
                    )
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
        """Return bound arguments in positional order: the first `count`, as many as were sent."""
        values: list[Any] = []
        for arg in self.args:
            if arg.rest:
                values += bound[arg.name]
            else:
                values.append(bound[arg.name])
        return tuple(values if self.reorder else values[:count])

    def address_at(self, place: dict[str, Any]) -> str:
        """Return the address of one deck or bus in its first spelling.

        `place` is the second item that `Table.find` returns.
        """
        return _placed(self.address, place)

    def addresses_at(self, place: dict[str, Any]) -> tuple[str, ...]:
        """Return `address_at(place)`, then the aliases for the same deck or bus."""
        return tuple(_placed(address, place) for address in (self.address, *self.aliases))

    def usage(self) -> str:
        """Return a usage line: the address and its arguments, optional ones in brackets."""
        words = [self.address]
        for arg in self.args:
            word = f"{arg.type} {arg.name}" + (" ..." if arg.rest else "")
            words.append(word if arg.default is REQUIRED else f"[{word}]")
        return " ".join(words)


def _python_name(address: str) -> str:
    parts = [part for part in address.split("/") if part and "{" not in part]
    return "_".join(parts).replace(".", "_")


def _placed(address: str, place: dict[str, Any]) -> str:
    for name, number in place.items():
        spelling = next(one for one, known in PLACES[name] if known == number)
        address = address.replace(f"{{{name}}}", spelling)
    return address


@dataclass
class Table:
    """All commands, by address and alias. Deck letters in an address may have either case."""

    commands: list[Command] = field(default_factory=list)
    _exact: dict[str, tuple[Command, dict[str, Any]]] = field(default_factory=dict)
    _names: dict[str, Command] = field(default_factory=dict)
    _tree: dict[str, Any] = field(default_factory=dict)
    _patterns: dict[str, tuple[tuple[Command, Place], ...]] = field(default_factory=dict)
    _hinted: float = -1.0

    def add(self, address: str, *args: Arg, **options: Any) -> Callable[..., Any]:
        """Declare a command. Decorates its handler, whose docstring is the help text."""

        def register(handler: Callable[..., Any]) -> Callable[..., Any]:
            text = " ".join((handler.__doc__ or "").split())
            command = Command(address, args, text, handler, **options)
            for name, known in command.names.items():
                if name in self._names or not f"osc_{name}".isidentifier():
                    raise ValueError(f"{known}: {name!r} is taken or is not a valid Python name")
            self._names |= dict.fromkeys(command.names, command)
            self.commands.append(command)
            for known in (address, *command.aliases):
                self._enter_all(known, command)
            return handler

        return register

    def _enter_all(self, address: str, command: Command) -> None:
        place = next((name for name in PLACES if f"{{{name}}}" in address), None)
        if place is None:
            self._enter(address, command, {})
            return
        for spelling, number in PLACES[place]:
            exact = address.replace(f"{{{place}}}", spelling)
            self._enter(exact, command, {place: number})

    def _enter(self, address: str, command: Command, place: Place) -> None:
        self._exact[address] = command, place
        node = self._tree
        for part in address[1:].split("/"):
            node = node.setdefault(part, {})
        node[""] = command, place

    def find_all(self, address: str) -> Sequence[tuple[Command, Place]]:
        """Return the command of an address, or all that a pattern matches, in the table's order.

        Raises `UnknownAddress` if there is none, `BadArgument` for a malformed pattern, and
        `Refused` for more than `MAX_MATCHES` matches.
        """
        if not is_pattern(address):
            return (self.find(address),)
        found = self._patterns.get(address)
        if found is None:
            found = self._search(address)
            if len(self._patterns) >= REMEMBERED_PATTERNS:
                self._patterns.clear()
            self._patterns[address] = found
        return found

    def _search(self, pattern: str) -> tuple[tuple[Command, Place], ...]:
        nodes = [self._tree]
        for part in parts_of(pattern):
            if part.literal is not None:
                nodes = [node[part.literal] for node in nodes if part.literal and
                         part.literal in node]
                continue
            names = {name for name in {name for node in nodes for name in node}
                     if name and part.matches(name)}
            nodes = [below for node in nodes for name, below in node.items() if name in names]
        found: dict[Any, tuple[Command, Place]] = {}
        for node in nodes:
            if "" in node:  # the tree contains deck letters in both cases, and aliases
                command, place = node[""]
                found.setdefault((command.address, *place.values()), node[""])
        if not found:
            raise UnknownAddress("the pattern matches no address")
        if len(found) > MAX_MATCHES:
            raise Refused(f"the pattern matches more than {MAX_MATCHES} addresses")
        return tuple(found.values())

    def find(self, address: str) -> tuple[Command, Place]:
        """Return the command of an address, and the deck or bus that the address names.

        Raises `UnknownAddress`, which suggests the most similar address.
        """
        found = self._exact.get(address)
        if found is None:
            raise UnknownAddress(f"unknown address{self._hint(address)}")
        return found

    def all_names(self, address: str) -> tuple[str, ...]:
        """Return all names of a concrete address: the present one, then its aliases.

        An address that is not in the table has only itself.
        """
        found = self._exact.get(address)
        return (address,) if found is None else found[0].addresses_at(found[1])

    def _hint(self, address: str) -> str:
        # Finding the most similar address takes a millisecond: too long for every one of a flood.
        now = time.monotonic()
        if now - self._hinted < HINT_SECONDS:
            return ""
        self._hinted = now
        near = difflib.get_close_matches(address[:100], self._exact, 1)
        return f" (did you mean {near[0]}?)" if near else ""

    def by_name(self, name: str) -> Command | None:
        """Return the command with this Python name, or with an alias of that name, or None."""
        return self._names.get(name)


TABLE = Table()
"""Filled by the modules of `crowdstream.control.handlers`."""


def deck_arg(name: str = "deck", **options: Any) -> Arg:
    """Declare an argument that is a deck letter."""
    return Arg(name, "s", "deck", choices=tuple(DECK_LETTERS), **options)


def deck_number(letter: str) -> int:
    """Convert a deck letter to its number: 0 for A, 1 for B, ..."""
    return DECK_LETTERS.index(letter)
