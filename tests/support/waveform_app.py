"""A server of waveforms only: two decks whose state and playheads a test controls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from crowdstream.web.waveforms.serving import Waveforms, routes

HERE = Path(__file__).resolve().parent / "pages" / "waveform_page"
PAGE = Path(__file__).resolve().parents[2] / "crowdstream" / "web" / "static"
RATE = 44100
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
LATENCY = 0.05  # output latency in seconds that is sent to the pages


def empty_deck() -> dict[str, Any]:
    """Return a deck without a track."""
    return {"state": "empty", "number": 0, "stems": [], "length": 0.0, "loop": None, "cues": {}}


def track(number: int, paths: Sequence[Path], seconds: float, **more: Any) -> dict[str, Any]:
    """Return a deck with a track, as in the state view."""
    stems = [
        {"name": path.stem, "path": str(path), "gain": 1.0, "mute": 0, "solo": 0} for path in paths
    ]
    deck = {
        "state": "ready", "number": number, "stems": stems, "length": seconds, "cue": 0.0,
        "cues": {}, "loop": None, "grid": None, "quantize": 0.0,
    }  # fmt: skip
    return deck | more


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Do nothing: it runs in a thread, which receives no signals."""
        yield


class WaveformApp:
    """Serves on a free port in its own thread; leaving the `with` block ends it.

    `done`: commands from pages, as [address, arguments...].
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self.pages: set[Any] = set()
        self.loader = {"busy": 0}
        self.picture: dict[str, Any] = {"deck.A": empty_deck(), "deck.B": empty_deck()}
        self.done: list[list[Any]] = []
        self._heads: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * 4  # s, speed, since
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> WaveformApp:
        self._thread.start()
        assert self._started.wait(120)
        return self

    def __exit__(self, *_what: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set_result, None)
        self._thread.join()

    def show(self, **decks: dict[str, Any]) -> None:
        """Change the state view: `show(A=track(...))`."""
        changes = {f"deck.{letter}": deck for letter, deck in decks.items()}

        async def change() -> None:
            self.picture.update(changes)
            # Pages first, like the server: their requests may arrive before the data is known.
            self.publish({"picture": changes})
            self.waves.on_control_message("picture", changes)

        asyncio.run_coroutine_threadsafe(change(), self.loop).result(120)

    def move(self, deck: int, seconds: float, speed: float = 0.0) -> None:
        """Set a playhead and let it run from now on."""
        self._heads[deck] = seconds, speed, time.monotonic()

    def position(self, deck: int, at: float) -> float:
        """Return the rendered position of a playhead at a monotonic time, in seconds."""
        seconds, speed, since = self._heads[deck]
        return seconds + speed * (at - since)

    def publish(self, message: dict[str, Any]) -> None:
        """Send a message to all pages."""
        text = json.dumps(message)
        for page in list(self.pages):
            asyncio.get_running_loop().create_task(self._send(page, text))

    async def _send(self, page: Any, text: str) -> None:
        try:
            await page.send_text(text)
        except (WebSocketDisconnect, RuntimeError):
            self.pages.discard(page)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self.loop.create_future()
        web: Any = SimpleNamespace(
            link=SimpleNamespace(picture=self.picture, about={"media_roots": []}),
            live=SimpleNamespace(pages=self.pages), publish=self.publish,
            desk=SimpleNamespace(loader=self.loader), settings=SimpleNamespace(media_root=()),
        )  # fmt: skip
        environ = dict(os.environ, XDG_CACHE_HOME=str(self._cache))
        self.waves = Waveforms(web, environ)
        app = Starlette(
            routes=[
                Route("/", self._index), WebSocketRoute("/live", self._live), *routes(self.waves),
                Mount("/page", StaticFiles(directory=PAGE)),
                Mount("/demo", StaticFiles(directory=HERE)),
            ]
        )  # fmt: skip
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        config = uvicorn.Config(
            _strict(app), log_config=None, lifespan="off", ws="websockets-sansio", http="h11",
            loop="asyncio", timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        telling = asyncio.create_task(self._tell())
        self._started.set()
        await self._end
        telling.cancel()
        await self.waves.close()
        server.should_exit = True
        await serving
        listening.close()

    async def _tell(self) -> None:
        while True:
            now = time.monotonic()
            decks = [
                [self.position(deck, now) * RATE, head[1], int(head[1] != 0)]
                for deck, head in enumerate(self._heads)
            ]
            said = {"t": now, "frame": 0, "at": now, "latency": LATENCY, "decks": decks}
            self.publish({"now": said})
            await asyncio.sleep(1 / 30)

    async def _index(self, _request: Request) -> FileResponse:
        return FileResponse(HERE / "index.html")

    async def _live(self, page: WebSocket) -> None:
        await page.accept()
        await page.send_text(json.dumps({"picture": self.picture}))
        self.pages.add(page)
        self.waves.on_control_message("picture", self.picture)
        try:
            while True:
                _id, address, *arguments = json.loads(await page.receive_text())["do"]
                self.done.append([address, *arguments])
        except WebSocketDisconnect:
            self.pages.discard(page)


def _strict(app: ASGIApp) -> ASGIApp:
    """Wrap the application with the content security policy of the server's own pages."""

    async def strict(scope: Scope, receive: Receive, send: Send) -> None:
        async def put(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await app(scope, receive, put)

    return strict
