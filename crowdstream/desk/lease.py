"""The lease: it determines which of several engines renders the desk.

Exactly one engine renders. It hands over on request, between two turns; a dead engine loses the
lease to its successor. The owner's number is written either by the owner or by the engine that has
seen the owner die, so there is one writer at any time.
"""

from __future__ import annotations

import os
import threading
from ctypes import c_int64

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import HANDOVER_FRAMES
from crowdstream.desk.dtypes import LEASE
from crowdstream.desk.layout import REGIONS

_FIELDS = LEASE.fields
assert _FIELDS is not None
_LEASE = REGIONS["lease"].offset
_OWNER = _LEASE + _FIELDS["owner"][1]
_WANTED = _LEASE + _FIELDS["wanted"][1]


class Lease:
    """The lease as seen by the engine with the number `number` (1 or higher)."""

    def __init__(self, desk: Desk, number: int) -> None:
        self._record = desk.lease
        self._owner = desk.address + _OWNER
        self._wanted = desk.address + _WANTED
        self._request = c_int64.from_address(self._wanted)
        self._number = number

    def held(self) -> bool:
        """Whether this engine may render. If so, all writes of its predecessor are visible."""
        return int(load_acquire(self._owner)) == self._number

    @property
    def pid(self) -> int:
        """Process id of the engine that renders or rendered last; 0 if none ever did."""
        return int(self._record["pid"])

    @property
    def thread(self) -> int:
        """Id of the rendering thread; 0 until it has started."""
        return int(self._record["thread"])

    def begin(self) -> None:
        """Record the calling thread of this process as the one that renders."""
        self._record["pid"] = os.getpid()
        self._record["thread"] = threading.get_native_id()

    @property
    def closing(self) -> bool:
        """Whether the server is shutting down."""
        return bool(self._record["closing"])

    def take(self) -> None:
        """Take the lease. No other engine may be rendering."""
        self._record["thread"] = 0
        self._record["pid"] = os.getpid()
        self._record["wanted"] = self._record["fade"] = 0
        store_release(self._owner, self._number)

    @property
    def ahead(self) -> int:
        """Frames that the outgoing engine renders in advance and plays itself."""
        return int(self._record["ahead"])

    @property
    def fade(self) -> int:
        """Frames after those that both engines play, fading from one stream to the other."""
        return int(self._record["fade"])

    @property
    def fade_ns(self) -> int:
        """Monotonic time in ns at which the first of those frames is heard."""
        return int(self._record["fade_ns"])

    @fade_ns.setter
    def fade_ns(self, moment: int) -> None:
        self._record["fade_ns"] = moment

    @property
    def fade_offset(self) -> int:
        """Frame of the outgoing engine's block at which the first of those frames is played."""
        return int(self._record["fade_offset"])

    @fade_offset.setter
    def fade_offset(self, frame: int) -> None:
        self._record["fade_offset"] = frame

    def request_handover(self, ahead: int = 0, fade: bool = False) -> None:
        """Request that the rendering engine hand over to this one, `ahead` frames later.

        With `fade`, both then play the same `HANDOVER_FRAMES` frames.
        """
        self._record["ahead"] = ahead
        self._record["fade"] = HANDOVER_FRAMES if fade else 0
        store_release(self._wanted, self._number)

    def handover_requested(self) -> bool:
        """Whether another engine requests a handover. The owner checks this between two turns."""
        # Hardly any block finds a request. Only one that does reads what was written before it.
        if self._request.value in (0, self._number):
            return False
        return load_acquire(self._wanted) not in (0, self._number)

    def hand_over(self) -> bool:
        """Hand the lease to the engine that requested it; this engine never renders again.

        Returns False if the request is gone, because the requesting engine was ended meanwhile.
        """
        wanted = load_acquire(self._wanted)
        if wanted in (0, self._number):
            return False
        self._record["wanted"] = 0
        store_release(self._owner, wanted)
        return True
