"""The web process: serves pages, the audio stream and the HTTP API.

Control starts it with the desk's file descriptor and ends it by closing its standard input. The
process only reads the desk, except that it requests taps.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import uvicorn

from crowdstream.desk.block import Desk
from crowdstream.logs.formatters import shortened
from crowdstream.system.port_holders import in_use_by
from crowdstream.system.token_bucket import TokenBucket
from crowdstream.web.app import Web
from crowdstream.web.auth.certificate import (
    AUTO,
    CertificateError,
    announcement,
    keep_valid,
    own_certificate,
)
from crowdstream.web.auth.connections import Connection, SocketConnection
from crowdstream.web.auth.listener_sockets import Server
from crowdstream.web.page_socket import MAX_MESSAGE

NICENESS = 5  # the engine takes precedence over remote listeners
BACKLOG = 64
CLOSE_SECONDS = 0.3  # for open requests at the end of the process
KEEP_ALIVE_SECONDS = 30
LINES_A_SECOND, LINES_AT_ONCE = 1 / 30, 20.0  # of the log
MAX_RECORD = 2000  # characters of a log record
MAX_SETTINGS = 1 << 20  # bytes


class Log(logging.Handler):
    """Forwards this process's log records to control, which writes the log.

    The rate is limited: a remote client that provokes messages must not push other lines out of
    the log.
    """

    def __init__(self, web: Web, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._web = web
        self._limit = TokenBucket(LINES_A_SECOND, LINES_AT_ONCE, clock)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record, unless the limit is reached.

        A request that is open when the process ends is cancelled, which uvicorn reports like an
        error.
        """
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return
        if not self._limit.take():
            self._left_out += 1
            return
        with contextlib.suppress(Exception):
            text = shortened(self.format(record), MAX_RECORD)
            if self._left_out:
                text += f" ({self._left_out} earlier lines of the web process were dropped)"
                self._left_out = 0
            self._web.link.send({"log": text})


def listening_socket(host: str, port: int) -> socket.socket:
    """Open a TCP socket that listens on `host` and `port`. Raises `OSError`."""
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def why_unusable(host: str, port: int, error: OSError) -> str:
    """Why no socket can listen there, and what to do about it."""
    # Not `os.strerror`: the numbers of an unknown host name are no errno.
    reason, remedy = error.strerror or str(error), "choose another --http-port or --no-http"
    if isinstance(error, socket.gaierror):
        remedy = "check --http-host"
    elif error.errno == errno.EADDRINUSE:
        reason = in_use_by("tcp", port)
    return f"{host}:{port}: {reason}; {remedy}"


def load(config: uvicorn.Config) -> None:
    """Load a configuration with its certificate. Raises `CertificateError` if it can't be used."""
    try:
        config.load()
    except OSError as error:
        files = " and ".join(str(one) for one in (config.ssl_certfile, config.ssl_keyfile) if one)
        reason = error.strerror or str(error)
        if isinstance(error, ssl.SSLError):  # its number is not an errno
            reason = f"no certificate with its key, in PEM ({error.reason or reason})"
        raise CertificateError(f"{files}: {reason}; check --http-cert and --http-key") from error


def first_line(fd: int = 0) -> bytes:
    """Read one line from a pipe, and no byte beyond it: the rest is for `ControlClient`.

    Raises `EOFError` if control is gone.
    """
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAX_SETTINGS:
        byte = os.read(fd, 1)
        if not byte:
            raise EOFError("control is gone")
        line += byte
    return bytes(line)


async def serve(desk: Desk, settings: SimpleNamespace) -> int:
    """Serve until standard input closes. Returns the exit status."""
    web = Web(desk, settings)
    logging.getLogger().addHandler(Log(web))
    try:
        own = own_certificate(settings) if settings.http_cert == AUTO else None
    except CertificateError as error:
        web.link.send({"error": str(error)})
        return 1
    try:
        made = listening_socket(settings.http_host, settings.http_port)
    except OSError as error:
        web.link.send({"error": why_unusable(settings.http_host, settings.http_port, error)})
        return 1
    config = uvicorn.Config(
        web.app(), http=Connection, ws=SocketConnection, loop="asyncio", lifespan="off",
        log_config=None, access_log=False, server_header=False, proxy_headers=False,
        ws_max_size=MAX_MESSAGE, ws_per_message_deflate=False, ws_ping_interval=20.0,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=None,
        ssl_certfile=own.path if own else settings.http_cert,
        ssl_keyfile=own.key if own else settings.http_key,
        h11_max_incomplete_event_size=16384,
    )  # fmt: skip
    try:
        load(config)
    except CertificateError as error:
        web.link.send({"error": str(error)})
        return 1
    port = int(made.getsockname()[1])
    server = Server(config, web.places)
    invitation = web.gate.open(port)
    if own is not None:
        invitation = "\n".join(filter(None, (invitation, announcement(own))))
    web.link.ready(
        {"ready": port, "url": web.gate.url, "invitation": invitation, "qr": web.gate.qr}
    )
    running = asyncio.create_task(server.serve(sockets=[made]))
    beside = asyncio.create_task(web.run())
    renewing = None
    if own is not None and config.ssl is not None:
        renewing = asyncio.create_task(keep_valid(settings, own, config.ssl))
    await asyncio.wait([running, beside, web.link.ended], return_when=asyncio.FIRST_COMPLETED)
    if renewing is not None:
        renewing.cancel()
    await web.close()
    server.leave()
    for task in (running, beside):
        if task.done() and not task.cancelled() and task.exception():
            raise task.exception() or RuntimeError
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(running, CLOSE_SECONDS)
    return 0


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the desk's file descriptor.

    The settings are the first line of standard input and not arguments: they include the token,
    and every user of the machine can read a process's arguments.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    try:
        settings = json.loads(first_line())["settings"]
    except EOFError:
        return 0
    return asyncio.run(serve(Desk(int(arguments[0])), SimpleNamespace(**settings)))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)
