"""A server of a fleet that plays nothing: it replies as the real one, by a clock of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from crowdstream.fleet.members import Member
from crowdstream.osc.codec import Double, build, parse

STATUS: dict[str, Any] = {
    "sample_rate": 48000.0, "buffer_size": 480, "latency_ms": 20.0, "frame": 48000,
    "load_percent": 12.0, "underruns": 0, "underruns_engine": 0, "missing_pages": 0,
    "device_lost": 0, "quality": 0, "bpm": 124.0, "stalled_s": 0.0,
    "deck.A.state": "playing", "deck.A.track": "night drive", "deck.A.position": 60.0,
    "deck.A.length": 245.0, "deck.B.state": "empty",
}  # fmt: skip


class FakeMember(asyncio.DatagramProtocol):
    """Runs in the event loop of the test, see `fake_member`.

    `ahead`: seconds by which its clock differs from this machine's. `delay`: seconds before each
    reply. `fails`: reasons with which it refuses commands. `silent`: it does not reply.
    `lost_packets`, `lost_replies`: so many of the next timed packets, or replies to them, are lost.
    `received`: (Unix time of the tag or None, address, arguments) of each command.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.delay = 0.0
        self.silent = False
        self.lost_packets = 0
        self.lost_replies = 0
        self.status = dict(STATUS)
        self.fails: dict[str, str] = {}
        self.received: list[tuple[float | None, str, tuple[Any, ...]]] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def member(self, name: str, **values: Any) -> Member:
        """Return its entry in a fleet."""
        return Member(name, "127.0.0.1", self.port, **values)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the socket."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Reply to each message of a packet."""
        if self.silent:
            return
        messages = list(parse(data))
        timed = any(moment is not None for moment, _message in messages)
        if timed and self.lost_packets:
            self.lost_packets -= 1
            return
        if timed and self.lost_replies:
            self.lost_replies -= 1
            self.received += [(at, one.address, tuple(one.params)) for at, one in messages if at]
            return
        for moment, message in messages:
            address, values = message.address, tuple(message.params)
            if address in self.fails:
                self._reply(addr, "/fail", address, self.fails[address])
            elif address == "/ping":
                self._reply(addr, "/pong", values[0])
            elif address == "/status":
                named = [part for pair in self.status.items() for part in pair]
                self._reply(addr, "/status.reply", *[0] * 9, *named)
            elif address == "/version":
                self._reply(addr, "/version.reply", "crowdstream", 0, 1, ".0", "main", "abc")
            elif address == "/clock/time":
                now = time.time() + self.ahead
                self._reply(addr, "/clock/time.reply", values[0], Double(now), 1)
            elif address == "/waiting":
                now = time.time() + self.ahead
                waits = [(1, at - now, name) for at, name, _ in self.received if at and at > now]
                self._reply(addr, "/waiting.reply", len(waits), *[x for one in waits for x in one])
            elif address == "/sync":
                self._reply(addr, "/synced", *values)
            elif address == "/settings/reload":
                self.received.append((moment, address, values))
                self._reply(addr, "/settings/reload.reply", "limiter_ceiling", "")
            else:
                self.received.append((moment, address, values))

    def _reply(self, addr: Any, address: str, *values: Any) -> None:
        assert self._transport is not None
        packet = build(address, values)
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.send, packet, addr)
        else:
            self.send(packet, addr)

    def send(self, packet: bytes, addr: Any) -> None:
        """Send a packet."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(packet, addr)

    def close(self) -> None:
        """Close the socket: the port then refuses packets."""
        if self._transport is not None:
            self._transport.close()


@contextlib.asynccontextmanager
async def fake_members(*ahead: float) -> AsyncIterator[list[FakeMember]]:
    """Run a server for each clock difference (s), for an `async with` block."""
    made = []
    for one in ahead:
        loop = asyncio.get_running_loop()
        _transport, fake = await loop.create_datagram_endpoint(
            lambda one=one: FakeMember(one), ("127.0.0.1", 0)  # type: ignore[misc]
        )
        made.append(fake)
    try:
        yield made
    finally:
        for fake in made:
            fake.close()
        await asyncio.sleep(0)  # the event loop closes the sockets in its next turn


async def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait until `condition()` is true. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
