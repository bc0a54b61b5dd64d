"""Where connections come in: each is counted from the moment at which the system hands it over.

A connection that is not counted yet, because TLS has to be agreed on first, would cost as much as
any other: silent ones would use up the process's descriptors. And the system itself gives up a
client that takes nothing of what it is sent, also after everybody here has closed the connection.
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

from crowdstream.system.network_address import same_sender
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
OUT_OF_DESCRIPTORS_SECONDS = 0.5  # before another try
KNOWN_ADDRESSES = 64
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is unsent is given up


class ConnectionSlot:
    """One connection's place, from when it is accepted until it is closed."""

    def __init__(self, places: ConnectionSlots, address: str) -> None:
        self._places = places
        self.address = address
        self.busy = False
        """Whether a request is being answered, or it is a WebSocket: not given to another."""
        self.drop: Callable[[], Any] = lambda: None
        """Ends the connection."""

    def leave(self) -> None:
        """The connection is closed. May be called more than once."""
        self._places.left(self)


class ConnectionSlots:
    """The places of all connections.

    Where all that strangers may have are taken, whoever has fewer than another gets one of the
    other's: an idle one, the oldest first.
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
        """How many there are."""
        return self._count.total

    def of(self, address: str) -> int:
        """How many an address has."""
        return self._count.of(address)

    def know(self, address: str) -> None:
        """An address has shown the token: from now on it also gets what strangers leave free."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    def enter(self, address: str) -> ConnectionSlot | None:
        """A place for one more connection of an address, or None."""
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

    def left(self, place: ConnectionSlot) -> None:
        """A place is free again."""
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
    """Accepts connections on a listening socket. Has what uvicorn wants of an asyncio server."""

    def __init__(
        self,
        listening: socket.socket,
        places: ConnectionSlots,
        protocol: Callable[[ConnectionSlot], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """`protocol`: makes that of a connection, which leaves its place when it is lost."""
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
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until those have ended that had not agreed on TLS."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _open(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                made, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors or no memory: asking at once again would help nobody
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(OUT_OF_DESCRIPTORS_SECONDS, self._open)
                return
            place = self._places.enter(same_sender(peer[0]))
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
            # What comes of a handshake that fails is the other side's business alone.
            place.leave()
            reset(made)


def bound(made: socket.socket) -> None:
    """Have the system keep little for a client that does not read, and give it up after a while."""
    with contextlib.suppress(OSError):  # the client has gone
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        timeout = int(SEND_SECONDS * 1000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)


def reset(made: socket.socket) -> None:
    """Close a connection at once."""
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    made.close()


class Server(uvicorn.Server):
    """A server on one socket, with places for its connections; control decides when it ends."""

    def __init__(self, config: uvicorn.Config, places: ConnectionSlots) -> None:
        super().__init__(config)
        self.places = places

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections. `sockets`: the one that listens."""
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
