"""How much of everything one address, and all together, may have of the web process.

An address is what TCP says it is: unlike OSC's it can't be made up. Addresses that share an IPv6
/64 are one, as with OSC.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum

from crowdstream.system.network_address import is_loopback
from crowdstream.system.token_bucket import TokenBucket

# Connections, WebSockets among them. A page has one for its state, one for what it listens to, and
# up to six for files. Well below the 1024 descriptors that a process may have.
MAX_CONNECTIONS = 672
MAX_CONNECTIONS_EACH = 160  # of one address that is not this machine
MAX_SOCKETS = 160  # WebSockets: 20 pages and 20 listeners are 40
MAX_SOCKETS_EACH = 64
# Places that strangers leave free. Of each: the second half is for who has the token alone, as
# everybody comes from this machine where a proxy on it passes requests on.
RESERVED_CONNECTIONS = 64
RESERVED_SOCKETS = 32

# Requests: the page itself is some thirty files, and a room full of phones may share one address.
REQUESTS_A_SECOND = 200.0
REQUESTS_AT_ONCE = 2000.0

# Messages of a page: a fader that is moved sends sixty a second, and there may be ten fingers.
MESSAGES_A_SECOND = 200.0
MESSAGES_AT_ONCE = 400.0

# Wrong tokens: a person mistypes; a program that guesses gets 14 000 tries a day.
FAILURES_A_SECOND = 1 / 6
FAILURES_AT_ONCE = 10.0
REMEMBERED_GUESSES = 4096  # wrong ones that count once, however often they come

# What a client may leave unread. An answer waits until the one before it has been taken, so this is
# the longest answer and a little more; a WebSocket's messages are shorter.
MAX_UNSENT_BYTES = 4 << 20
MAX_UNSENT_SOCKET_BYTES = 1 << 20
SEND_BUFFER_BYTES = 1 << 17  # of the system, for each connection; it takes twice as much

# Frames of a WebSocket beside its messages: pings, pongs and parts of messages.
FRAMES_A_SECOND = 20.0
FRAMES_AT_ONCE = 200.0

# A long answer counts as several requests, as it takes as long to make and to send.
REQUEST_BYTES = 65536

MAX_BODY = 65536  # bytes of a request
HANDSHAKE_SECONDS = 10.0  # in which TLS has to be agreed on
HEAD_SECONDS = 10.0  # in which a request's head has to come
BODY_SECONDS = 10.0  # and its body
SEND_SECONDS = 20.0  # for which a client may take nothing of what it is sent
REMEMBERED = 1024  # addresses


class TokenBuckets:
    """A bucket for each address; those of `REMEMBERED` addresses are kept, the latest heard."""

    def __init__(
        self, rate: float, most: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._how = (rate, most, clock)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, address: str) -> TokenBucket:
        """The bucket of an address (see `same_sender`)."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(*self._how)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket


class Rank(IntEnum):
    """Who somebody is, as far as places are concerned: each has those of the ranks below, too."""

    STRANGER = 0
    LOCAL = 1
    """On this machine, without the token; or at an address that has shown it."""
    HOLDER = 2
    """Has the token."""


class Count:
    """How many of something there are, in all and of each address.

    `reserved` of them are not for strangers, and half of these for holders of the token alone.
    """

    def __init__(self, most: int, most_each: int, reserved: int = 0) -> None:
        self._most_each = most_each
        self._most = (most - reserved, most - reserved // 2, most)
        self._each: dict[str, int] = {}
        self.total = 0

    def of(self, address: str) -> int:
        """How many an address has."""
        return self._each.get(address, 0)

    @property
    def largest(self) -> str:
        """The address that has most; empty where there is none."""
        return max(self._each, key=self._each.__getitem__, default="")

    def enter(self, address: str, rank: Rank = Rank.STRANGER) -> bool:
        """Count one more, unless there are too many."""
        if is_loopback(address):
            rank = max(rank, Rank.LOCAL)
        here = self.of(address)
        if self.total >= self._most[rank] or (here >= self._most_each and not is_loopback(address)):
            return False
        self._each[address] = here + 1
        self.total += 1
        return True

    def leave(self, address: str) -> None:
        """One that has entered is gone."""
        self.total -= 1
        left = self._each[address] - 1
        if left:
            self._each[address] = left
        else:
            del self._each[address]
