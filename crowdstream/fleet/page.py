"""The fleet on a page: a small HTTP server with the access control of the server's own page."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from crowdstream.fleet.commands import (
    LEAD_SECONDS,
    MAX_ERROR_MS,
    Outcome,
    send_now,
    send_together,
)
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import FleetError
from crowdstream.fleet.watched import plain
from crowdstream.system.text import read_json, to_json
from crowdstream.web.auth.middleware import AccessMiddleware

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("fleet.html", "text/html"),
    "/fleet.js": ("fleet.js", "text/javascript"),
    "/fleet.css": ("fleet.css", "text/css"),
}
MAX_ARGUMENTS = 64
MAX_ADDRESS = 255
KEEP_ALIVE_SECONDS = 30
MAX_CONNECTIONS = 64
CLOSE_SECONDS = 1


def fleet_app(fleet: Fleet, host: str) -> tuple[AccessMiddleware, ASGIApp]:
    """Return the access control and the application. `host`: the address that it listens on.

    As on a server's page, changes from other machines need the user's token.
    """
    gate = AccessMiddleware(SimpleNamespace(
        http_host=host, http_token=None, http_require_token=False, http_allowed_hosts=(),
        http_cert=None,
    ))  # fmt: skip

    texts = {path: (STATIC / name).read_bytes() for path, (name, _kind) in FILES.items()}

    async def file(request: Request) -> Response:
        path = request.url.path
        return Response(texts[path], headers={"cache-control": "no-cache"},
                        media_type=FILES[path][1])  # fmt: skip

    async def state(request: Request) -> Response:
        return _json({
            "write": gate.may_write(request),
            "servers": [one.describe() for one in fleet.servers],
            "log": [entry._asdict() for entry in list(fleet.log)[-50:]],
            "faults": dict(fleet.faults),
        })  # fmt: skip

    async def command(request: Request) -> Response:
        try:
            outcomes = await _command(fleet, await request.body())
        except (FleetError, ValueError) as error:
            return _json({"error": plain(error)}, 422)
        ok = all(one.ok for one in outcomes)
        return _json([{"server": one.server, "ok": one.ok, "text": one.text} for one in outcomes],
                     200 if ok else 207)  # fmt: skip

    routes = [Route(path, file) for path in FILES]
    app = Starlette(routes=[
        *routes, Route("/api/fleet", state), Route("/api/command", command, methods=["POST"])
    ])  # fmt: skip
    return gate, gate.guard(app)


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, {"cache-control": "no-store"}, "application/json")


async def _command(fleet: Fleet, body: bytes) -> list[Outcome]:
    given = read_json(body)
    if not isinstance(given, dict) or given.keys() - {"targets", "address", "args", "in"}:
        raise ValueError("the body is an object with targets, address, args and in")
    targets, address = given.get("targets", []), given.get("address")
    arguments, lead = given.get("args", []), given.get("in")
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise ValueError("targets is a list of names of servers and groups")
    if not isinstance(address, str) or not address.startswith("/") or len(address) > MAX_ADDRESS:
        raise ValueError("address is an OSC address")
    if not isinstance(arguments, list) or len(arguments) > MAX_ARGUMENTS or not all(
        isinstance(one, str | int | float) for one in arguments
    ):
        raise ValueError(f"args is a list of up to {MAX_ARGUMENTS} numbers and strings")
    if lead is not None and (isinstance(lead, bool) or not isinstance(lead, int | float)):
        raise ValueError(f"in is a number of seconds, such as {LEAD_SECONDS:g}")
    servers = fleet.select(targets)
    if not servers:
        raise ValueError("there is no server")
    if lead is None:
        return await send_now(servers, address, arguments)
    return await send_together(servers, address, arguments, float(lead), MAX_ERROR_MS)


class Server(uvicorn.Server):
    """Ends on a signal without raising it again, so that the program ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while it serves."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            self.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def serve(fleet: Fleet, host: str, port: int) -> int:
    """Serve until a signal ends the program; return its exit status. Raises `FleetError`."""
    gate, app = fleet_app(fleet, host)
    config = uvicorn.Config(
        app, host=host, port=port, http="h11", ws="none", loop="asyncio", lifespan="off",
        log_config=None, access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS, h11_max_incomplete_event_size=16384,
    )  # fmt: skip
    try:
        listening = config.bind_socket()
    except SystemExit:  # uvicorn has no exception for this
        raise FleetError(f"{host}:{port} cannot be listened on; choose another --http") from None
    with listening:
        listening.listen(MAX_CONNECTIONS)  # the address is printed next
        invitation = gate.open(int(listening.getsockname()[1]))
        print(invitation or f"page on {gate.url}", flush=True)
        await Server(config).serve(sockets=[listening])
    return 0


