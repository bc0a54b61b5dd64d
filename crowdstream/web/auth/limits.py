"""Limits on the use of the web process, per address and in total.

The address is that of the TCP connection: unlike that of an OSC packet it cannot be forged. As with
OSC, the addresses of an IPv6 /64 count as one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum

from crowdstream.system.network_address import is_loopback
from crowdstream.system.token_bucket import TokenBucket

# Connections, including WebSockets. A page has one for its state, one for its audio stream, and up
# to six for files. Well below the 1024 descriptors that a process may have.
MAX_CONNECTIONS = 672
MAX_CONNECTIONS_EACH = 160  # of one address other than this machine
MAX_SOCKETS = 160  # WebSockets: 20 pages and 20 listeners use 40
MAX_SOCKETS_EACH = 64
# Slots that clients without the token cannot take. The second half is for holders of the token
# alone: behind a proxy on this machine, every client has the address of this machine.
RESERVED_CONNECTIONS = 64
RESERVED_SOCKETS = 32

# Requests: the page consists of about thirty files, and a room full of phones may share an address.
REQUESTS_A_SECOND = 200.0
REQUESTS_AT_ONCE = 2000.0

# Messages of a page: a moving fader sends 60 a second, and there may be ten fingers.
MESSAGES_A_SECOND = 200.0
MESSAGES_AT_ONCE = 400.0

# Wrong tokens: enough for typing errors; a program that guesses gets 14 000 attempts a day.
FAILURES_A_SECOND = 1 / 6
FAILURES_AT_ONCE = 10.0
REMEMBERED_GUESSES = 4096  # wrong cookies that count once, however often they are sent

# Bytes that a client may leave unread. A response waits until the previous one has been taken, so
# this is the longest response and a margin; messages of a WebSocket are shorter.
MAX_UNSENT_BYTES = 4 << 20
MAX_UNSENT_SOCKET_BYTES = 1 << 20
SEND_BUFFER_BYTES = 1 << 17  # of the kernel, per connection; the kernel doubles the value

# Frames of a WebSocket besides its messages: pings, pongs and fragments.
FRAMES_A_SECOND = 20.0
FRAMES_AT_ONCE = 200.0

# A long response counts as several requests, since it takes longer to create and to send.
REQUEST_BYTES = 65536

MAX_BODY = 65536  # bytes of a request's body
HANDSHAKE_SECONDS = 10.0  # for the TLS handshake
HEAD_SECONDS = 10.0  # for the head of a request
BODY_SECONDS = 10.0  # for its body
SEND_SECONDS = 20.0  # for which a client may stop reading
REMEMBERED = 1024  # addresses


class TokenBuckets:
    """A token bucket per address; the `REMEMBERED` most recently used are kept."""

    def __init__(
        self, rate: float, most: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._how = (rate, most, clock)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, address: str) -> TokenBucket:
        """Return the bucket of a normalised address."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(*self._how)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket


class Rank(IntEnum):
    """Priority of a client for connection slots: each rank also has the slots of lower ranks."""

    STRANGER = 0
    LOCAL = 1
    """On this machine without the token, or at an address that has sent the token before."""
    HOLDER = 2
    """Has sent the token."""


class Count:
    """Counts connections in total and per address, with limits for both.

    `reserved` of them are not available to strangers, and half of those only to holders of the
    token.
    """

    def __init__(self, most: int, most_each: int, reserved: int = 0) -> None:
        self._most_each = most_each
        self._most = (most - reserved, most - reserved // 2, most)
        self._each: dict[str, int] = {}
        self.total = 0

    def of(self, address: str) -> int:
        """The number that an address has."""
        return self._each.get(address, 0)

    @property
    def largest(self) -> str:
        """The address with the largest number; empty if there is none."""
        return max(self._each, key=self._each.__getitem__, default="")

    def enter(self, address: str, rank: Rank = Rank.STRANGER) -> bool:
        """Count one more. Returns False if a limit is reached."""
        if is_loopback(address):
            rank = max(rank, Rank.LOCAL)
        here = self.of(address)
        if self.total >= self._most[rank] or (here >= self._most_each and not is_loopback(address)):
            return False
        self._each[address] = here + 1
        self.total += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        self.total -= 1
        left = self._each[address] - 1
        if left:
            self._each[address] = left
        else:
            del self._each[address]
