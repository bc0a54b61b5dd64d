"""TCP connections: how long one may take to say what it wants, and how much it may leave unread.

The server closes one that is silent after an answer. One that never sends a whole request, or that
reads nothing, would be kept for ever, and enough of them shut everybody out or fill the memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from crowdstream.system.token_bucket import TokenBucket
from crowdstream.web.auth.limits import (
    FRAMES_A_SECOND,
    FRAMES_AT_ONCE,
    HEAD_SECONDS,
    MAX_UNSENT_BYTES,
    MAX_UNSENT_SOCKET_BYTES,
    SEND_SECONDS,
)
from crowdstream.web.auth.listener_sockets import ConnectionSlot

# What comes in malformed is somebody else's fault, and would fill the log.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

aborted: Counter[str] = Counter({"slow": 0, "unread": 0, "frames": 0, "malformed": 0})
"""Connections that were ended, by reason."""


class Outgoing:
    """A transport that holds a bounded amount, and that does not wait for ever when it is closed.

    Much of what a protocol writes is not held up when the client does not read: answers to pings,
    refusals, the end of a connection. Has all that an `asyncio.Transport` has.
    """

    def __init__(self, transport: asyncio.Transport, most: int = MAX_UNSENT_BYTES) -> None:
        self._transport = transport
        self.most = most
        """Bytes that may be unsent."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send; a client that has left too much unread is given up."""
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self.most:
            self.give_up("unread")

    def close(self) -> None:
        """Close it once everything is sent; at once where nothing is taken for a while."""
        transport = self._transport
        if not transport.is_closing():
            transport.close()
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(SEND_SECONDS, transport.abort)

    def give_up(self, reason: str) -> None:
        """Close it at once. `reason`: see `aborted`."""
        aborted[reason] += 1
        self._transport.abort()


class SocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket: its control frames are counted, and nothing malformed gets into the log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place: ConnectionSlot | None = None
        self._extra = TokenBucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        self._ended = False

    def connection_made(self, transport: Any) -> None:
        """It was an HTTP connection. `transport`: an `Outgoing`."""
        transport.most = MAX_UNSENT_SOCKET_BYTES
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self.place is not None:
            self.place.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a frame, or some of them."""
        if self._ended:
            return
        try:
            super().data_received(data)
        except Exception:
            # The protocol's own code does not know what to do with it: neither does anybody else.
            self._give_up("malformed")

    def handle_parser_exception(self) -> None:
        """What came is no frame: the client is told so."""
        self._ended = True
        aborted["malformed"] += 1
        super().handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(1007, "this is not UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answered; but an answer to each of a flood would fill the memory."""
        if self._allowed():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Perhaps the answer to a ping of this server."""
        if self._allowed():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """A further part of a message, which may be empty."""
        if self._allowed():
            super().handle_cont(event)

    def _allowed(self) -> bool:
        if self._ended:
            return False
        if not self._extra.take():
            self._give_up("frames")
            return False
        return True

    def _give_up(self, reason: str) -> None:
        self._ended = True
        self.transport.give_up(reason)  # type: ignore[attr-defined]


class Connection(H11Protocol):
    """One connection. It keeps its place until it is closed, also when it becomes a WebSocket."""

    def __init__(self, *args: Any, place: ConnectionSlot, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place = place
        self._upgraded = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, and agreed on TLS where it is wanted."""
        self.place.drop = transport.abort
        super().connection_made(Outgoing(transport))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._stop_timer()
        self.place.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        try:
            super().data_received(data)
        except Exception:
            # As in a request whose end is no HTTP while an answer to its beginning is under way.
            self.transport.give_up("malformed")  # type: ignore[attr-defined]
            return
        if self._idle():
            self._await_head()
        else:
            self._stop_timer()

    def on_response_complete(self) -> None:
        """A request is answered."""
        super().on_response_complete()
        self.place.busy = not self._idle()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """It is a WebSocket from now on."""
        self._stop_timer()
        self._upgraded = self.place.busy = True
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        if isinstance(protocol, SocketConnection):
            protocol.place = self.place

    def _idle(self) -> bool:
        # No request has begun yet, or the latest is answered.
        if self._upgraded:
            return False
        cycle: Any = self.cycle
        idle = not cycle or cycle.response_complete
        self.place.busy = not idle
        return bool(idle)

    def _await_head(self) -> None:
        # From the first byte on, not from the latest: one byte at a time is no request either.
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._idle() and not self.transport.is_closing():
            self.transport.give_up("slow")  # type: ignore[attr-defined]

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
