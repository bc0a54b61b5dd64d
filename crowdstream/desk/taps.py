"""Lock-free reading of the signal at a point of the mixer, from any process.

The engine writes a tap's ring while at least one process requests it, and never waits for readers.
A reader that is too slow learns how much it has missed.
"""

from __future__ import annotations

import mmap

import numpy as np

from crowdstream.desk.atomics import atomic_add, atomic_and, fence, load_acquire
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_FRAMES, TAP_MARGIN, TAPS
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS

# Owners of tap requests. Each process counts its requests in eight bits of `on`, so that the
# requests of a killed process can be withdrawn.
CONTROL, RECORDER, LISTENERS = 0, 1, 2
CAPTURES = 3  # + input
BROADCAST, LIGHTS, JACK = 5, 6, 7
_BITS = 8

_FIELDS = TAP.fields
assert _FIELDS is not None
_TAPS = REGIONS["taps"].offset
_ON, _HEAD = _FIELDS["on"][1], _FIELDS["head"][1]
_PAGE_FRAMES = mmap.PAGESIZE // 8


def request_tap(desk: Desk, tap: int, owner: int) -> None:
    """Make the engine write the tap's ring until `release_tap`. Use it in one thread per owner."""
    # Touch unused memory here, so that it is not allocated by the engine in the middle of a block.
    desk.tap_rings[tap, ::_PAGE_FRAMES, 0].max()
    atomic_add(desk.address + _TAPS + TAP.itemsize * tap + _ON, 1 << _BITS * owner)


def release_tap(desk: Desk, tap: int, owner: int) -> None:
    """Withdraw one request."""
    atomic_add(desk.address + _TAPS + TAP.itemsize * tap + _ON, -(1 << _BITS * owner))


def release_owner(desk: Desk, owner: int) -> None:
    """Withdraw all requests of a process that has ended."""
    kept = ~(((1 << _BITS) - 1) << _BITS * owner)
    for tap in range(TAPS):
        atomic_and(desk.address + _TAPS + TAP.itemsize * tap + _ON, kept)


class TapReader:
    """Reader of one tap, from the frame `start` on (default: the first frame of the next block).

    `position` is the next frame to be read. Close the reader, otherwise the engine continues to
    write the ring.
    """

    def __init__(self, desk: Desk, tap: int, owner: int, start: int | None = None) -> None:
        self._desk = desk
        self._tap = tap
        self._owner = owner
        self._head = desk.address + _TAPS + TAP.itemsize * tap + _HEAD
        self.position = desk.frame if start is None else start
        request_tap(desk, tap, owner)

    @property
    def head(self) -> int:
        """The frame after the latest available one. It does not advance while the tap is off."""
        return int(load_acquire(self._head))

    @property
    def first(self) -> int | None:
        """The first available frame at or after `position`; None before there is one."""
        if self.head <= self.position:
            return None
        return max(self.position, int(self._desk.taps[self._tap]["since"]))

    def read(self, until: int | None = None) -> tuple[int, np.ndarray]:
        """Return `(lost, frames)`: the frames since the last call, up to the frame `until`.

        `lost` is the number of frames that were overwritten before they could be read. They precede
        `frames` (float32, `(count, 2)`, a copy); a caller that keeps time inserts the same length
        of silence. Frames from before the tap was switched on do not count as lost: `position`
        moves past them.
        """
        head = self.head
        end = head if until is None else min(head, until)
        first = self.first
        if first is None or first >= end:
            return 0, np.empty((0, 2), np.float32)
        begin = min(max(first, self._oldest(head)), end)
        frames = self._copy(begin, end)
        # Frames that the engine has overtaken meanwhile may have been overwritten.
        fence()
        sound = min(max(begin, self._oldest(self.head)), end)
        self.position = end
        return sound - first, frames[sound - begin :]

    def close(self) -> None:
        """Withdraw the request, so that the engine can stop writing the ring."""
        release_tap(self._desk, self._tap, self._owner)

    @staticmethod
    def _oldest(head: int) -> int:
        return head + TAP_MARGIN - TAP_FRAMES

    def _copy(self, begin: int, end: int) -> np.ndarray:
        ring = self._desk.tap_rings[self._tap]
        place = begin % TAP_FRAMES
        straight = min(end - begin, TAP_FRAMES - place)
        parts = ring[place : place + straight], ring[: end - begin - straight]
        return np.concatenate(parts)
