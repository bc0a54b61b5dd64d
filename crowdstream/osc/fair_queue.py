"""Fair queuing of received packets between senders, with a rate limit for each.

Every sender has a queue of its own, and the queues take turns, so a sender delays another one by at
most one packet. A sender of long packets gets fewer turns. Trusted senders and strangers take turns
in the same way, however many strangers there are. Packets above a sender's rate are counted and
dropped. The total rate of all senders limits how fast the queues are emptied, instead of
rejecting the packets that arrive last; so the turns decide whose packets are handled.

Source addresses can be forged in any number. Therefore known strangers, as one group, take turns
with new ones: addresses that are forged for one packet each are all new.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from crowdstream.logs.throttle import LineThrottle
from crowdstream.osc.acl import AllowList, TrustLevel
from crowdstream.system.network_address import parse_address, sender_key
from crowdstream.system.token_bucket import TokenBucket

log = logging.getLogger(__name__)

MAX_SENDERS = 1024  # remembered per trust level and age: source addresses can be forged
WARNING_SECONDS = 60.0  # between two log lines of the same kind, to keep a night's log short
SETTLED_SECONDS = 5.0  # after its first packet, when a remembered stranger stops being new
MAX_IDLE_SECONDS = 600.0  # for which a known stranger keeps its place without sending
MAX_QUEUES_EXAMINED = 16  # queues examined to find a longer one when there is no room

Packet = tuple[bytes, Any]
"""The bytes of a packet and the socket address of its sender."""


@dataclass(frozen=True)
class Limit:
    """Rate limit of one sender, and queue limits of all senders of a trust level.

    A packet costs one token per started `token_bytes`, because a bundle contains many messages.
    `rate` tokens are added each second, up to `burst`; `rate_of_all` and `burst_of_all` are the
    same for the packets of all senders together that are handled. A sender may queue as many
    packets as there are free places, so half of `room` if it is alone. Without free places, the
    latest packets of a longer queue are dropped.
    """

    rate: float
    burst: float
    rate_of_all: float
    burst_of_all: float
    token_bytes: int
    max_packet_bytes: int  # bytes of a packet
    room: int  # packets
    room_bytes: int


# A busy sequencer sends 20 000 messages a second, and loading a whole set at once may take more;
# control handles about as many. Packets beyond that could only wait and fill the memory.
TRUSTED_LIMIT = Limit(50_000.0, 200_000.0, 200_000.0, 400_000.0, 256, 65536, 200_000, 64 << 20)
# Enough for a hand on a controller and a script that fades a few values. All strangers together may
# use a tenth of control's capacity; 4 KiB hold 500 of the shortest messages, 15 ms of work.
STRANGER_LIMIT = Limit(1_000.0, 2_000.0, 2_000.0, 4_000.0, 32, 4096, 4_000, 1 << 20)


@dataclass(slots=True, eq=False)
class _Sender:
    bucket: TokenBucket
    first: float
    """Time of its first packet (monotonic seconds)."""
    last: float
    turn: float = 0.0
    """Virtual time, in tokens per sender, at which the turn of its first packet ends."""
    packets: deque[tuple[Packet, int]] = field(default_factory=deque)
    """Queued packets, each with its cost in tokens."""
    size: int = 0


class _Put(Enum):
    TAKEN = 0
    LIMITED = 1
    CROWDED = 2


class _Ring:
    """The senders of one group, and their turns (fair queuing by virtual finish time)."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self.known: OrderedDict[Hashable, _Sender] = OrderedDict()
        self._turns: list[tuple[float, int, _Sender]] = []
        self._turn = 0.0
        self._numbers = itertools.count()
        self.waiting = 0
        self._size = 0

    def put(self, sender: _Sender, packet: Packet, now: float) -> _Put:
        """Queue a packet, within the rate of its sender and the free places."""
        limit, size, packets = self._limit, len(packet[0]), sender.packets
        cost = 1 + (size - 1) // limit.token_bytes if size else 1
        if size > limit.max_packet_bytes or not sender.bucket.take(cost, now):
            return _Put.LIMITED
        if (
            len(packets) >= limit.room - self.waiting
            or sender.size + size > limit.room_bytes - self._size
        ) and not self._make_room(sender, size):
            return _Put.CROWDED
        if not packets:
            self._await_turn(sender, max(sender.turn, self._turn) + cost)
        packets.append((packet, cost))
        sender.size += size
        self._size += size
        self.waiting += 1
        return _Put.TAKEN

    def next_cost(self) -> int:
        """Return the cost of the next packet in tokens; 0 if there is none."""
        return self._turns[0][2].packets[0][1] if self._turns else 0

    def take(self) -> Packet:
        """Remove and return the next packet of the sender whose turn it is. There must be one."""
        turns = self._turns
        turn, _, sender = turns[0]
        packets = sender.packets
        packet, cost = packets.popleft()
        self._turn = max(self._turn, turn - cost)
        size = len(packet[0])
        sender.size -= size
        self._size -= size
        self.waiting -= 1
        if packets:
            turn += packets[0][1]
            sender.turn = turn
            heapq.heapreplace(turns, (turn, next(self._numbers), sender))
        else:
            sender.turn = turn
            heapq.heappop(turns)
        return packet

    def sender(self, key: Hashable, now: float) -> _Sender:
        """Return the record of a sender, creating it if necessary."""
        known = self.known
        sender = known.get(key)
        if sender is None:
            bucket = TokenBucket(self._limit.rate, self._limit.burst, now=now)
            sender = known[key] = _Sender(bucket, now, now)
            if len(known) > MAX_SENDERS:
                # Its queued packets keep their turn.
                known.popitem(last=False)
        else:
            known.move_to_end(key)
            sender.last = now
        return sender

    def _await_turn(self, sender: _Sender, turn: float) -> None:
        heapq.heappush(self._turns, (turn, next(self._numbers), sender))

    def _make_room(self, sender: _Sender, size: int) -> bool:
        # Drop the latest packets of a longer queue: of the longest among those whose turn is next,
        # which includes all queues when only a few senders flood.
        others = [one for _, _, one in self._turns[:MAX_QUEUES_EXAMINED] if len(one.packets) > 1]
        longest = max(others, key=lambda one: (one.size, len(one.packets)), default=sender)
        if longest is sender or longest.size <= sender.size + size:
            return False
        freed = 0
        while freed < size and len(longest.packets) > 1:
            gone = len(longest.packets.pop()[0][0])
            longest.size -= gone
            self._size -= gone
            self.waiting -= 1
            freed += gone
        return freed >= size


class _Kind:
    """The senders of one trust level: known and new ones, which take turns as two groups."""

    def __init__(self, limit: Limit, now: float) -> None:
        self._all = TokenBucket(limit.rate_of_all, limit.burst_of_all, now=now)
        self.new, self.settled = _Ring(limit), _Ring(limit)
        self._order = [self.new, self.settled]

    def __len__(self) -> int:
        return len(self.new.known) + len(self.settled.known)

    @property
    def waiting(self) -> int:
        """Number of queued packets."""
        return self.new.waiting + self.settled.waiting

    def put(self, key: Hashable, packet: Packet, now: float) -> _Put:
        """Queue a packet, within the rate of its sender and the free places."""
        settled = self.settled.known
        if key in settled:
            return self.settled.put(self.settled.sender(key, now), packet, now)
        sender = self.new.sender(key, now)
        if now - sender.first >= SETTLED_SECONDS and not sender.packets and self._may_settle(now):
            settled[key] = self.new.known.pop(key)
            sender.turn = 0.0
            return self.settled.put(sender, packet, now)
        return self.new.put(sender, packet, now)

    def take(self, now: float) -> Packet | None:
        """Return the packet whose turn it is; None if the total rate is used up."""
        for ring in self._order:
            cost = ring.next_cost()
            if cost:
                if not self._all.take(cost, now):
                    return None
                self._order.reverse()
                return ring.take()
        return None

    def ready(self, now: float) -> bool:
        """Whether `take` would return a packet."""
        first = next((cost for ring in self._order if (cost := ring.next_cost())), 0)
        return 0 < first <= self._all.left(now)

    def _may_settle(self, now: float) -> bool:
        settled = self.settled.known
        if len(settled) < MAX_SENDERS:
            return True
        key, oldest = next(iter(settled.items()))
        if oldest.packets or now - oldest.last < MAX_IDLE_SECONDS:
            return False
        del settled[key]
        return True


class FairQueue:
    """Queues packets and returns them in fair order. For one thread.

    `barred` counts packets of senders that are not on the allow list, `limited` packets above
    their sender's rate, and `refused` these plus packets for which there was no room.
    """

    def __init__(
        self, allow: AllowList, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        now = monotonic()
        self._allow = allow
        self._monotonic = monotonic
        self._kinds = {
            TrustLevel.TRUSTED: _Kind(TRUSTED_LIMIT, now),
            TrustLevel.STRANGER: _Kind(STRANGER_LIMIT, now),
        }
        self._order = list(self._kinds.values())
        self._quiet = LineThrottle(monotonic, WARNING_SECONDS)
        self.barred = 0
        self.limited = 0
        self.refused = 0

    def put(self, packet: bytes, sender: Any) -> None:
        """Queue a packet, or count it as dropped."""
        trust_level = self._allow.trust_level(sender)
        if trust_level is TrustLevel.BARRED:
            self.barred += 1
            self._quiet.log(
                log.warning, "barred",
                "a packet from %s was dropped: the address is not on --osc-allow", _shown(sender),
            )
            return
        now = self._monotonic()
        kind = self._kinds[trust_level]
        key = sender if trust_level is TrustLevel.TRUSTED else sender_key(sender[0])
        put = kind.put(key, (packet, sender), now)
        if put is _Put.TAKEN:
            return
        self.refused += 1
        if put is _Put.LIMITED:
            self.limited += 1
            self._quiet.log(
                log.warning, "limited",
                "%s port %d exceeds the rate limit%s: packets are dropped", _shown(sender),
                sender[1],
                "" if trust_level is TrustLevel.TRUSTED else " of strangers (see --osc-allow)",
            )
        else:
            self._quiet.log(
                log.warning, "crowded",
                "%s port %d sends faster than its commands can be carried out: packets are dropped",
                _shown(sender), sender[1],
            )

    def take(self) -> Packet | None:
        """Return the next packet; None if none is queued, or none may be handled yet."""
        now = self._monotonic()
        first, second = self._order
        packet = first.take(now) if first.waiting else None
        if packet is None:
            return second.take(now) if second.waiting else None
        self._order.reverse()
        return packet

    @property
    def ready(self) -> bool:
        """Whether `take` would return a packet now."""
        now = self._monotonic()
        return any(kind.ready(now) for kind in self._order)

    @property
    def waiting(self) -> int:
        """Number of queued packets."""
        return sum(kind.waiting for kind in self._order)

    @property
    def remembered(self) -> int:
        """Number of remembered senders."""
        return sum(map(len, self._order))


def _shown(sender: Any) -> str:
    return str(parse_address(sender[0]) or sender[0])
