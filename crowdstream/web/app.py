"""The web application: what is served where, put together from its parts."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import crowdstream
from crowdstream.desk.block import Desk
from crowdstream.web import documentation, library_api, streaming
from crowdstream.web.api import command_api, healthz, metrics
from crowdstream.web.api.oscquery import OscQuery, asked
from crowdstream.web.api.zeroconf_announcer import announce
from crowdstream.web.auth.listener_sockets import ConnectionSlots
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import ControlClient
from crowdstream.web.engine_view import EngineView
from crowdstream.web.page_socket import PageSocket, PageSockets
from crowdstream.web.resource import read_only, resource
from crowdstream.web.waveforms import serving
from crowdstream.web.waveforms.serving import Waveforms

PAGE = Path(__file__).resolve().parent / "static"
mimetypes.add_type("text/javascript", ".js")  # whatever the system's table says


class Web:
    """All that the parts of the web process share. For one event loop.

    `handlers`: what pages may say beside what `Live` handles, by name: `handler(page, value)`.
    """

    def __init__(self, desk: Desk, settings: SimpleNamespace) -> None:
        self.desk = desk
        self.settings = settings
        self.handlers: dict[str, Callable[[PageSocket, Any], None]] = {}
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        """Called when this process ends."""
        self.live = PageSockets(self)
        self.link = ControlClient(self._heard)
        self.readings = EngineView(desk, lambda: self.link.picture, lambda: self.link.about)
        self.gate = AccessMiddleware(settings)
        self.places = ConnectionSlots()
        self.gate.known = self.places.know
        self.waves = Waveforms(self)
        self.live.opened.append(self.waves.came)
        self.live.closed.append(self.waves.left)
        self._oscquery = OscQuery(self)

    def _heard(self, kind: str, what: Any) -> None:
        self.live.heard(kind, what)
        self.waves.heard(kind, what)

    @property
    def publish(self) -> Callable[..., None]:
        """`publish(message)` tells all pages; see `Live.publish`."""
        return self.live.publish

    def app(self) -> ASGIApp:
        """The application, behind its gate."""
        routes = [
            resource("/", get=self._index),
            # Packed, the page has a third of the bytes.
            Mount("/page", read_only(GZipMiddleware(StaticFiles(directory=PAGE)))),
            *documentation.routes(),
            *self.live.routes(),
            *metrics.routes(self),
            *healthz.routes(self),
            *command_api.routes(self),
            *streaming.routes(self),
            *library_api.routes(self),
            *serving.routes(self.waves),
            # Whatever is left.
            resource("/{path:path}", get=self._oscquery.answer, missing=self._oscquery.missing),
        ]
        app: ASGIApp = self.gate.guard(Starlette(routes=routes))
        return app

    async def run(self) -> None:
        """What goes on all the time, until cancelled."""
        await asyncio.gather(self.live.run(), self._announced())

    async def close(self) -> None:
        """End what this process has started."""
        await self.waves.close()
        for end in self.at_end:
            await end()

    async def _announced(self) -> None:
        # Found in the network, where others can reach it.
        made = await announce(self.settings, self.gate.port, crowdstream.__version__)
        if made:
            try:
                await asyncio.Event().wait()
            finally:
                await made.close()

    async def _index(self, request: Request) -> Response:
        # The page; for programs that do not ask for one, the root of the OSC addresses.
        if asked(request):
            return await self._oscquery.answer(request)
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})
