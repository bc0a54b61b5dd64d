"""TCP connections that are slow, or too many: over real sockets, to a server in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from crowdstream.web.access import connections
from crowdstream.web.access.connections import Connection
from crowdstream.web.access.limits import Count

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 60.0  # seconds; far more than anything here takes
HEAD_SECONDS = 0.5  # long enough for a request to be sent on a busy machine


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def serve(
    scene: Callable[[int], Awaitable[None]], most: int = 100, each: int = 100,
    idle_seconds: int = 60,
) -> None:  # fmt: skip
    """Run a scene against a server on a port of its own.

    `idle_seconds`: until it closes a connection that is silent after an answer.
    """

    async def run() -> None:
        Connection.count = Count(most, each)
        app = Starlette(routes=[Route("/", hello)])
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=idle_seconds,
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([listening]))
        try:
            await asyncio.wait_for(scene(listening.getsockname()[1]), PATIENCE)
        finally:
            server.should_exit = True
            await running
            listening.close()

    asyncio.run(run())
    assert Connection.count.total == 0


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("begun", [b"", b"GET / HT", REQUEST + b"GET /"])
def test_who_does_not_say_what_they_want_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        writer.write(begun)
        got = await end_of(reader)
        assert got.count(b"hello") == begun.count(REQUEST)
        writer.close()

    serve(scene, idle_seconds=1)


def test_one_byte_at_a_time_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        closed = asyncio.create_task(end_of(reader))
        while not closed.done():
            writer.write(b"x")
            await asyncio.sleep(0.01)
        assert closed.result() == b""
        writer.close()

    serve(scene)


def test_who_says_it_is_answered_as_often_as_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        for _ in range(3):
            writer.write(REQUEST)
            await reader.readuntil(b"hello")
            # Idle between two requests is another matter. A timer of the server would go off:
            # it is on this loop, and due before this one.
            await asyncio.sleep(1.2 * HEAD_SECONDS)
        writer.close()

    serve(scene)


def test_a_second_request_that_does_not_come_to_an_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        refused = Connection.refused
        writer.write(b"GET / HT")
        assert await end_of(reader) == b""
        assert Connection.refused == refused + 1
        writer.close()

    serve(scene)


def test_too_many_connections_are_closed() -> None:
    async def scene(port: int) -> None:
        kept = [await opened(port) for _ in range(3)]
        for reader, writer in kept:
            writer.write(REQUEST)
            await reader.readuntil(b"hello")
        refused = Connection.refused
        reader, late = await opened(port)
        late.write(REQUEST)
        assert await end_of(reader) == b""
        assert Connection.refused == refused + 1
        kept[0][1].close()
        while Connection.count.total == 3:
            await asyncio.sleep(0.01)
        reader, again = await opened(port)
        again.write(REQUEST)
        await reader.readuntil(b"hello")
        for writer in (late, again, *(writer for _, writer in kept)):
            writer.close()

    serve(scene, most=3)


def test_a_connection_is_counted_under_its_address() -> None:
    async def scene(port: int) -> None:
        kept = [await opened(port) for _ in range(3)]
        for reader, writer in kept:
            writer.write(REQUEST)
            await reader.readuntil(b"hello")
        assert Connection.count._each == {"127.0.0.1": 3}, "this machine has more than its share"
        for _reader, writer in kept:
            writer.close()

    serve(scene, each=1)


def test_an_address_has_its_share() -> None:
    count = Count(10, 2)
    assert [count.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert count.enter("10.0.0.2")
    assert all(count.enter("127.0.0.1") for _ in range(7)), "this machine has all that is left"
    assert not count.enter("10.0.0.3")
    count.leave("10.0.0.1")
    assert count.enter("10.0.0.1")


def test_a_new_server_has_refused_nobody_and_logs_no_malformed_request() -> None:
    spec = importlib.util.find_spec(connections.__name__)
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.Connection.refused == 0 and fresh.Connection.count.total == 0
    log = logging.getLogger("uvicorn.error")
    assert log.isEnabledFor(logging.ERROR) and not log.isEnabledFor(logging.WARNING)


def test_a_websocket_is_no_longer_counted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    Connection.count = Count(2, 2)
    connection = Connection.__new__(Connection)
    connection._head_timer, connection._address = None, "10.0.0.1"
    connection._entered = Connection.count.enter("10.0.0.1")
    upgraded: list[str] = []
    monkeypatch.setattr(
        H11Protocol, "handle_websocket_upgrade", lambda _connection, event: upgraded.append(event)
    )
    connection.handle_websocket_upgrade("event")
    assert upgraded == ["event"] and Connection.count.total == 0
