"""Packets that wait to be carried out: fair between senders, within the rate each is allowed.

Every sender has a queue of its own, and the queues take turns, so whatever one sends delays
another by one packet at most. Trusted senders and strangers take turns in the same way, however
many strangers there are. What a sender sends above its rate is not queued but counted.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from crowdstream.control.allow import AllowList, Standing, plain_address
from crowdstream.control.quiet import Quiet

log = logging.getLogger(__name__)

MOST_SENDERS = 1024  # remembered of each standing: a source address may be made up
WARNING_SECONDS = 60.0  # between two lines about the same trouble: a night has few of them
STREET_BITS = 64  # of an IPv6 address: one machine may have any number of addresses below that

Packet = tuple[bytes, Any]
"""Its bytes and the socket address they came from."""


@dataclass(frozen=True)
class Limit:
    """How much one sender may send, and all of a kind may have waiting.

    A packet costs one token for each `token_bytes` that it has begun: a bundle of many messages
    is many messages. `rate` tokens come back each second, `burst` is the most there can be, and
    `rate_of_all` and `burst_of_all` are the same for all senders together. A sender may have as
    many packets waiting as there is room for others, so half of `room` when it is alone.
    """

    rate: float
    burst: float
    rate_of_all: float
    burst_of_all: float
    token_bytes: int
    biggest: int  # bytes of a packet
    room: int  # packets
    room_bytes: int


# A busy sequencer sends 20 000 messages a second, and a set that is loaded at once may be more;
# control carries out about as many. What is above can only wait, and fill the memory.
TRUSTED_LIMIT = Limit(50_000.0, 200_000.0, 200_000.0, 400_000.0, 256, 65536, 200_000, 64 << 20)
# A hand on a controller, and a script that fades a few things. All strangers together may take a
# tenth of what control can do; 4 KiB hold 500 of the shortest messages, 15 ms of work.
STRANGER_LIMIT = Limit(1_000.0, 2_000.0, 2_000.0, 4_000.0, 32, 4096, 4_000, 1 << 20)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    since: float

    def pay(self, cost: float, rate: float, burst: float, now: float) -> bool:
        self.tokens = min(burst, self.tokens + rate * (now - self.since))
        self.since = now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


@dataclass(slots=True)
class _Sender:
    bucket: _Bucket
    packets: deque[Packet] = field(default_factory=deque)
    size: int = 0


class _Put(Enum):
    TAKEN = 0
    LIMITED = 1
    CROWDED = 2


class _Ring:
    """The senders of one standing, and their turns."""

    def __init__(self, limit: Limit, now: float) -> None:
        self._limit = limit
        self._all = _Bucket(limit.burst_of_all, now)
        self._known: OrderedDict[Hashable, _Sender] = OrderedDict()
        self._turns: deque[_Sender] = deque()
        self.waiting = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._known)

    def put(self, key: Hashable, packet: Packet, now: float) -> _Put:
        """Queue a packet, within the rate of its sender and the room there is."""
        limit, size, sender = self._limit, len(packet[0]), self._of(key, now)
        cost = 1 + (size - 1) // limit.token_bytes
        if not (
            size <= limit.biggest
            and sender.bucket.pay(cost, limit.rate, limit.burst, now)
            and self._all.pay(cost, limit.rate_of_all, limit.burst_of_all, now)
        ):
            return _Put.LIMITED
        if (
            len(sender.packets) >= limit.room - self.waiting
            or sender.size + size > limit.room_bytes - self._size
        ):
            return _Put.CROWDED
        if not sender.packets:
            self._turns.append(sender)
        sender.packets.append(packet)
        sender.size += size
        self._size += size
        self.waiting += 1
        return _Put.TAKEN

    def take(self) -> Packet | None:
        """The first packet of the sender whose turn it is."""
        if not self._turns:
            return None
        sender = self._turns.popleft()
        packet = sender.packets.popleft()
        if sender.packets:
            self._turns.append(sender)
        size = len(packet[0])
        sender.size -= size
        self._size -= size
        self.waiting -= 1
        return packet

    def _of(self, key: Hashable, now: float) -> _Sender:
        known = self._known
        sender = known.get(key)
        if sender is None:
            sender = known[key] = _Sender(_Bucket(self._limit.burst, now))
            if len(known) > MOST_SENDERS:
                # What it has waiting keeps its turn.
                known.popitem(last=False)
        else:
            known.move_to_end(key)
        return sender


class Inbox:
    """Takes packets in and gives them out in fair order.

    `barred`: packets of senders that are not on the allow list. `limited`: packets above their
    sender's rate. `refused`: these, and what found no room.
    """

    def __init__(
        self, allow: AllowList, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        now = monotonic()
        self._allow = allow
        self._monotonic = monotonic
        self._rings = {
            Standing.TRUSTED: _Ring(TRUSTED_LIMIT, now),
            Standing.STRANGER: _Ring(STRANGER_LIMIT, now),
        }
        self._order = list(self._rings.values())
        self._quiet = Quiet(monotonic, WARNING_SECONDS)
        self.barred = 0
        self.limited = 0
        self.refused = 0

    def put(self, packet: bytes, sender: Any) -> None:
        """Take in a packet, or count it."""
        standing = self._allow.standing(sender)
        if standing is Standing.BARRED:
            self.barred += 1
            self._quiet.say(
                log.warning, "barred",
                "a packet from %s was dropped: the address is not on --osc-allow", _shown(sender),
            )
            return
        now = self._monotonic()
        ring = self._rings[standing]
        key = sender if standing is Standing.TRUSTED else _street(sender[0])
        put = ring.put(key, (packet, sender), now)
        if put is _Put.TAKEN:
            return
        self.refused += 1
        if put is _Put.LIMITED:
            self.limited += 1
            self._quiet.say(
                log.warning, "limited",
                "%s port %d sends more than it may%s: packets are dropped", _shown(sender),
                sender[1],
                "" if standing is Standing.TRUSTED else " as a stranger (see --osc-allow)",
            )
        else:
            self._quiet.say(
                log.warning, "crowded",
                "%s port %d sends faster than its commands can be carried out: packets are dropped",
                _shown(sender), sender[1],
            )

    def take(self) -> Packet | None:
        """The packet whose turn it is; None when none waits."""
        first, second = self._order
        packet = first.take()
        if packet is None:
            return second.take()
        self._order.reverse()
        return packet

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return sum(ring.waiting for ring in self._order)

    @property
    def remembered(self) -> int:
        """Senders that are remembered."""
        return sum(map(len, self._order))


def _shown(sender: Any) -> str:
    return str(plain_address(sender[0]) or sender[0])


def _street(host: str) -> str:
    # What counts as one stranger.
    address = plain_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, STREET_BITS), strict=False))
    return str(address or host)
