"""Messages in order over packets that get lost: each is repeated until it is acknowledged.

A message is JSON, compressed if it is long, and divided into parts that fit a packet. A command
must arrive before its frame, some tenths of a second later, so a part is repeated soon, and without
regard to the network's round trip: at most `MAX_PENDING` parts are on their way.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from crowdstream.rooms.packets import MAX_PAYLOAD

# Pauses between two transmissions of a part: with 5 % loss and 40 ms to the room, all of those that
# arrive within the lead of 150 ms are lost once in three million.
REPEAT_SECONDS = (0.02, 0.02, 0.03, 0.05, 0.1, 0.2)
MAX_PENDING = 64  # parts that are on their way
MAX_QUEUED_BYTES = 8 << 20  # for a room that does not answer, before it counts as lost
MAX_MESSAGE_BYTES = 4 << 20
_PART = struct.Struct("!IB")  # number of the part, 1: the last one of its message


class Overflow(Exception):
    """The other side takes nothing any more, or sends a message that is too long."""


class Sender:
    """Sends messages. `due` parts are to be sent; `acknowledge` what has arrived."""

    def __init__(self) -> None:
        self._number = 0
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued = 0
        self._pending: dict[int, tuple[bytes, float, int]] = {}  # payload, next time, sent
        self.repeated = 0

    def add(self, message: dict[str, Any]) -> None:
        """Queue a message. Raises `Overflow`."""
        data = zlib.compress(json.dumps(message, separators=(",", ":")).encode(), 1)
        size = MAX_PAYLOAD - _PART.size
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        self._queued += len(data)
        if self._queued > MAX_QUEUED_BYTES:
            raise Overflow("it has acknowledged nothing for too long")
        for number, part in enumerate(parts, 1):
            self._number += 1
            head = _PART.pack(self._number, int(number == len(parts)))
            self._queue.append((self._number, head + part))

    def due(self, now: float) -> Iterator[bytes]:
        """Yield the payloads to send at `now` (monotonic seconds)."""
        for number, (payload, at, sent) in list(self._pending.items()):
            if now >= at:
                self.repeated += 1
                self._pending[number] = (payload, now + self._pause(sent), sent + 1)
                yield payload
        while self._queue and len(self._pending) < MAX_PENDING:
            number, payload = self._queue.popleft()
            self._pending[number] = (payload, now + self._pause(0), 1)
            yield payload

    @staticmethod
    def _pause(sent: int) -> float:
        return REPEAT_SECONDS[min(sent, len(REPEAT_SECONDS) - 1)]

    def next_at(self) -> float | None:
        """Return when `due` has something to send; None if all has arrived."""
        if self._queue and len(self._pending) < MAX_PENDING:
            return 0.0
        return min((at for _, at, _ in self._pending.values()), default=None)

    def acknowledge(self, before: int, mask: int) -> None:
        """Parts up to `before` have arrived, and `before` + 1 + n for each bit n of `mask`."""
        for number in list(self._pending):
            ahead = number - before - 1
            if ahead < 0 or mask >> ahead & 1:
                self._queued -= len(self._pending.pop(number)[0]) - _PART.size


class Receiver:
    """Puts messages together again, in order."""

    def __init__(self) -> None:
        self._next = 1
        self._parts: dict[int, tuple[bool, bytes]] = {}
        self._data = b""

    def receive(self, payload: bytes) -> list[dict[str, Any]]:
        """Take a part; return the messages that are complete now.

        Raises `Overflow`, or `ValueError` for a part that no sender makes.
        """
        if len(payload) < _PART.size:
            raise ValueError("the part is too short")
        number, last = _PART.unpack_from(payload)
        if not self._next <= number < self._next + 4 * MAX_PENDING:
            return []
        self._parts[number] = (bool(last), payload[_PART.size :])
        found = []
        while self._next in self._parts:
            last, part = self._parts.pop(self._next)
            self._next += 1
            self._data += part
            if len(self._data) > MAX_MESSAGE_BYTES:
                raise Overflow("a message is too long")
            if last:
                data, self._data = self._data, b""
                unpacker = zlib.decompressobj()
                text = unpacker.decompress(data, MAX_MESSAGE_BYTES)
                if unpacker.unconsumed_tail:
                    raise Overflow("a message is too long")
                message = json.loads(text)
                if not isinstance(message, dict):
                    raise ValueError("a message is not an object")
                found.append(message)
        return found

    def acknowledgement(self) -> tuple[int, int]:
        """Return what `Sender.acknowledge` receives."""
        mask = 0
        for number in self._parts:
            ahead = number - self._next
            if 0 <= ahead < MAX_PENDING:
                mask |= 1 << ahead
        return self._next - 1, mask
