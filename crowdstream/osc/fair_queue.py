"""Packets that wait to be carried out: fair between senders, within the rate each is allowed.

Every sender has a queue of its own, and the queues take turns, so whatever one sends delays
another by one packet at most; who sends long packets has fewer turns. Trusted senders and strangers
take turns in the same way, however many strangers there are. What a sender sends above its rate is
not queued but counted. What all together may send is not taken from whoever comes last, but limits
how fast the queues are emptied: so the turns decide whose packets these are.

A source address can be made up, and any number of them. So strangers that were heard before take
turns, as one, with those that were not: addresses that are made up for one packet each are all new.
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

from crowdstream.logs.burst import Quiet
from crowdstream.osc.acl import AllowList, TrustLevel
from crowdstream.system.network_address import plain_address, same_sender
from crowdstream.system.token_bucket import TokenBucket

log = logging.getLogger(__name__)

MAX_SENDERS = 1024  # remembered of each standing: a source address may be made up
WARNING_SECONDS = 60.0  # between two lines about the same trouble: a night has few of them
SETTLED_SECONDS = 5.0  # after its first packet a stranger that is still known is no new one
KEPT_SECONDS = 600.0  # for which one that was heard before keeps its place without a packet
LOOKED_AT = 16  # queues, for one that is longer, where there is no room

Packet = tuple[bytes, Any]
"""Its bytes and the socket address they came from."""


@dataclass(frozen=True)
class Limit:
    """How much one sender may send, and all of a kind may have waiting.

    A packet costs one token for each `token_bytes` that it has begun: a bundle of many messages
    is many messages. `rate` tokens come back each second, `burst` is the most there can be;
    `rate_of_all` and `burst_of_all` are the same for what all senders together have carried out.
    A sender may have as many packets waiting as there is room for others, so half of `room` when
    it is alone. Where there is no room, a longer queue gives some up.
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


@dataclass(slots=True, eq=False)
class _Sender:
    bucket: TokenBucket
    first: float
    """When it was first heard."""
    last: float
    turn: float = 0.0
    """When the turn of its first packet ends: in tokens that each sender may have used by then."""
    packets: deque[tuple[Packet, int]] = field(default_factory=deque)
    """What waits, with the tokens it costs."""
    size: int = 0


class _Put(Enum):
    TAKEN = 0
    LIMITED = 1
    CROWDED = 2


class _Ring:
    """The senders of one kind, and their turns."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self.known: OrderedDict[Hashable, _Sender] = OrderedDict()
        self._turns: list[tuple[float, int, _Sender]] = []
        self._turn = 0.0
        self._numbers = itertools.count()
        self.waiting = 0
        self._size = 0

    def put(self, sender: _Sender, packet: Packet, now: float) -> _Put:
        """Queue a packet, within the rate of its sender and the room there is."""
        limit, size, packets = self._limit, len(packet[0]), sender.packets
        cost = 1 + (size - 1) // limit.token_bytes if size else 1
        if size > limit.biggest or not sender.bucket.take(cost, now):
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
        """Tokens that the next packet costs; 0 where there is none."""
        return self._turns[0][2].packets[0][1] if self._turns else 0

    def take(self) -> Packet:
        """The first packet of the sender whose turn it is; there is one."""
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
        """A sender, which is remembered from now on."""
        known = self.known
        sender = known.get(key)
        if sender is None:
            bucket = TokenBucket(self._limit.rate, self._limit.burst, now=now)
            sender = known[key] = _Sender(bucket, now, now)
            if len(known) > MAX_SENDERS:
                # What it has waiting keeps its turn.
                known.popitem(last=False)
        else:
            known.move_to_end(key)
            sender.last = now
        return sender

    def _await_turn(self, sender: _Sender, turn: float) -> None:
        heapq.heappush(self._turns, (turn, next(self._numbers), sender))

    def _make_room(self, sender: _Sender, size: int) -> bool:
        # The latest packets of a longer queue go: the longest of those that are next, as those of
        # a few that flood all are.
        others = [one for _, _, one in self._turns[:LOOKED_AT] if len(one.packets) > 1]
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
    """Senders of one standing: those heard before, and new ones, who take turns."""

    def __init__(self, limit: Limit, now: float) -> None:
        self._all = TokenBucket(limit.rate_of_all, limit.burst_of_all, now=now)
        self.new, self.settled = _Ring(limit), _Ring(limit)
        self._order = [self.new, self.settled]

    def __len__(self) -> int:
        return len(self.new.known) + len(self.settled.known)

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return self.new.waiting + self.settled.waiting

    def put(self, key: Hashable, packet: Packet, now: float) -> _Put:
        """Queue a packet, within the rate of its sender and the room there is."""
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
        """The packet whose turn it is, unless all together have had their share."""
        for ring in self._order:
            cost = ring.next_cost()
            if cost:
                if not self._all.take(cost, now):
                    return None
                self._order.reverse()
                return ring.take()
        return None

    def ready(self, now: float) -> bool:
        """Whether `take` would give one."""
        first = next((cost for ring in self._order if (cost := ring.next_cost())), 0)
        return 0 < first <= self._all.left(now)

    def _may_settle(self, now: float) -> bool:
        settled = self.settled.known
        if len(settled) < MAX_SENDERS:
            return True
        key, oldest = next(iter(settled.items()))
        if oldest.packets or now - oldest.last < KEPT_SECONDS:
            return False
        del settled[key]
        return True


class FairQueue:
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
        self._kinds = {
            TrustLevel.TRUSTED: _Kind(TRUSTED_LIMIT, now),
            TrustLevel.STRANGER: _Kind(STRANGER_LIMIT, now),
        }
        self._order = list(self._kinds.values())
        self._quiet = Quiet(monotonic, WARNING_SECONDS)
        self.barred = 0
        self.limited = 0
        self.refused = 0

    def put(self, packet: bytes, sender: Any) -> None:
        """Take in a packet, or count it."""
        standing = self._allow.standing(sender)
        if standing is TrustLevel.BARRED:
            self.barred += 1
            self._quiet.say(
                log.warning, "barred",
                "a packet from %s was dropped: the address is not on --osc-allow", _shown(sender),
            )
            return
        now = self._monotonic()
        kind = self._kinds[standing]
        key = sender if standing is TrustLevel.TRUSTED else same_sender(sender[0])
        put = kind.put(key, (packet, sender), now)
        if put is _Put.TAKEN:
            return
        self.refused += 1
        if put is _Put.LIMITED:
            self.limited += 1
            self._quiet.say(
                log.warning, "limited",
                "%s port %d sends more than it may%s: packets are dropped", _shown(sender),
                sender[1],
                "" if standing is TrustLevel.TRUSTED else " as a stranger (see --osc-allow)",
            )
        else:
            self._quiet.say(
                log.warning, "crowded",
                "%s port %d sends faster than its commands can be carried out: packets are dropped",
                _shown(sender), sender[1],
            )

    def take(self) -> Packet | None:
        """The packet whose turn it is; None when none waits, or none may be carried out yet."""
        now = self._monotonic()
        first, second = self._order
        packet = first.take(now) if first.waiting else None
        if packet is None:
            return second.take(now) if second.waiting else None
        self._order.reverse()
        return packet

    @property
    def ready(self) -> bool:
        """Whether `take` gives a packet now."""
        now = self._monotonic()
        return any(kind.ready(now) for kind in self._order)

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return sum(kind.waiting for kind in self._order)

    @property
    def remembered(self) -> int:
        """Senders that are remembered."""
        return sum(map(len, self._order))


def _shown(sender: Any) -> str:
    return str(plain_address(sender[0]) or sender[0])
