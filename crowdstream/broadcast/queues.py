"""A queue that never blocks its writer: when it is full, the oldest items are dropped."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _Item(NamedTuple, Generic[T]):
    value: T
    frames: int


class DropQueue(Generic[T]):
    """Items of a stream, each with its length in frames, up to `limit` frames together.

    One thread writes, another reads. `dropped` counts the frames that the reader was too slow for.
    Items without frames, such as headers, are never dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[_Item[T]] = deque()
        self._changed = threading.Condition()
        self._frames = 0
        self._closed = False
        self.dropped = 0

    @property
    def frames(self) -> int:
        """Length of what waits, in frames."""
        return self._frames

    def put(self, value: T, frames: int) -> None:
        """Add an item; drop the oldest ones if there are more frames than allowed."""
        with self._changed:
            self._items.append(_Item(value, frames))
            self._frames += frames
            kept = []
            while self._frames > self._limit and len(self._items) > 1:
                oldest = self._items.popleft()
                if not oldest.frames:
                    kept.append(oldest)
                self._frames -= oldest.frames
                self.dropped += oldest.frames
            self._items.extendleft(reversed(kept))
            self._changed.notify()

    def get(self, seconds: float) -> T | None:
        """Remove and return the oldest item; None if there is none within `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, seconds)
            if not self._items:
                return None
            item = self._items.popleft()
            self._frames -= item.frames
            return item.value

    def clear(self) -> None:
        """Remove all items. They do not count as dropped."""
        with self._changed:
            self._items.clear()
            self._frames = 0

    def close(self) -> None:
        """Wake the reader; from now on, `get` does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()
