"""TCP connections: how many, and how long one may take to say what it wants.

The server closes one that is silent after an answer. One that never sends a whole request would be
kept for ever, and enough of them shut everybody out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from crowdstream.web.access.limits import (
    HEAD_SECONDS,
    MOST_CONNECTIONS,
    MOST_CONNECTIONS_EACH,
    Count,
    same_sender,
)

# What comes in malformed is somebody else's fault, and would fill the log.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class Connection(H11Protocol):
    """One connection; counted until it is closed or has become a WebSocket."""

    count = Count(MOST_CONNECTIONS, MOST_CONNECTIONS_EACH)
    refused = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = ""
        self._entered = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        super().connection_made(transport)
        self._address = same_sender(self.client[0]) if self.client else ""
        self._entered = self.count.enter(self._address)
        if self._entered:
            self._await_head()
        else:
            Connection.refused += 1
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        super().data_received(data)
        if self._idle():
            self._await_head()
        else:
            self._stop_timer()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """It is a WebSocket from now on, and counted among these."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def _idle(self) -> bool:
        # No request has begun yet, or the latest is answered.
        cycle: Any = self.cycle
        return self._entered and (not cycle or cycle.response_complete)

    def _await_head(self) -> None:
        # From the first byte on, not from the latest: one byte at a time is no request either.
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._idle() and not self.transport.is_closing():
            Connection.refused += 1
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _leave(self) -> None:
        self._stop_timer()
        if self._entered:
            self._entered = False
            self.count.leave(self._address)
