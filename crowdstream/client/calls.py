"""The options and arguments of calls, shared by the clients and by bundles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from crowdstream.osc.codec import Double

Deck = Literal["A", "B", "C", "D"]
Value = str | float | bool | None
"""An argument of any type; an int is also a float."""

Reply = tuple[Any, ...]
"""The values of a reply after its address."""

R_co = TypeVar("R_co", covariant=True)


class Waiting(TypedDict, total=False):
    """How long a call waits: `timeout` in seconds."""

    timeout: float


class Timing(Waiting, total=False):
    """When a command acts: at the Unix time `at`, or at the beat `at_beat` of the clock."""

    at: float
    at_beat: float


class Caller(Generic[R_co]):
    """Carries out commands: a client, or a bundle that collects them."""

    def call(self, address: str, /, *arguments: Any, **options: Unpack[Timing]) -> R_co:
        """Carry out the command `address` with these arguments."""
        raise NotImplementedError


def given(values: tuple[Any, ...], defaults: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the optional arguments to send: none if all have their defaults.

    Otherwise all of them, since the server takes a single 0 or 1 for the value of a button.
    """
    if values == defaults:
        return ()
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return values[:end]


def exact(arguments: Iterable[Any]) -> Iterator[Any]:
    """Yield arguments as they are sent: floats in double precision, sequences flattened."""
    for value in arguments:
        if isinstance(value, list | tuple):
            yield from exact(value)
        elif isinstance(value, bool):
            yield int(value)
        else:
            yield Double(value) if isinstance(value, float) else value
