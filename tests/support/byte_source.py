"""Choices read from bytes, so that the bytes of a fuzzer determine what a target does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class ByteSource:
    """Reads choices from `data`, front to back; past its end, every choice is the first one.

    So all inputs are valid, a prefix keeps its meaning, and a changed byte changes little.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Number of unused bytes."""
        return max(0, len(self._data) - self._at)

    def raw(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end."""
        part = self._data[self._at : self._at + count]
        self._at += count
        return part

    def byte(self) -> int:
        """Return an integer from 0 to 255."""
        return self.whole(1)

    def whole(self, size: int) -> int:
        """Return an unsigned integer of `size` bytes."""
        return int.from_bytes(self.raw(size).ljust(size, b"\0"), "big")

    def between(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, inclusive."""
        size = max(1, ((high - low).bit_length() + 7) // 8)
        return low + self.whole(size) % (high - low + 1)

    def share(self) -> float:
        """Return a number from 0 to 1, inclusive."""
        return self.whole(2) / 65535

    def double(self) -> float:
        """Return any float, NaN and infinity included."""
        return float(struct.unpack(">d", self.raw(8).ljust(8, b"\0"))[0])

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of `choices`."""
        return choices[self.between(0, len(choices) - 1)]

    def chance(self, of_256: int) -> bool:
        """Return True with a probability of `of_256` / 256."""
        return 256 - self.byte() <= of_256
