"""Accept connections and count each from the moment at which the kernel hands it over.

Connections must be counted before the TLS handshake: silent ones would otherwise exhaust the
process's descriptors. The kernel also drops a client that acknowledges no data, even after this
process has closed the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import uvicorn

from crowdstream.system.network_address import sender_key
from crowdstream.web.auth.limits import (
    HANDSHAKE_SECONDS,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_EACH,
    RESERVED_CONNECTIONS,
    SEND_BUFFER_BYTES,
    SEND_SECONDS,
    Count,
    Rank,
)

ACCEPTED_AT_ONCE = 64
TICK_SECONDS = 1.0  # between two updates of the date header
OUT_OF_DESCRIPTORS_SECONDS = 0.5  # until the next attempt
KNOWN_ADDRESSES = 64
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: discard unsent data


class ConnectionSlot:
    """The slot of one connection, from its acceptance until it is closed."""

    def __init__(self, places: ConnectionSlots, address: str) -> None:
        self._places = places
        self.address = address
        self.busy = False
        """A request is in progress, or it is a WebSocket: the slot cannot be reassigned."""
        self.drop: Callable[[], Any] = lambda: None
        """Closes the connection."""

    def leave(self) -> None:
        """Release the slot. May be called more than once."""
        self._places.release(self)


class ConnectionSlots:
    """The slots of all connections.

    When all slots for strangers are taken, an address that has fewer connections than the largest
    one takes over a slot from it: the oldest idle one.
    """

    def __init__(
        self,
        most: int = MAX_CONNECTIONS,
        each: int = MAX_CONNECTIONS_EACH,
        reserved: int = RESERVED_CONNECTIONS,
    ) -> None:
        self._count = Count(most, each, reserved)
        self._taken: OrderedDict[ConnectionSlot, None] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self.refused = 0

    @property
    def total(self) -> int:
        """Number of connections."""
        return self._count.total

    def of(self, address: str) -> int:
        """Number of connections of an address."""
        return self._count.of(address)

    def mark_authenticated(self, address: str) -> None:
        """Let an address that has sent the token use the reserved slots from now on."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    def enter(self, address: str) -> ConnectionSlot | None:
        """A slot for a new connection from an address; None if there is none."""
        rank = Rank.HOLDER if address in self._known else Rank.STRANGER
        entered = self._count.enter(address, rank)
        if not entered and self._make_room(address):
            entered = self._count.enter(address, rank)
        if not entered:
            self.refused += 1
            return None
        place = ConnectionSlot(self, address)
        self._taken[place] = None
        return place

    def release(self, place: ConnectionSlot) -> None:
        """Free a slot."""
        if place in self._taken:
            del self._taken[place]
            self._count.leave(place.address)

    def _make_room(self, address: str) -> bool:
        largest = self._count.largest
        if self._count.of(largest) <= self._count.of(address) + 1:
            return False
        for place in self._taken:
            if place.address == largest and not place.busy:
                self.refused += 1
                place.drop()
                place.leave()
                return True
        return False


class ListenerSockets:
    """Accepts connections on a listening socket, in place of uvicorn's asyncio server."""

    def __init__(
        self,
        listening: socket.socket,
        places: ConnectionSlots,
        protocol: Callable[[ConnectionSlot], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """`protocol`: creates the protocol of a connection, which releases the slot at its end."""
        self._listening = listening
        self._places = places
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Stop accepting connections."""
        self._loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until pending TLS handshakes have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _open(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                made, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors or no memory: an immediate retry would fail as well
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(OUT_OF_DESCRIPTORS_SECONDS, self._open)
                return
            place = self._places.enter(sender_key(peer[0]))
            if place is None:
                reset(made)
                continue
            task = self._loop.create_task(self._begin(made, place))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, made: socket.socket, place: ConnectionSlot) -> None:
        place.drop = asyncio.current_task().cancel  # type: ignore[union-attr]
        try:
            bound(made)
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(place), made, ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )  # fmt: skip
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            # Failed handshakes are the client's fault, and are not logged.
            place.leave()
            reset(made)


def bound(made: socket.socket) -> None:
    """Limit the kernel's send buffer, and the time for which a client may acknowledge no data."""
    with contextlib.suppress(OSError):  # the client has gone
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        timeout = int(SEND_SECONDS * 1000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)


def reset(made: socket.socket) -> None:
    """Close a connection at once, without sending what is buffered."""
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    made.close()


class Server(uvicorn.Server):
    """uvicorn's server on one socket, with connection slots; control decides when it ends."""

    def __init__(self, config: uvicorn.Config, places: ConnectionSlots) -> None:
        super().__init__(config)
        self.places = places
        self._left = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signal handlers unchanged."""
        yield

    async def main_loop(self) -> None:
        """Update the date header each second until `leave`; uvicorn looks ten times as often."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._left.wait()

    def leave(self) -> None:
        """End `serve` without waiting for open requests."""
        self.should_exit = self.force_exit = True
        self._left.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections. `sockets`: the listening socket."""
        config = self.config
        await self.lifespan.startup()
        assert sockets is not None

        def protocol(place: ConnectionSlot) -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            return made(  # type: ignore[no-any-return]
                config=config, server_state=self.server_state, app_state=self.lifespan.state,
                place=place,
            )  # fmt: skip

        self.servers: list[Any] = [
            ListenerSockets(one, self.places, protocol, config.ssl) for one in sockets
        ]
        self.started = True
