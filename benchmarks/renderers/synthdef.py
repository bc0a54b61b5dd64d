"""Write synth definitions in the binary format of SuperCollider's server, without sclang.

Source of the formats: the help files "Synth Definition File Format" and "Server Command
Reference", and the OSC 1.0 specification.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SCALAR, CONTROL, AUDIO = 0, 1, 2
ADD, MULTIPLY = 0, 2  # operators of BinaryOpUGen


@dataclass(frozen=True)
class Output:
    """An output of a unit generator in a definition."""

    unit: int
    index: int
    rate: int


Input = Output | float
Argument = int | float | str | bytes


class Definition:
    """A graph of unit generators in execution order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._constants: list[float] = []
        self._units: list[bytes] = []

    def unit(
        self, kind: str, rate: int, inputs: Sequence[Input], outputs: int = 1, special: int = 0
    ) -> list[Output]:
        """Add a unit generator; return its outputs."""
        head = _text(kind) + struct.pack(">Biih", rate, len(inputs), outputs, special)
        links = b"".join(self._link(each) for each in inputs)
        self._units.append(head + links + bytes([rate] * outputs))
        return [Output(len(self._units) - 1, index, rate) for index in range(outputs)]

    def operate(self, operator: int, a: Input, b: Input) -> Output:
        """Add `a` operator `b`, at the faster rate of the two."""
        rate = max(each.rate if isinstance(each, Output) else SCALAR for each in (a, b))
        return self.unit("BinaryOpUGen", rate, [a, b], special=operator)[0]

    def encoded(self) -> bytes:
        """Return the definition in file format version 2, without parameters and variants."""
        count = len(self._constants)
        constants = struct.pack(f">i{count}f", count, *self._constants)
        units = struct.pack(">i", len(self._units)) + b"".join(self._units)
        head = b"SCgf" + struct.pack(">ih", 2, 1) + _text(self._name)
        return head + constants + struct.pack(">ii", 0, 0) + units + struct.pack(">h", 0)

    def _link(self, value: Input) -> bytes:
        if isinstance(value, Output):
            return struct.pack(">ii", value.unit, value.index)
        if value not in self._constants:
            self._constants.append(value)
        return struct.pack(">ii", -1, self._constants.index(value))


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def message(address: str, *arguments: Argument) -> bytes:
    """Return an OSC message; bytes become a blob."""
    tags, data = ",", b""
    for argument in arguments:
        if isinstance(argument, bytes):
            tags += "b"
            data += struct.pack(">i", len(argument)) + argument + bytes(-len(argument) % 4)
        elif isinstance(argument, str):
            tags += "s"
            data += _padded(argument)
        elif isinstance(argument, int):
            tags += "i"
            data += struct.pack(">i", argument)
        else:
            tags += "f"
            data += struct.pack(">f", argument)
    return _padded(address) + _padded(tags) + data


def _padded(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return raw + bytes(-len(raw) % 4)


def score(entries: Sequence[tuple[float, Sequence[bytes]]]) -> bytes:
    """Return a command file for non-real-time use: seconds from the start, messages."""
    parts = []
    for seconds, messages in entries:
        elements = b"".join(struct.pack(">i", len(each)) + each for each in messages)
        bundle = b"#bundle\0" + struct.pack(">Q", round(seconds * 2**32)) + elements
        parts.append(struct.pack(">i", len(bundle)) + bundle)
    return b"".join(parts)
