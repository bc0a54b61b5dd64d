"""Slow, silent and too many TCP connections, over real sockets in this process."""

from __future__ import annotations

import asyncio
import base64
import gc
import importlib.util
import logging
import os
import socket
import ssl
import struct
import weakref
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from crowdstream.web.auth import connections, listener_sockets
from crowdstream.web.auth.connections import Connection, Outgoing, SocketConnection, aborted
from crowdstream.web.auth.limits import MAX_UNSENT_SOCKET_BYTES
from crowdstream.web.auth.listener_sockets import ConnectionSlots, Server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
# Seconds; far more than any step takes. Mutation tests use less (contrib/mutation.py).
PATIENCE = float(os.environ.get("CROWDSTREAM_TEST_PATIENCE", "60"))
HEAD_SECONDS = 0.5  # long enough for a request to be sent on a busy machine
UPGRADE = (
    b"GET /talk HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)  # fmt: skip
TEXT, PING, CONTINUATION = 1, 9, 0


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def long(_request: Request) -> Response:
    return Response(bytes(1 << 20))


async def talk(websocket: WebSocket) -> None:
    """Echoes messages."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return


def frame(kind: int, data: bytes = b"", last: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
    return bytes([kind | (0x80 if last else 0), size[0] | 0x80]) + size[1:] + bytes(4) + data


def serve(
    scene: Callable[[int], Awaitable[None]], most: int = 100, each: int = 100,
    idle_seconds: int = 60,
    places: ConnectionSlots | None = None,
    routes: Sequence[Route] = (),
    **more: Any,
) -> ConnectionSlots:  # fmt: skip
    """Run a scene against a server on a free port; afterwards all slots must be free.

    `idle_seconds`: until it closes a connection that is silent after an answer.
    """
    places = places or ConnectionSlots(most, each, 0)

    async def run() -> None:
        every = [Route("/", hello), Route("/long", long), WebSocketRoute("/talk", talk), *routes]
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            Starlette(routes=every), http=Connection, ws=SocketConnection, lifespan="off",
            log_config=None, access_log=False, timeout_keep_alive=idle_seconds,
            ws_max_size=16384, **more,
        )
        config.load()
        server = Server(config, places)
        running = asyncio.create_task(server._serve([listening]))
        try:
            await asyncio.wait_for(scene(listening.getsockname()[1]), PATIENCE)
        finally:
            server.leave()
            await running
            listening.close()

    asyncio.run(run())
    assert places.total == 0
    return places


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def is_refused(port: int) -> bool:
    """Whether a new connection is closed without a response."""
    try:
        reader, writer = await opened(port)
        writer.write(REQUEST)
        got = await end_of(reader)
        writer.close()
    except ConnectionResetError:
        return True
    return got == b""


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Everything received until the connection is closed."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("begun", [b"", b"GET / HT", REQUEST + b"GET /"])
def test_a_silent_connection_times_out(
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


def test_sending_one_byte_at_a_time_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_complete_requests_do_not_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        for _ in range(3):
            writer.write(REQUEST)
            await reader.readuntil(b"hello")
            # Idle time between two requests has a longer limit. A timer of the server would fire
            # during this sleep: it is on the same loop, and due earlier.
            await asyncio.sleep(1.2 * HEAD_SECONDS)
        writer.close()

    serve(scene)


def test_an_incomplete_second_request_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        slow = aborted["slow"]
        writer.write(b"GET / HT")
        assert await end_of(reader) == b""
        assert aborted["slow"] == slow + 1
        writer.close()

    serve(scene)


async def answered(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has received a response."""
    reader, writer = await opened(port)
    writer.write(REQUEST)
    await reader.readuntil(b"hello")
    return reader, writer


def test_connections_above_the_limit_are_closed() -> None:
    places = ConnectionSlots(3, 100, 0)

    async def scene(port: int) -> None:
        kept = [await answered(port) for _ in range(3)]
        assert await is_refused(port)
        assert places.refused == 1
        kept[0][1].close()
        while places.total == 3:
            await asyncio.sleep(0.01)
        _, again = await answered(port)
        for writer in (again, *(writer for _, writer in kept)):
            writer.close()

    serve(scene, places=places)


def test_a_connection_is_counted_under_its_address() -> None:
    places = ConnectionSlots(100, 1, 0)

    async def scene(port: int) -> None:
        kept = [await answered(port) for _ in range(3)]
        assert places.of("127.0.0.1") == 3, "this machine has more than its share"
        for _reader, writer in kept:
            writer.close()

    serve(scene, places=places)


def test_silent_tls_handshakes_are_counted_and_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_sockets, "HANDSHAKE_SECONDS", HEAD_SECONDS)
    here = Path(__file__).parent
    places = ConnectionSlots(3, 100, 0)

    async def scene(port: int) -> None:
        silent = [await opened(port) for _ in range(3)]
        while places.total < 3:
            await asyncio.sleep(0.01)
        assert await is_refused(port), "there is no place"
        assert places.refused == 1
        for reader, _ in silent:
            assert await end_of(reader) == b""
        while places.total:
            await asyncio.sleep(0.01)
        # A busy machine may need longer for those that are not silent.
        monkeypatch.setattr(listener_sockets, "HANDSHAKE_SECONDS", PATIENCE)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
        writer.write(REQUEST)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        reader, other = await opened(port)
        other.write(REQUEST)  # not TLS
        assert b"hello" not in await end_of(reader)
        for one in (writer, other, *(one for _, one in silent)):
            one.close()

    certificate, key = here / "test-certificate.pem", here / "test-key.pem"
    serve(scene, places=places, ssl_certfile=str(certificate), ssl_keyfile=str(key))


def trusting() -> ssl.SSLContext:
    """A client's context that accepts any certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_accepting_is_retried_after_running_out_of_descriptors(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_sockets, "OUT_OF_DESCRIPTORS_SECONDS", 0.01)

    async def scene(port: int) -> None:
        tries = []

        def accept(made: socket.socket) -> tuple[socket.socket, Any]:
            tries.append(made)
            if len(tries) < 3:
                raise OSError(24, "Too many open files")
            return accept_one(made)

        accept_one = socket.socket.accept
        monkeypatch.setattr(socket.socket, "accept", accept)
        _, writer = await answered(port)
        assert len(tries) >= 3
        writer.close()

    serve(scene)


def test_a_new_server_has_zero_refusals_and_logs_no_malformed_request() -> None:
    spec = importlib.util.find_spec(connections.__name__)
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.aborted.total() == 0 and ConnectionSlots().total == 0
    log = logging.getLogger("uvicorn.error")
    assert log.isEnabledFor(logging.ERROR) and not log.isEnabledFor(logging.WARNING)


# WebSockets --------------------------------------------------------------------------------------


async def upgraded(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket."""
    reader, writer = await opened(port)
    writer.write(UPGRADE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


def test_a_websocket_keeps_its_slot_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)
    places = ConnectionSlots(2, 100, 0)

    async def scene(port: int) -> None:
        reader, writer = await upgraded(port)
        writer.write(frame(TEXT, b"hello"))
        assert await reader.readexactly(7) == b"\x81\x05hello"
        assert places.total == 1
        await asyncio.sleep(1.2 * HEAD_SECONDS)  # a WebSocket has no request timeout
        writer.write(frame(TEXT, b"hello"))
        assert await reader.readexactly(7) == b"\x81\x05hello"
        writer.close()
        while places.total:
            await asyncio.sleep(0.01)

    serve(scene, places=places)


@pytest.mark.parametrize("kind", [PING, 0xA, CONTINUATION])
def test_a_flood_of_control_frames_closes_the_websocket(kind: int) -> None:
    async def scene(port: int) -> None:
        frames = aborted["frames"]
        reader, writer = await upgraded(port)
        if kind == CONTINUATION:
            writer.write(frame(TEXT, b"a", last=False))
        writer.write(frame(kind, b"" if kind == CONTINUATION else b"x" * 125, kind != 0) * 1000)
        await end_of(reader)
        assert aborted["frames"] == frames + 1
        writer.close()

    serve(scene)


def test_pings_beyond_the_limit_are_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FRAMES_A_SECOND", 1e-6)
    monkeypatch.setattr(connections, "FRAMES_AT_ONCE", 5.0)
    pings: list[None] = []
    monkeypatch.setattr(WebSocketsSansIOProtocol, "handle_ping", lambda _self: pings.append(None))

    async def scene(port: int) -> None:
        reader, writer = await upgraded(port)
        writer.write(frame(PING, b"x") * 50)
        await end_of(reader)
        writer.close()

    serve(scene)
    assert len(pings) == 5


def test_a_few_pings_are_answered() -> None:
    async def scene(port: int) -> None:
        reader, writer = await upgraded(port)
        for number in range(20):
            writer.write(frame(PING, b"%d" % number))
            size = 1 if number < 10 else 2
            assert await reader.readexactly(2 + size) == bytes([0x8A, size]) + b"%d" % number
        writer.close()

    serve(scene)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1007, frame(TEXT, b"\xff\xfe")), (1002, frame(CONTINUATION, b"x")), (1002, frame(3)),
        (1002, frame(8, b"\0")), (1002, bytes([0xF1, 0x80]) + bytes(4)),
        (1002, bytes([0x81, 2]) + b"ab"), (1002, frame(PING, b"x", last=False)),
        (1009, bytes([0x81, 0xFF]) + struct.pack("!Q", 1 << 40) + bytes(4)),
        (1009, frame(TEXT, b"x" * 20000)),
        (1007, frame(TEXT, b"\xc3", last=False) + frame(CONTINUATION, b"\x28")),
    ],
)  # fmt: skip
def test_a_malformed_frame_closes_its_websocket_without_logging(
    code: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(port: int) -> None:
        malformed = aborted["malformed"]
        reader, writer = await upgraded(port)
        writer.write(data)
        told = await end_of(reader)
        assert told[:1] == b"\x88" and struct.unpack("!H", told[2:4]) == (code,)
        assert aborted["malformed"] == malformed + 1
        writer.close()
        other, writer = await upgraded(port)
        writer.write(frame(TEXT, b"still here"))
        assert (await other.readexactly(12)).endswith(b"still here")
        writer.close()

    serve(scene)
    assert not caplog.records


def socket_protocol() -> SocketConnection:
    """A WebSocket without a transport yet; needs a running loop."""
    config = uvicorn.Config(Starlette(), log_config=None)
    config.load()
    return SocketConnection(config, server_state=ServerState(), app_state={})


def test_input_after_a_malformed_frame_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def data_received(self: Any, data: bytes) -> None:
        seen.append(data)
        self.handle_parser_exception()

    base = WebSocketsSansIOProtocol
    monkeypatch.setattr(base, "data_received", data_received)
    monkeypatch.setattr(base, "handle_parser_exception", lambda _self: None)

    async def scene() -> None:
        protocol = socket_protocol()
        protocol.data_received(b"one")
        protocol.data_received(b"two")

    asyncio.run(scene())
    assert seen == [b"one"]


def test_pongs_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bytes] = []
    monkeypatch.setattr(
        WebSocketsSansIOProtocol, "handle_pong", lambda _self, event: answers.append(event.data)
    )

    async def scene(port: int) -> None:
        reader, writer = await upgraded(port)
        writer.write(frame(0xA, b"here") + frame(TEXT, b"x"))
        assert await reader.readexactly(3) == b"\x81\x01x"
        writer.close()

    serve(scene)
    assert answers == [b"here"]


@pytest.mark.parametrize(
    ("base", "begin"), [(H11Protocol, opened), (WebSocketsSansIOProtocol, upgraded)]
)
def test_a_protocol_error_closes_only_its_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, base: Any, begin: Any
) -> None:
    def data_received(_self: Any, _data: bytes) -> None:
        raise RuntimeError("no state for this")

    async def scene(port: int) -> None:
        malformed = aborted["malformed"]
        reader, writer = await begin(port)
        with monkeypatch.context() as patched:
            patched.setattr(base, "data_received", data_received)
            writer.write(REQUEST)
            assert await end_of(reader) == b""
        assert aborted["malformed"] == malformed + 1
        writer.close()
        _, writer = await answered(port)
        writer.close()

    serve(scene)
    assert not caplog.records


# Connection slots --------------------------------------------------------------------------------


def test_a_slot_is_busy_during_a_request() -> None:
    places = ConnectionSlots(10, 10, 0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> PlainTextResponse:
        begun.set()
        await go_on.wait()
        return PlainTextResponse("hello")

    async def scene(port: int) -> None:
        reader, writer = await opened(port)
        while not places.total:
            await asyncio.sleep(0.01)
        (place,) = places._taken
        assert not place.busy
        writer.write(REQUEST.replace(b"/", b"/slow", 1))
        await begun.wait()
        assert place.busy
        go_on.set()
        await reader.readuntil(b"hello")
        while place.busy:
            await asyncio.sleep(0.01)
        writer.close()

    serve(scene, places=places, routes=[Route("/slow", slow)])


def test_a_connection_whose_slot_is_reassigned_is_closed() -> None:
    places = ConnectionSlots(10, 10, 0)

    async def scene(port: int) -> None:
        reader, writer = await answered(port)
        (place,) = places._taken
        place.drop()
        assert await end_of(reader) == b""
        writer.close()

    serve(scene, places=places)


def test_a_closed_connection_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 3600.0)
    places = ConnectionSlots(10, 10, 0)

    async def scene(port: int) -> None:
        _, writer = await opened(port)
        while not places.total:
            await asyncio.sleep(0.01)
        kept = weakref.ref(next(iter(places._taken)))
        writer.close()
        while places.total:
            await asyncio.sleep(0.01)
        while kept() is not None:
            gc.collect()
            await asyncio.sleep(0.01)

    serve(scene, places=places)


# Clients that do not read ------------------------------------------------------------------------


class Stuck:
    """A transport whose client never reads."""

    def __init__(self) -> None:
        self.unsent = 0
        self.closing = self.gone = False

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.gone = True


def test_too_much_unread_data_aborts_the_connection() -> None:
    stuck = Stuck()
    outgoing = Outgoing(stuck, 1000)  # type: ignore[arg-type]
    unread = aborted["unread"]
    for _ in range(10):
        outgoing.write(bytes(100))
    assert not stuck.gone
    outgoing.write(b"x")
    assert stuck.gone and aborted["unread"] == unread + 1
    outgoing.write(bytes(5000))
    assert stuck.unsent == 1001, "nothing is written any more"


def test_a_websocket_has_a_smaller_send_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocketsSansIOProtocol, "connection_made", lambda _self, _made: None)

    async def scene() -> None:
        stuck = Stuck()
        outgoing = Outgoing(stuck)  # type: ignore[arg-type]
        socket_protocol().connection_made(outgoing)
        outgoing.write(bytes(MAX_UNSENT_SOCKET_BYTES))
        assert not stuck.gone
        outgoing.write(b"x")
        assert stuck.gone

    asyncio.run(scene())


def test_closing_does_not_wait_indefinitely_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.01)

    async def scene() -> None:
        stuck = Stuck()
        outgoing = Outgoing(stuck)  # type: ignore[arg-type]
        outgoing.write(b"the end")
        outgoing.close()
        assert not stuck.gone
        while not stuck.gone:
            await asyncio.sleep(0.01)

    asyncio.run(scene())


def test_a_client_that_reads_late_is_not_aborted_after_its_connection_has_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.2)
    faults: list[dict[str, Any]] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: faults.append(context))
        here, there = socket.socketpair()
        with here, there:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
            outgoing = Outgoing(transport, 1 << 20)
            outgoing.write(bytes(1 << 18))
            outgoing.close()
            assert transport.get_write_buffer_size()
            received = 0
            there.setblocking(False)
            while received < 1 << 18:
                received += len(await loop.sock_recv(there, 1 << 16))
            assert await loop.sock_recv(there, 1) == b"", "closed, with nothing lost"
            await asyncio.sleep(0.4)  # past the time at which it would have been aborted

    asyncio.run(scene())
    assert not faults


def test_the_kernel_drops_a_client_that_acknowledges_nothing(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_sockets, "SEND_SECONDS", 1.0)

    async def scene(port: int) -> None:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
            while not places.total:
                await asyncio.sleep(0.01)
            while places.total:
                await asyncio.sleep(0.05)
            assert places.refused == 0

    places = ConnectionSlots(10, 10, 0)
    serve(scene, places=places)
