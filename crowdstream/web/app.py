"""The web application: assemble the routes and the state that they share."""

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
from crowdstream.web.api.oscquery import OscQuery, wants_address_space
from crowdstream.web.api.zeroconf_announcer import keep_announced
from crowdstream.web.auth.listener_sockets import ConnectionSlots
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import ControlClient
from crowdstream.web.engine_view import EngineView
from crowdstream.web.page_socket import PageSocket, PageSockets
from crowdstream.web.resource import read_only, resource
from crowdstream.web.waveforms import serving
from crowdstream.web.waveforms.serving import Waveforms

PAGE = Path(__file__).resolve().parent / "static"
mimetypes.add_type("text/javascript", ".js")  # regardless of the system's MIME table


class PageFiles(StaticFiles):
    """The files of the page, for which browsers look for a newer version each time.

    Without this header they decide themselves for how long they use a file: for days after an
    upgrade, modules of two versions would be mixed.
    """

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file, or 304."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


class Web:
    """State shared by the parts of the web process. For one event loop.

    `handlers`: further messages that pages may send besides those of `PageSockets`, as
    `{name: handler(page, value)}`.
    """

    def __init__(self, desk: Desk, settings: SimpleNamespace) -> None:
        self.desk = desk
        self.settings = settings
        self.handlers: dict[str, Callable[[PageSocket, Any], None]] = {}
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        """Awaited when this process ends."""
        self.live = PageSockets(self)
        self.link = ControlClient(self._on_control_message)
        self.readings = EngineView(desk, lambda: self.link.picture, lambda: self.link.about)
        self.gate = AccessMiddleware(settings)
        self.places = ConnectionSlots()
        self.gate.on_authenticated = self.places.mark_authenticated
        self.waves = Waveforms(self)
        self.live.opened.append(self.waves.on_first_page)
        self.live.closed.append(self.waves.on_last_page_gone)
        self._oscquery = OscQuery(self)

    def _on_control_message(self, kind: str, value: Any) -> None:
        self.live.on_control_message(kind, value)
        self.waves.on_control_message(kind, value)

    @property
    def publish(self) -> Callable[..., None]:
        """`publish(message)` sends a message to all pages; see `PageSockets.publish`."""
        return self.live.publish

    def app(self) -> ASGIApp:
        """The ASGI application, wrapped by the access middleware."""
        routes = [
            resource("/", get=self._index),
            # gzip reduces the page to a third of its bytes.
            Mount("/page", read_only(GZipMiddleware(PageFiles(directory=PAGE)))),
            *documentation.routes(),
            *self.live.routes(),
            *metrics.routes(self),
            *healthz.routes(self),
            *command_api.routes(self),
            *streaming.routes(self),
            *library_api.routes(self),
            *serving.routes(self.waves),
            # OSCQuery serves every remaining path.
            resource("/{path:path}", get=self._oscquery.answer, missing=self._oscquery.missing),
        ]
        app: ASGIApp = self.gate.guard(Starlette(routes=routes))
        return app

    async def run(self) -> None:
        """Run the background tasks until cancelled."""
        announced = keep_announced(self.settings, self.gate.port, crowdstream.__version__)
        await asyncio.gather(self.live.run(), announced, self.link.send_heartbeats())

    async def close(self) -> None:
        """Stop everything that this process has started."""
        await self.waves.close()
        for end in self.at_end:
            await end()

    async def _index(self, request: Request) -> Response:
        # Browsers get the page; OSCQuery clients get the root of the OSC address tree.
        if wants_address_space(request):
            return await self._oscquery.answer(request)
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})
