"""Open pages: send them state changes and run their commands. A slow page delays no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from crowdstream.desk.block import Desk
from crowdstream.system.text import read_json, to_json
from crowdstream.web.api.commands import with_aliases
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import Answer, Busy, ControlClient
from crowdstream.web.engine_view import EngineView

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

log = logging.getLogger(__name__)

RATE = 30.0  # Hz: how often pages receive the playheads
HEALTH_SECONDS = 1.0
MAX_WAITING = 400  # messages for a page that does not read; the oldest are dropped
MAX_MESSAGE = 16384  # bytes from a page
MAX_COMMANDS = 64  # in one message
TOO_MUCH = 1008  # WebSocket close code: policy violation
LEAVING_SECONDS = 5.0  # after the last page has closed, until updates from control are stopped


class PageSocket:
    """The outgoing messages of one open page."""

    def __init__(self) -> None:
        self._picture: dict[str, Any] = {}
        self._now = ""
        self._texts: deque[str] = deque(maxlen=MAX_WAITING)
        self._bell = asyncio.Event()
        self.panels: frozenset[str] = frozenset()
        """Panels shown besides the decks, such as "health"."""

    def show(self, changes: dict[str, Any]) -> None:
        """Queue changes of the picture; only the newest value of each key is sent."""
        self._picture.update(changes)
        self._bell.set()

    def send(self, text: str) -> None:
        """Queue a message; messages are sent in order."""
        self._texts.append(text)
        self._bell.set()

    def tick(self, now: str) -> None:
        """Queue the playheads; only the latest reading is sent."""
        self._now = now
        self._bell.set()

    async def next_messages(self) -> list[str]:
        """Wait for messages and return them in the order of sending."""
        await self._bell.wait()
        self._bell.clear()
        found = []
        while self._texts:  # the very first is hello
            found.append(self._texts.popleft())
        if self._picture:
            found.append(to_json({"picture": self._picture}))
            self._picture = {}
        if self._now:
            found.append(self._now)
            self._now = ""
        return found


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    desk: Desk
    gate: AccessMiddleware
    handlers: dict[str, Callable[[PageSocket, Any], None]]
    link: ControlClient
    readings: EngineView


class PageSockets:
    """All open pages."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self.pages: set[PageSocket] = set()
        self._opened = asyncio.Event()  # there may be pages
        self._shown: dict[str, Any] = {}
        self.opened: list[Callable[[], None]] = []
        """Called when the first page opens."""
        self.closed: list[Callable[[], None]] = []
        """Called `LEAVING_SECONDS` after the last page has closed."""

    # Messages to pages ---------------------------------------------------------------------

    def on_control_message(self, kind: str, value: Any) -> None:
        """Forward a message from control to the pages."""
        if kind == "picture":
            for page in self.pages:
                page.show(value)
        elif kind in ("event", "changed", "about") and self.pages:
            self.publish({kind: value})

    def show(self, key: str, value: Any) -> None:
        """Add an item of this process to the picture of all pages, present and future."""
        self._shown[key] = value
        for page in self.pages:
            page.show({key: value})

    def publish(self, message: dict[str, Any], seen: str = "") -> None:
        """Send a message to all pages, or only to those that show the panel `seen`."""
        pages = [page for page in self.pages if not seen or seen in page.panels]
        if pages:
            text = to_json(message)
            for page in pages:
                page.send(text)

    async def run(self) -> None:
        """Serve all pages while there are any, until cancelled."""
        while True:
            await self._opened.wait()
            await self._update_pages()
            self._opened.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_SECONDS):
                    await self._opened.wait()
                    continue
            self._web.link.watch(False)
            for notify in self.closed:
                notify()

    async def _update_pages(self) -> None:
        # Send the playheads, and every second the health readings, until the last page closes.
        loop = asyncio.get_running_loop()
        health_at = due = loop.time()
        while self.pages:
            text = to_json({"now": self._web.readings.now()})
            for page in self.pages:
                page.tick(text)
            if loop.time() >= health_at:
                health_at = loop.time() + HEALTH_SECONDS
                self.publish({"health": self._web.readings.health()}, "health")
            due = max(due + 1.0 / RATE, loop.time())
            await asyncio.sleep(due - loop.time())

    # One page --------------------------------------------------------------------------------

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it disconnects."""
        web = self._web
        await socket.accept()
        page = PageSocket()
        hello = {
            "write": web.gate.may_write(socket), "rate": web.desk.sample_rate,
            # With the aliases, which pages of earlier versions look up.
            "about": web.link.about, "table": with_aliases(web.link.table),
        }  # fmt: skip
        page.send(to_json({"hello": hello}))
        page.show({**web.link.picture, **self._shown})
        self.pages.add(page)
        self._opened.set()
        if len(self.pages) == 1:
            for notify in self.opened:
                notify()
        web.link.watch(True)
        sender = asyncio.create_task(self._send(socket, page))
        try:
            await self._receive(socket, page)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.pages.discard(page)
            sender.cancel()

    async def _send(self, socket: WebSocket, page: PageSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                for text in await page.next_messages():
                    await socket.send_text(text)

    async def _receive(self, socket: WebSocket, page: PageSocket) -> None:
        limit = self._web.gate.bucket()
        while True:
            received = await socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text")  # None for binary messages, which are not allowed
            if not text or len(text) > MAX_MESSAGE or not limit.take():
                await socket.close(TOO_MUCH)
                return
            try:
                message = read_json(text)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                await socket.close(TOO_MUCH)
                return
            await self._handle(socket, page, message)

    async def _handle(self, socket: WebSocket, page: PageSocket, message: dict[str, Any]) -> None:
        if "ping" in message:
            page.send(to_json({"pong": [message["ping"], self._web.readings.time()]}))
        if "see" in message and isinstance(message["see"], list):
            page.panels = frozenset(str(one) for one in message["see"][:16])
        if "do" in message:
            await self._do(socket, page, message["do"])
        for name, handler in self._web.handlers.items():
            if name in message:
                handler(page, message[name])

    async def _do(self, socket: WebSocket, page: PageSocket, do: Any) -> None:
        # `[id, address, arguments...]`, or `[id, [address, arguments...], ...]` for a batch.
        if not isinstance(do, list) or len(do) < 2 or not isinstance(do[0], int):
            return
        number, *rest = do
        batch = rest if all(isinstance(one, list) for one in rest) else [rest]
        address = str(batch[0][0]) if batch[0] else ""

        def send_reply(reply: Answer) -> None:
            page.send(to_json({"answer": [number, *reply]}))

        if len(batch) > MAX_COMMANDS or not all(_is_message(one) for one in batch):
            send_reply(["/fail", address, "this is not a valid command"])
        elif not self._web.gate.may_write(socket):
            send_reply(["/fail", address, "the token is required to change anything"])
        else:
            try:
                for reply in await self._web.link.do_all(batch, send_reply):
                    send_reply(reply)
            except Busy as error:
                send_reply(["/fail", address, str(error)])
        page.send(to_json({"end": number}))

    def routes(self) -> list[BaseRoute]:
        """The route of the pages' WebSocket."""
        return [WebSocketRoute("/live", self.serve)]


def _is_message(one: Any) -> bool:
    return (
        isinstance(one, list) and bool(one) and isinstance(one[0], str)
        and all(isinstance(value, bool | int | float | str) for value in one[1:])
    )  # fmt: skip
