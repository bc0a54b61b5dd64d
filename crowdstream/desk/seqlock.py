"""A consistent read of the engine's latest clock reading, which consists of two numbers.

The engine makes `stamp` odd, writes both numbers, and makes it even again
(`engine.schedule.ledger`). A reader that finds the stamp odd, or changed after reading, reads
again.
"""

from __future__ import annotations

from crowdstream.desk.atomics import load_acquire
from crowdstream.desk.block import Desk
from crowdstream.desk.dtypes import CLOCK
from crowdstream.desk.layout import REGIONS

_FIELDS = CLOCK.fields
assert _FIELDS is not None
_CLOCK = REGIONS["clock"].offset
_STAMP = _CLOCK + _FIELDS["stamp"][1]
_NS = _CLOCK + _FIELDS["callback_ns"][1]
_FRAME = _CLOCK + _FIELDS["callback_frame"][1]

ATTEMPTS = 64  # the engine writes for a few nanoseconds per block


def read_callback(desk: Desk) -> tuple[int, int] | None:
    """Return the time of the latest block request (monotonic ns) and the block's first frame.

    Returns None before the first block, and if an engine died while writing the two numbers.
    """
    for _attempt in range(ATTEMPTS):
        before = load_acquire(desk.address + _STAMP)
        # Acquired too, so that the second read of the stamp cannot be reordered before them.
        now_ns = load_acquire(desk.address + _NS)
        frame = load_acquire(desk.address + _FRAME)
        if before % 2 == 0 and load_acquire(desk.address + _STAMP) == before:
            return (now_ns, frame) if now_ns > 0 else None
    return None
