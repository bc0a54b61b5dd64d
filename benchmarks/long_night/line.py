"""A client's line to the server: messages out, answers in, and how long they took."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.osc.codec import Malformed, build, parse

ANSWER_SECONDS = 10.0  # an answer that takes longer has not come
LOAD_SECONDS = 30.0  # the same of a piece that has to be read
_BIGGEST = 65536


class Waiting:
    """Answers that are expected, by key.

    `late` is called with those that have not come (key, seconds sent at), `answered` with those
    that have (key, seconds they took).
    """

    def __init__(
        self, answered: Callable[[str, float], None], late: Callable[[str, float], None]
    ) -> None:
        self._answered = answered
        self._late = late
        self._sent: dict[str, list[tuple[float, float]]] = {}  # when sent, until when

    def expect(self, key: str, seconds: float = ANSWER_SECONDS) -> None:
        """An answer is to come."""
        now = time.monotonic()
        self._sent.setdefault(key, []).append((now, now + seconds))

    def came(self, key: str) -> None:
        """Something has come that may be an answer."""
        waits = self._sent.get(key)
        if waits:
            sent, _ = waits.pop(0)
            if not waits:
                del self._sent[key]
            self._answered(key, time.monotonic() - sent)

    def check(self) -> None:
        """Give up what has not come in time."""
        now = time.monotonic()
        for key, waits in list(self._sent.items()):
            while waits and now > waits[0][1]:
                self._late(key, waits.pop(0)[0])
            if not waits:
                del self._sent[key]

    def lost(self) -> None:
        """What has not come will not come any more."""
        for key, waits in self._sent.items():
            for sent, _ in waits:
                self._late(key, sent)
        self._sent.clear()


class Line(Waiting):
    """A UDP socket. `hear(address, arguments)` is called with what comes in.

    Keys of what is expected are addresses, or an address and its first argument.
    """

    def __init__(
        self,
        port: int,
        hear: Callable[[str, Sequence[Any]], None],
        answered: Callable[[str, float], None],
        late: Callable[[str, float], None],
    ) -> None:
        super().__init__(answered, late)
        self._to = ("127.0.0.1", port)
        self._hear = hear
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._serial = 0
        self.sent = 0
        self.heard: Counter[str] = Counter()

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def send(self, packet: bytes) -> None:
        """Send a packet as it is."""
        self.sent += 1
        # While no server is there (it was killed), the system may tell so.
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._socket.sendto(packet, self._to)

    def say(self, address: str, *arguments: Any) -> None:
        """Send a message."""
        self.send(build(address, arguments))

    def sync(self) -> None:
        """Ask for a sign that everything before is done."""
        self._serial = self._serial % 1_000_000_000 + 1
        self.expect(f"/synced {self._serial}")
        self.say("/sync", self._serial)

    def read(self) -> None:
        """Take in what has come."""
        while True:
            try:
                packet = self._socket.recv(_BIGGEST)
            except ConnectionRefusedError:
                continue
            except BlockingIOError:
                return
            with contextlib.suppress(Malformed):
                for _, message in parse(packet):
                    self._take(message.address, message.params)

    def _take(self, address: str, arguments: Sequence[Any]) -> None:
        self.heard[address] += 1
        self._hear(address, arguments)
        keys = [address]
        if arguments:
            keys.append(f"{address} {arguments[0]}")
            if address == "/fail":
                keys.append(f"/done {arguments[0]}")
        for key in keys:
            self.came(key)

    def close(self) -> None:
        """Close the socket, without a word."""
        self._socket.close()
