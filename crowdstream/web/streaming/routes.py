"""The WebSocket `/listen`: who may listen, and to what.

    /listen?bus=master|cue&format=pcm16|opus

The server says first what it sends: `{"hello": {"bus", "format", "formats", "rate"}}`; then
chunks (see `chunks`) as binary messages, and as text `{"format", "why"}` before what follows has
another format. A listener reports about five times a second `{"have": frame}`, the frame behind
the last one that arrived; who does not report counts as slow. With `"held": seconds` it says how
long its own computer held it up lately, which is no reason for fewer bits. `{"ping": t}` is
answered by `{"pong": [t, seconds of the server's monotonic clock]}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any, Protocol

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_CUE, TAP_MASTER
from crowdstream.system.json_text import read_json
from crowdstream.system.token_bucket import TokenBucket
from crowdstream.web.streaming import formats
from crowdstream.web.streaming.broadcast import Broadcast
from crowdstream.web.streaming.listener import Listener

LISTENERS_MOST = 64
REPORT_CHARACTERS = 200  # of a listener's messages, which are numbers
REPORTS_A_SECOND = 50  # on average; who sends more is no listener
BUSES = {"master": TAP_MASTER, "cue": TAP_CUE}
MAX_SAFE_INTEGER = float(1 << 53)  # numbers beyond that are not whole any more in a browser
POLICY, TRY_LATER = 1008, 1013  # WebSocket close codes


class Web(Protocol):
    """What is needed of the web process."""

    @property
    def desk(self) -> Desk: ...


class ListenEndpoint:
    """All who listen. At most `most`: the next one is told so."""

    def __init__(self, desk: Desk, most: int = LISTENERS_MOST) -> None:
        self._desk = desk
        self._most = most
        self._buses = {name: Broadcast(desk, tap) for name, tap in BUSES.items()}

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return sum(len(bus) for bus in self._buses.values())

    async def serve(self, websocket: WebSocket) -> None:
        """One listener, from the connection to its end."""
        await websocket.accept()
        bus = websocket.query_params.get("bus", "master")
        wanted = websocket.query_params.get("format", "pcm16")
        refusal = self._refusal(bus, wanted)
        if refusal is not None:
            code, reason = refusal
            await websocket.send_json({"refused": reason})
            await websocket.close(code, reason)
            return
        known = formats.available()
        given = wanted if wanted in known else known[0]
        listener = Listener(formats.LADDERS[given])
        rate = round(self._desk.sample_rate)
        listener.outbox.put_nowait(
            {"hello": {"bus": bus, "format": given, "formats": known, "rate": rate}}
        )
        self._buses[bus].join(listener)
        try:
            await self._converse(websocket, listener)
        finally:
            self._buses[bus].leave(listener)

    def _refusal(self, bus: str, wanted: str) -> tuple[int, str] | None:
        if bus not in BUSES:
            return POLICY, f"bus: {' or '.join(BUSES)}"
        if wanted not in formats.LADDERS:
            return POLICY, f"format: {' or '.join(formats.LADDERS)}"
        if self.listeners >= self._most:
            return TRY_LATER, f"{self._most} are listening already: try again later"
        return None

    async def _converse(self, websocket: WebSocket, listener: Listener) -> None:
        tasks = [
            asyncio.create_task(self._send(websocket, listener)),
            asyncio.create_task(self._hear(websocket, listener)),
            asyncio.create_task(self._watch(listener)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, (WebSocketDisconnect, OSError)):
                raise error
        if listener.closing is not None:
            with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
                await asyncio.wait_for(websocket.close(TRY_LATER, listener.closing), 1.0)

    @staticmethod
    async def _send(websocket: WebSocket, listener: Listener) -> None:
        while True:
            item = await listener.outbox.get()
            if isinstance(item, dict):
                await websocket.send_text(json.dumps(item))
            else:
                data, end = item
                await websocket.send_bytes(data)
                listener.handed_over = end

    async def _hear(self, websocket: WebSocket, listener: Listener) -> None:
        reports = TokenBucket(REPORTS_A_SECOND, REPORTS_A_SECOND)
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            now = time.monotonic()
            allowed = reports.take(now=now)
            report = _numbers(message.get("text") or "")
            if report is None or not allowed:
                listener.closing = "not the report of a listener" if report is None else "too many"
                return
            if "have" in report:
                held = float(report["held"]) if "held" in report else None
                listener.have(int(report["have"]), held)
            if "ping" in report and listener.outbox.qsize() < REPORTS_A_SECOND:
                listener.outbox.put_nowait({"pong": [report["ping"], now]})

    @staticmethod
    async def _watch(listener: Listener) -> None:
        while listener.closing is None:
            await asyncio.sleep(1.0)


def _numbers(text: str) -> dict[str, Any] | None:
    # Names with finite numbers, or None where it is anything else.
    if len(text) > REPORT_CHARACTERS:
        return None
    try:
        report = read_json(text)
    except ValueError:
        return None
    if not isinstance(report, dict):
        return None
    return report if all(_is_number(value) for value in report.values()) else None


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(float(value)) < MAX_SAFE_INTEGER  # type: ignore[arg-type]


def routes(web: Web) -> list[BaseRoute]:
    """The WebSocket, for an application that has a `desk`."""
    return [WebSocketRoute("/listen", ListenEndpoint(web.desk).serve)]
