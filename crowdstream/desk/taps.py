"""Reading what passes through a place of the mixer, from any process and without a lock.

The engine writes each tap's ring while somebody asks for it and never waits for readers. A
reader that is too slow finds out what it has missed.
"""

from __future__ import annotations

import mmap

import numpy as np

from crowdstream.desk.atomics import atomic_add, atomic_and, fence, load_acquire
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_FRAMES, TAP_MARGIN, TAPS
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS

# Who asks for a tap. Each process has eight bits of `on` to count its requests in, so that
# those of one that was killed can be taken back.
CONTROL, RECORDER, LISTENERS = 0, 1, 2
_BITS = 8

_FIELDS = TAP.fields
assert _FIELDS is not None
_TAPS = REGIONS["taps"].offset
_ON, _HEAD = _FIELDS["on"][1], _FIELDS["head"][1]
_PAGE_FRAMES = mmap.PAGESIZE // 8


def hold_tap(desk: Desk, tap: int, owner: int) -> None:
    """Have the engine write the tap's ring, until `release_tap`. For one thread per owner."""
    # Memory that was never used is made here, not by the engine in the middle of a block.
    desk.tap_rings[tap, ::_PAGE_FRAMES, 0].max()
    atomic_add(desk.address + _TAPS + TAP.itemsize * tap + _ON, 1 << _BITS * owner)


def release_tap(desk: Desk, tap: int, owner: int) -> None:
    """Take one request back."""
    atomic_add(desk.address + _TAPS + TAP.itemsize * tap + _ON, -(1 << _BITS * owner))


def forget_owner(desk: Desk, owner: int) -> None:
    """Take back all requests of a process that has ended."""
    kept = ~(((1 << _BITS) - 1) << _BITS * owner)
    for tap in range(TAPS):
        atomic_and(desk.address + _TAPS + TAP.itemsize * tap + _ON, kept)


class TapReader:
    """Reads one tap, from the frame `start` on (default: the next block's first).

    `position` is the frame that is read next. Close it, or the engine goes on writing.
    """

    def __init__(self, desk: Desk, tap: int, owner: int, start: int | None = None) -> None:
        self._desk = desk
        self._tap = tap
        self._owner = owner
        self._head = desk.address + _TAPS + TAP.itemsize * tap + _HEAD
        self.position = desk.frame if start is None else start
        hold_tap(desk, tap, owner)

    @property
    def head(self) -> int:
        """The frame behind the latest one there is. It stands still while the tap is off."""
        return int(load_acquire(self._head))

    @property
    def first(self) -> int | None:
        """The first frame from `position` on that was written; None before there is one."""
        if self.head <= self.position:
            return None
        return max(self.position, int(self._desk.taps[self._tap]["since"]))

    def read(self, until: int | None = None) -> tuple[int, np.ndarray]:
        """What has come since the last call, up to the frame `until`: `(lost, frames)`.

        `lost`: frames that were overwritten before they could be read; they lie before `frames`
        (float32, `(count, 2)`, a copy), and whoever keeps time puts as much silence there.
        What passed before the tap was switched on is not lost: `position` moves past it.
        """
        head = self.head
        end = head if until is None else min(head, until)
        first = self.first
        if first is None or first >= end:
            return 0, np.empty((0, 2), np.float32)
        begin = min(max(first, self._oldest(head)), end)
        frames = self._copy(begin, end)
        # What the engine has overtaken meanwhile may hold other frames than it should.
        fence()
        sound = min(max(begin, self._oldest(self.head)), end)
        self.position = end
        return sound - first, frames[sound - begin :]

    def close(self) -> None:
        """Let the engine off."""
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
