"""OSC 1.0 address patterns: `?`, `*`, `[a-z]`, `[!a-z]` and `{low,high}` in parts of an address.

Patterns come from untrusted senders, so matching never backtracks: the positions in a name that a
prefix of the pattern can reach are the bits of one integer, and each element of the pattern
advances all of them at once. The time is proportional to the length of the pattern, whatever its
content.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from crowdstream.commands.errors import BadArgument

MAX_PATTERN_CHARS = 128
# Finding the matches of a pattern takes up to 0.7 ms, as long as this many commands. Patterns of
# strangers are charged for it even if they match nothing.
PATTERN_COST = 4
REMEMBERED_NAMES = 1024  # cached parts of addresses, with the positions of their letters
_SPECIAL = frozenset("*?[]{}")

_Step = Callable[["_Name", int], int]
"""Maps the possible positions in a name before a pattern element to those after it (bit sets)."""


def is_pattern(address: str) -> bool:
    """Whether an address contains a character that only patterns contain."""
    return not _SPECIAL.isdisjoint(address)


class _Name:
    """A part of an address: for each letter, its positions as a bit set."""

    def __init__(self, text: str) -> None:
        self.letters: dict[str, int] = {}
        for place, letter in enumerate(text):
            self.letters[letter] = self.letters.get(letter, 0) | 1 << place
        self.end = 1 << len(text)


_name = functools.lru_cache(REMEMBERED_NAMES)(_Name)


def _any_run(name: _Name, places: int) -> int:
    # All positions from the first one to the end.
    return (2 * name.end - 1) & -(places & -places)


def _any_letter(name: _Name, places: int) -> int:
    return (places << 1) & (2 * name.end - 1)


def _letter(letter: str) -> _Step:
    return lambda name, places: (places & name.letters.get(letter, 0)) << 1


def _class(text: str) -> _Step:
    wanted = not text.startswith("!")
    text = text.removeprefix("!")
    if not text:
        raise BadArgument("the pattern contains an empty []")
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        span = 2 if text[at + 1 : at + 2] == "-" and at + 2 < len(text) else 0
        ranges.append((text[at], text[at + span]))
        at += span + 1

    def step(name: _Name, places: int) -> int:
        fits = 0
        for letter, there in name.letters.items():
            if any(low <= letter <= high for low, high in ranges) == wanted:
                fits |= there
        return (places & fits) << 1

    return step


def _choice(text: str) -> _Step:
    words = list(dict.fromkeys(text.split(",")))

    def step(name: _Name, places: int) -> int:
        found = 0
        for word in words:
            there = places
            for letter in word:
                there = (there & name.letters.get(letter, 0)) << 1
            found |= there
        return found

    return step


_CLOSED_BY = {"[": "]", "{": "}"}


def _steps(part: str) -> list[_Step]:
    steps: list[_Step] = []
    at = 0
    while at < len(part):
        letter = part[at]
        if letter == "*":
            if not steps or steps[-1] is not _any_run:
                steps.append(_any_run)
        elif letter == "?":
            steps.append(_any_letter)
        elif letter in _CLOSED_BY:
            end = part.find(_CLOSED_BY[letter], at)
            if end < 0:
                raise BadArgument(f"the pattern has {letter} without {_CLOSED_BY[letter]}")
            inside = part[at + 1 : end]
            if not _SPECIAL.isdisjoint(inside):
                raise BadArgument(
                    f"the pattern contains another pattern within {letter}{_CLOSED_BY[letter]}"
                )
            steps.append(_class(inside) if letter == "[" else _choice(inside))
            at = end
        elif letter in "]}":
            raise BadArgument(f"the pattern has {letter} without an opening bracket")
        else:
            steps.append(_letter(letter))
        at += 1
    return steps


class Part:
    """One part of a pattern, between two slashes. Raises `BadArgument` if it is malformed."""

    def __init__(self, text: str) -> None:
        self.literal = None if is_pattern(text) else text
        self._steps = [] if self.literal is not None else _steps(text)

    def matches(self, text: str) -> bool:
        """Whether the part matches all of `text`."""
        if self.literal is not None:
            return text == self.literal
        name = _name(text)
        places = 1
        for step in self._steps:
            places = step(name, places)
            if not places:
                return False
        return bool(places & name.end)


def parts_of(pattern: str) -> list[Part]:
    """Split a pattern into its parts; raise `BadArgument` if it is malformed or too long."""
    if not pattern.startswith("/"):
        raise BadArgument("an address begins with /")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise BadArgument(f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    return [Part(text) for text in pattern[1:].split("/")]


class Selection:
    """Addresses that match one of several patterns, and all addresses below these.

    `/deck/A` selects all of deck A, `/deck/*/level` the levels of all four decks. Raises
    `BadArgument` for a malformed pattern.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._parts = [parts_of(pattern.rstrip("/")) for pattern in patterns]

    def holds(self, address: str) -> bool:
        """Whether a concrete address is selected."""
        names = address[1:].split("/")
        return any(
            len(parts) <= len(names)
            and all(part.matches(name) for part, name in zip(parts, names, strict=False))
            for parts in self._parts
        )
