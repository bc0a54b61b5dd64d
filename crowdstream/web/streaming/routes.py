"""The WebSocket `/listen` for audio streams.

    /listen?bus=master|cue&format=pcm16|opus

The server first describes the stream: `{"hello": {"bus", "format", "formats", "rate"}}`. It then
sends chunks (see `chunks`) as binary messages, and the text `{"format", "why"}` before the first
chunk in another format. A listener reports `{"have": frame}` about five times a second: the frame
number after the last one that has arrived. A listener without reports counts as slow. It may add
`"held": seconds`, the time for which its own computer has recently stalled, which is no reason for
a lower bit rate. `{"ping": t}` is answered by `{"pong": [t, seconds of the server's monotonic
clock]}`.
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
from crowdstream.system.text import read_json
from crowdstream.system.token_bucket import TokenBucket
from crowdstream.web.streaming import encoding
from crowdstream.web.streaming.broadcast import Broadcast, Listener

MAX_LISTENERS = 64
REPORT_CHARACTERS = 200  # maximum length of a report, which contains only numbers
REPORTS_A_SECOND = 50  # on average; more are treated as abuse
BUSES = {"master": TAP_MASTER, "cue": TAP_CUE}
MAX_SAFE_INTEGER = float(1 << 53)  # a browser represents larger integers inexactly
POLICY, TRY_LATER = 1008, 1013  # WebSocket close codes


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    @property
    def desk(self) -> Desk: ...


class ListenEndpoint:
    """Serves all listeners, at most `most`; further ones are refused."""

    def __init__(self, desk: Desk, most: int = MAX_LISTENERS) -> None:
        self._desk = desk
        self._most = most
        self._buses = {name: Broadcast(desk, tap) for name, tap in BUSES.items()}

    @property
    def listeners(self) -> int:
        """Number of listeners."""
        return sum(len(bus) for bus in self._buses.values())

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one listener until it disconnects."""
        await websocket.accept()
        bus = websocket.query_params.get("bus", "master")
        wanted = websocket.query_params.get("format", "pcm16")
        refusal = self._refusal(bus, wanted)
        if refusal is not None:
            code, reason = refusal
            await websocket.send_json({"refused": reason})
            await websocket.close(code, reason)
            return
        known = encoding.available()
        given = wanted if wanted in known else known[0]
        listener = Listener(encoding.LADDERS[given])
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
            return POLICY, f"bus must be one of {', '.join(BUSES)}"
        if wanted not in encoding.LADDERS:
            return POLICY, f"format must be one of {', '.join(encoding.LADDERS)}"
        if self.listeners >= self._most:
            return TRY_LATER, f"the limit of {self._most} listeners is reached: try again later"
        return None

    async def _converse(self, websocket: WebSocket, listener: Listener) -> None:
        tasks = [
            asyncio.create_task(self._send(websocket, listener)),
            asyncio.create_task(self._receive(websocket, listener)),
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

    async def _receive(self, websocket: WebSocket, listener: Listener) -> None:
        reports = TokenBucket(REPORTS_A_SECOND, REPORTS_A_SECOND)
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            now = time.monotonic()
            allowed = reports.take(now=now)
            report = _numbers(message.get("text") or "")
            if report is None or not allowed:
                listener.closing = "invalid report" if report is None else "too many reports"
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
    # A JSON object of finite numbers; None for anything else.
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
    """The WebSocket route for an application that has a `desk`."""
    return [WebSocketRoute("/listen", ListenEndpoint(web.desk).serve)]
