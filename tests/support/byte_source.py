"""Choices read from bytes: the bytes that a fuzzer mutates decide what a target does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class ByteSource:
    """Reads choices from `data`, front to back. After its end, every choice is the first one.

    So all bytes are valid, a prefix means the same as before, and a changed byte changes little.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have not been used."""
        return max(0, len(self._data) - self._at)

    def raw(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        part = self._data[self._at : self._at + count]
        self._at += count
        return part

    def byte(self) -> int:
        """0 to 255."""
        return self.whole(1)

    def whole(self, size: int) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.raw(size).ljust(size, b"\0"), "big")

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        size = max(1, ((high - low).bit_length() + 7) // 8)
        return low + self.whole(size) % (high - low + 1)

    def share(self) -> float:
        """0 to 1, both included."""
        return self.whole(2) / 65535

    def double(self) -> float:
        """Any float, NaN and infinity too."""
        return float(struct.unpack(">d", self.raw(8).ljust(8, b"\0"))[0])

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.between(0, len(choices) - 1)]

    def chance(self, of_256: int) -> bool:
        """True in so many cases of 256."""
        return 256 - self.byte() <= of_256
