"""How much of everything one address, and all together, may have of the web process.

An address is what TCP says it is: unlike OSC's it can't be made up. Addresses that share an IPv6
/64 are one, as with OSC.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

# Connections. A page has one for its state, one for what it listens to, and up to six for files.
MOST_CONNECTIONS = 512
MOST_CONNECTIONS_EACH = 96  # of one address that is not this machine
MOST_SOCKETS = 160  # WebSockets: 20 pages and 20 listeners are 40
MOST_SOCKETS_EACH = 64

# Requests: the page itself is some thirty files, and a room full of phones may share one address.
REQUESTS_A_SECOND = 200.0
REQUESTS_AT_ONCE = 2000.0

# Messages of a page: a fader that is moved sends sixty a second, and there may be ten fingers.
MESSAGES_A_SECOND = 200.0
MESSAGES_AT_ONCE = 400.0

# Wrong tokens: a person mistypes; a program that guesses gets 14 000 tries a day.
FAILURES_A_SECOND = 1 / 6
FAILURES_AT_ONCE = 10.0

LONGEST_BODY = 65536  # bytes of a request
HEAD_SECONDS = 10.0  # in which a request's head has to come
BODY_SECONDS = 10.0  # and its body
SEND_SECONDS = 20.0  # for which a client may take nothing of what it is sent
REMEMBERED = 1024  # addresses


class Bucket:
    """A token bucket: `rate` a second in the long run, `most` at once."""

    __slots__ = ("_at", "_clock", "_left", "_most", "_rate")

    def __init__(
        self, rate: float, most: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._most, self._clock = rate, most, clock
        self._left, self._at = most, clock()

    def take(self, tokens: float = 1.0) -> bool:
        """Take `tokens`; False, and nothing is taken, where there are not so many."""
        if self.wait(tokens) > 0.0:
            return False
        self._left -= tokens
        return True

    def wait(self, tokens: float = 1.0) -> float:
        """Seconds until there are so many tokens; 0: there are."""
        now = self._clock()
        self._left = min(self._most, self._left + self._rate * (now - self._at))
        self._at = now
        return max(0.0, (tokens - self._left) / self._rate)


class Buckets:
    """A bucket for each address; those of `REMEMBERED` addresses are kept, the latest heard."""

    def __init__(
        self, rate: float, most: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._how = (rate, most, clock)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, address: str) -> Bucket:
        """The bucket of an address (see `same_sender`)."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(*self._how)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket


class Count:
    """How many of something there are, in all and of each address."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._each: dict[str, int] = {}
        self.total = 0

    def enter(self, address: str) -> bool:
        """Count one more, unless there are too many."""
        here = self._each.get(address, 0)
        if self.total >= self._most or (here >= self._most_each and not is_loopback(address)):
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


def same_sender(host: str) -> str:
    """What an address is counted under: itself, or its IPv6 /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 4 or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Whether a host, an address or `localhost`, is this machine alone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
