"""The lease: which of several engines renders the desk.

Exactly one does. It hands over when it is asked to, between two turns; an engine that is
dead has the lease taken from it. The number of the owner is written by the owner itself or by
whoever has seen it die, so there is one writer at any time.
"""

from __future__ import annotations

import os
import threading

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.dtypes import LEASE
from crowdstream.desk.layout import REGIONS

_FIELDS = LEASE.fields
assert _FIELDS is not None
_LEASE = REGIONS["lease"].offset
_OWNER = _LEASE + _FIELDS["owner"][1]
_WANTED = _LEASE + _FIELDS["wanted"][1]


class Lease:
    """The lease as the engine with a number of its own (from 1 up) sees it."""

    def __init__(self, desk: Desk, number: int) -> None:
        self._record = desk.lease
        self._owner = desk.address + _OWNER
        self._wanted = desk.address + _WANTED
        self._number = number

    def held(self) -> bool:
        """Whether this engine may render. All that the one before did is visible then."""
        return int(load_acquire(self._owner)) == self._number

    @property
    def pid(self) -> int:
        """The process that renders or did so last; 0: none ever did."""
        return int(self._record["pid"])

    @property
    def thread(self) -> int:
        """The thread that renders; 0 while it has not begun."""
        return int(self._record["thread"])

    def begin(self) -> None:
        """Say that this thread of this process is the one that renders."""
        self._record["pid"] = os.getpid()
        self._record["thread"] = threading.get_native_id()

    @property
    def closing(self) -> bool:
        """Whether the server ends."""
        return bool(self._record["closing"])

    def take(self) -> None:
        """Have it. Nobody else may be rendering."""
        self._record["thread"] = 0
        self._record["pid"] = os.getpid()
        self._record["wanted"] = 0
        store_release(self._owner, self._number)

    @property
    def ahead(self) -> int:
        """Frames that the engine which hands over is to render beforehand, and to play itself."""
        return int(self._record["ahead"])

    def ask(self, ahead: int = 0) -> None:
        """Ask the engine that renders to hand over to this one, `ahead` frames later."""
        self._record["ahead"] = ahead
        store_release(self._wanted, self._number)

    def asked(self) -> bool:
        """Whether another engine waits to go on. To be seen by the owner between two turns."""
        return load_acquire(self._wanted) not in (0, self._number)

    def hand_over(self) -> bool:
        """Leave it to the engine that asked: this one never renders again.

        False when it asks no longer, because it was ended meanwhile.
        """
        wanted = load_acquire(self._wanted)
        if wanted in (0, self._number):
            return False
        self._record["wanted"] = 0
        store_release(self._owner, wanted)
        return True
