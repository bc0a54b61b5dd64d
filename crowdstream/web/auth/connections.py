"""Protocols of TCP connections: time limits for requests, size limits for unsent data.

uvicorn closes connections that are idle after a response. A connection that never sends a complete
request, or never reads, would be kept indefinitely; enough of them would lock out all other clients
or exhaust the memory.
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

# Malformed input is the client's fault, and would fill the log.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

aborted: Counter[str] = Counter({"slow": 0, "unread": 0, "frames": 0, "malformed": 0})
"""Number of aborted connections by reason."""


class Outgoing:
    """A transport with a bounded send buffer, which does not wait indefinitely when it is closed.

    Flow control does not cover everything that a protocol writes: pongs, refusals and close frames
    are written even if the client does not read. All other attributes are those of the
    `asyncio.Transport`.
    """

    def __init__(self, transport: asyncio.Transport, most: int = MAX_UNSENT_BYTES) -> None:
        self._transport = transport
        self.most = most
        """Maximum number of unsent bytes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`; abort the connection if too much is unsent."""
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self.most:
            self.give_up("unread")

    def close(self) -> None:
        """Close after sending the buffer; abort if the client takes nothing for `SEND_SECONDS`."""
        transport = self._transport
        if not transport.is_closing():
            transport.close()
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(SEND_SECONDS, self._abort_unsent)

    def _abort_unsent(self) -> None:
        # A transport that has closed meanwhile raises an exception if it is aborted.
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def give_up(self, reason: str) -> None:
        """Abort the connection. `reason`: a key of `aborted`."""
        aborted[reason] += 1
        self._transport.abort()


class SocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket with a rate limit for control frames; malformed input is not logged."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place: ConnectionSlot | None = None
        self._extra = TokenBucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        self._ended = False

    def connection_made(self, transport: Any) -> None:
        """Take over the transport of the HTTP connection. `transport`: an `Outgoing`."""
        transport.most = MAX_UNSENT_SOCKET_BYTES
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection slot."""
        if self.place is not None:
            self.place.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        if self._ended:
            return
        try:
            super().data_received(data)
        except Exception:
            # The protocol's own code cannot handle this input.
            self._give_up("malformed")

    def handle_parser_exception(self) -> None:
        """Count a malformed frame; the client receives a close frame."""
        self._ended = True
        aborted["malformed"] += 1
        super().handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Pass a complete message on, provided that its text is valid UTF-8."""
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
        """Answer a ping, unless pings exceed the limit: queued pongs would fill the memory."""
        if self._allowed():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Handle a pong, which may answer a ping of this server."""
        if self._allowed():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Handle a continuation frame, which may be empty."""
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
    """An HTTP connection. It keeps its slot until it is closed, also as a WebSocket."""

    def __init__(self, *args: Any, place: ConnectionSlot, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place = place
        self._upgraded = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the request head. With TLS, the handshake is complete."""
        self.place.drop = transport.abort
        super().connection_made(Outgoing(transport))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection slot."""
        self._stop_timer()
        self.place.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        try:
            super().data_received(data)
        except Exception:
            # For example invalid HTTP after a request that is still being answered.
            self.transport.give_up("malformed")  # type: ignore[attr-defined]
            return
        if self._idle():
            self._await_head()
        else:
            self._stop_timer()

    def on_response_complete(self) -> None:
        """Mark the slot as idle, unless the next request has begun."""
        super().on_response_complete()
        self.place.busy = not self._idle()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection and its slot over to the WebSocket protocol."""
        self._stop_timer()
        self._upgraded = self.place.busy = True
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        if isinstance(protocol, SocketConnection):
            protocol.place = self.place

    def _idle(self) -> bool:
        # No request has begun yet, or the latest has been answered.
        if self._upgraded:
            return False
        cycle: Any = self.cycle
        idle = not cycle or cycle.response_complete
        self.place.busy = not idle
        return bool(idle)

    def _await_head(self) -> None:
        # Measured from the first byte, so that sending one byte at a time does not extend it.
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
