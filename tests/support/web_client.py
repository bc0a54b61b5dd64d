"""Helpers for tests of the web process: a client without a network, a server without control."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from crowdstream.commands.registry import TABLE
from crowdstream.control.processes.web_process import as_json, command_as_json
from crowdstream.control.publish.state_view import StateView
from crowdstream.web.auth.listener_sockets import ConnectionSlots
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import Busy
from tests.support.offline_server import Rig

HOST = "127.0.0.1:8080"


def settings(**given: Any) -> SimpleNamespace:
    """Return the settings of the web process."""
    defaults = {
        "http_host": "127.0.0.1", "http_port": 8080, "http_token": None,
        "http_require_token": False, "http_allowed_hosts": (), "http_cert": None,
        "http_key": None, "osc_host": "127.0.0.1",
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **given})


@dataclass
class Answer:
    """The response to a request, or to the opening of a WebSocket."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    body: Any = None,
    client: str = "127.0.0.1",
    chunks: Iterable[bytes] | None = None,
    scheme: str = "http",
    waits: bool = False,
    **headers: str,
) -> Answer:
    """Make one request. `body`: sent as JSON unless it is bytes; `chunks`: sent without a length.

    `headers`: with `_` for `-`; empty ones are not sent. `waits`: the client stays connected until
    it has its response, which is required for files.
    """
    path, _, query = target.partition("?")
    sent = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    parts = list(chunks or ())
    if body is not None:
        parts = [body if isinstance(body, bytes) else json.dumps(body).encode()]
        sent.setdefault("content-type", "application/json")
        sent.setdefault("content-length", str(len(parts[0])))
    elif parts:
        sent["transfer-encoding"] = "chunked"
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "scheme": scheme, "root_path": "", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in sent.items() if v],
        "client": (client, 50000), "server": ("127.0.0.1", 8080), "asgi": {"version": "3.0"},
    }  # fmt: skip
    incoming: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]
    answer = Answer(0)

    async def receive() -> Message:
        if not incoming and waits:
            await asyncio.Event().wait()
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return answer


class FakeLink:
    """Control as the web process sees it, backed by an offline server."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.table = json.loads(json.dumps([command_as_json(one) for one in TABLE.commands]))
        self.about = {"version": "0.1.0", "osc_host": "127.0.0.1", "osc_port": 57120, "pids": {}}
        self.picture: dict[str, Any] = {}
        """Shown instead of control's own state view."""
        self.version = 0
        self.busy = False
        self.done: list[list[list[Any]]] = []

    async def do(self, address: str, *arguments: Any) -> list[list[Any]]:
        """Execute one command."""
        return await self.do_all([[address, *arguments]])

    async def do_all(self, batch: list[list[Any]], later: Any = None) -> list[list[Any]]:
        """Execute several commands together."""
        if self.busy:
            raise Busy("the server is not responding; try again in a moment")
        self.done.append(batch)
        answers: list[list[Any]] = []

        def reply(address: str, *arguments: Any) -> None:
            answers.append([address, *map(as_json, arguments)])

        self.rig.core.perform([(one[0], tuple(one[1:]), reply, None) for one in batch])
        return json.loads(json.dumps(answers))  # type: ignore[no-any-return]

    async def complete_picture(self) -> dict[str, Any]:
        """Return the whole state view."""
        self.version += 1
        if self.busy:
            raise Busy("the server is not responding; try again in a moment")
        return self.picture or json.loads(json.dumps(StateView(self.rig.core).values()))


class FakeWeb:
    """The objects shared by the parts of the web process."""

    def __init__(self, rig: Rig, **given: Any) -> None:
        self.desk = rig.desk
        self.settings = settings(**given)
        self.link = FakeLink(rig)
        self.gate = AccessMiddleware(
            self.settings, {"XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"}
        )
        self.places = ConnectionSlots()
        self.live = SimpleNamespace(pages=set())

    def app(self, routes: list[Any]) -> ASGIApp:
        """Return these routes behind the access middleware."""
        return self.gate.guard(Starlette(routes=routes))
