"""Open pages: each is told what changes, and may have things done. A slow one holds up nobody."""

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
from crowdstream.system.json_text import encoded, read_json
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import Answer, Busy, ControlClient
from crowdstream.web.engine_view import EngineView

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

log = logging.getLogger(__name__)

RATE = 30.0  # Hz: how often pages hear where the playheads are
HEALTH_SECONDS = 1.0
MAX_WAITING = 400  # messages for a page that does not read; it misses the older ones then
MAX_MESSAGE = 16384  # bytes from a page
MAX_COMMANDS = 64  # in one message
TOO_MUCH = 1008  # WebSocket: policy violated
LEAVING_SECONDS = 5.0  # after the last page has gone, until nobody is watching


class PageSocket:
    """One open page: what it has still to be told."""

    def __init__(self) -> None:
        self._picture: dict[str, Any] = {}
        self._now = ""
        self._texts: deque[str] = deque(maxlen=MAX_WAITING)
        self._bell = asyncio.Event()
        self.sees: frozenset[str] = frozenset()
        """What it shows beside the decks, such as "health"."""

    def show(self, changes: dict[str, Any]) -> None:
        """Parts of the picture; of each it is sent the newest only."""
        self._picture.update(changes)
        self._bell.set()

    def say(self, text: str) -> None:
        """A message that is sent in its turn."""
        self._texts.append(text)
        self._bell.set()

    def tick(self, now: str) -> None:
        """Where the playheads are: only the latest is worth sending."""
        self._now = now
        self._bell.set()

    async def take(self) -> list[str]:
        """Wait for messages; in the order in which they are to be sent."""
        await self._bell.wait()
        self._bell.clear()
        found = []
        while self._texts:  # the first of all is hello
            found.append(self._texts.popleft())
        if self._picture:
            found.append(encoded({"picture": self._picture}))
            self._picture = {}
        if self._now:
            found.append(self._now)
            self._now = ""
        return found


class Web(Protocol):
    """What it needs of the web process (see `app.Web`)."""

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
        self._empty_since: float | None = 0.0
        self._shown: dict[str, Any] = {}
        self.opened: list[Callable[[], None]] = []
        """Called when a page comes and there was none."""
        self.closed: list[Callable[[], None]] = []
        """Called when the last page has been gone for a while."""

    # What pages are told -------------------------------------------------------------------

    def heard(self, kind: str, what: Any) -> None:
        """Control has said something."""
        if kind == "picture":
            for page in self.pages:
                page.show(what)
        elif kind in ("event", "changed", "about") and self.pages:
            self.publish({kind: what})

    def show(self, key: str, value: Any) -> None:
        """Show pages a part of the picture that this process knows by itself, now and later."""
        self._shown[key] = value
        for page in self.pages:
            page.show({key: value})

    def publish(self, message: dict[str, Any], seen: str = "") -> None:
        """Tell all pages; with `seen`, those that show that."""
        pages = [page for page in self.pages if not seen or seen in page.sees]
        if pages:
            text = encoded(message)
            for page in pages:
                page.say(text)

    async def run(self) -> None:
        """Tell pages where the playheads are, until cancelled."""
        loop = asyncio.get_running_loop()
        health_at = due = loop.time()
        while True:
            due = max(due + 1.0 / RATE, loop.time())
            await asyncio.sleep(due - loop.time())
            if not self.pages:
                self._leave(loop.time())
                continue
            self._empty_since = None
            text = encoded({"now": self._web.readings.now()})
            for page in self.pages:
                page.tick(text)
            if loop.time() >= health_at:
                health_at = loop.time() + HEALTH_SECONDS
                self.publish({"health": self._web.readings.health()}, "health")

    def _leave(self, now: float) -> None:
        if self._empty_since is None:
            self._empty_since = now
        elif self._empty_since and now > self._empty_since + LEAVING_SECONDS:
            self._empty_since = 0.0
            self._web.link.watch(False)
            for tell in self.closed:
                tell()

    # One page --------------------------------------------------------------------------------

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it goes."""
        web = self._web
        await socket.accept()
        page = PageSocket()
        hello = {
            "write": web.gate.may_write(socket), "rate": web.desk.sample_rate,
            "about": web.link.about, "table": web.link.table,
        }  # fmt: skip
        page.say(encoded({"hello": hello}))
        page.show({**web.link.picture, **self._shown})
        self.pages.add(page)
        if len(self.pages) == 1:
            for tell in self.opened:
                tell()
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
                for text in await page.take():
                    await socket.send_text(text)

    async def _receive(self, socket: WebSocket, page: PageSocket) -> None:
        limit = self._web.gate.bucket()
        while True:
            received = await socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text")  # there are no binary messages
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
            page.say(encoded({"pong": [message["ping"], self._web.readings.time()]}))
        if "see" in message and isinstance(message["see"], list):
            page.sees = frozenset(str(one) for one in message["see"][:16])
        if "do" in message:
            await self._do(socket, page, message["do"])
        for name, handler in self._web.handlers.items():
            if name in message:
                handler(page, message[name])

    async def _do(self, socket: WebSocket, page: PageSocket, do: Any) -> None:
        # `[id, address, arguments...]`, or `[id, [address, arguments...], ...]` for several.
        if not isinstance(do, list) or len(do) < 2 or not isinstance(do[0], int):
            return
        number, *rest = do
        batch = rest if all(isinstance(one, list) for one in rest) else [rest]
        address = str(batch[0][0]) if batch[0] else ""

        def answer(said: Answer) -> None:
            page.say(encoded({"answer": [number, *said]}))

        if len(batch) > MAX_COMMANDS or not all(_is_message(one) for one in batch):
            answer(["/fail", address, "this is no command"])
        elif not self._web.gate.may_write(socket):
            answer(["/fail", address, "changing anything needs the token"])
        else:
            try:
                for said in await self._web.link.do_all(batch, answer):
                    answer(said)
            except Busy as error:
                answer(["/fail", address, str(error)])
        page.say(encoded({"end": number}))

    def routes(self) -> list[BaseRoute]:
        """Where pages are served."""
        return [WebSocketRoute("/live", self.serve)]


def _is_message(one: Any) -> bool:
    return (
        isinstance(one, list) and bool(one) and isinstance(one[0], str)
        and all(isinstance(value, bool | int | float | str) for value in one[1:])
    )  # fmt: skip
