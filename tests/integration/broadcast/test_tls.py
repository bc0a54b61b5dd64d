"""Icecast over TLS: the server's certificate is verified, and faults are named."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.broadcast.icecast import IcecastOutput
from crowdstream.broadcast.stream import Stream
from crowdstream.broadcast.target import parse
from tests.support.broadcasts import RATE, music
from tests.support.fake_icecast import CONTINUE, FakeServer
from tests.support.osc_client import until
from tests.support.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Sending:
    """An output to a port of loopback, with the states that it reports."""

    def __init__(self, port: int, authorities: str) -> None:
        self.states: list[dict[str, Any]] = []
        self.authorities = authorities
        target = parse(f"icecast+tls://dj:geheim@127.0.0.1:{port}/live.mp3")
        self.stream = Stream(target.format, target.bitrate, float(RATE))
        self.stream.start()
        self.output = IcecastOutput(
            1, target, self.stream, self.states.append, lambda: self.authorities
        )
        self.output.start()

    def reason(self) -> str:
        """The reason of the first failure, once there is one."""
        until(lambda: any(one["reason"] for one in self.states))
        return next(str(one["reason"]) for one in self.states if one["reason"])


@contextlib.contextmanager
def sending(port: int, authorities: Path | str) -> Iterator[Sending]:
    made = Sending(port, str(authorities))
    try:
        yield made
    finally:
        made.output.stop()
        made.stream.stop()
        made.output.join(20.0)


@contextlib.contextmanager
def listening(context: ssl.SSLContext | None) -> Iterator[FakeServer]:
    server = FakeServer([CONTINUE], context)
    try:
        yield server
    finally:
        server.close()


def test_stream_and_titles_are_encrypted(authority: Authority) -> None:
    with (
        listening(authority.server_context("IP:127.0.0.1")) as server,
        sending(server.port, authority.certificate) as one,
    ):
        until(lambda: one.output.connections == 1)
        assert server.requests[0].startswith(b"PUT /live.mp3 HTTP/1.1\r\n")
        one.stream.queue.put(music(2.0), 2 * RATE)
        until(lambda: server.received and len(server.received[0]) > 20_000)
        one.output.set_title("Artist", "Night Train")
        until(lambda: len(server.requests) == 2)
        assert b"song=Artist+-+Night+Train" in server.requests[1]
        assert one.states[-1]["reason"] == ""


def test_only_trusted_certificates_for_this_host_are_accepted(
    authority: Authority, tmp_path: Path
) -> None:
    with listening(authority.server_context("IP:127.0.0.1")) as server:
        with sending(server.port, "") as one:
            reason = one.reason()
            assert reason.startswith("the server's certificate is not trusted: unable to get local")
            # A setting that is changed counts from the next attempt on.
            one.authorities = str(authority.certificate)
            until(lambda: one.output.connections == 1)
        with sending(server.port, Authority(tmp_path).certificate) as one:
            assert "is not trusted" in one.reason()
        assert len(server.requests) == 1, "the password was sent to a trusted server only"
    with (
        listening(authority.server_context("DNS:radio.example.org")) as server,
        sending(server.port, authority.certificate) as one,
    ):
        assert "IP address mismatch" in one.reason() and not server.requests


def test_a_server_without_tls_is_named(authority: Authority) -> None:
    class Http(FakeServer):
        def _serve(self, connection: socket.socket) -> None:
            connection.recv(64)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            connection.close()

    server = Http([CONTINUE])
    with contextlib.closing(server), sending(server.port, authority.certificate) as one:
        assert "is this the server's port for TLS?" in one.reason()


@pytest.mark.parametrize(("content", "reason"), [
    (None, "No such file or directory"), ("no certificate", "NO_CERTIFICATE_OR_CRL_FOUND"),
])  # fmt: skip
def test_a_wrong_file_of_authorities_is_named(
    authority: Authority, tmp_path: Path, content: str | None, reason: str
) -> None:
    file = tmp_path / "own.pem"
    if content is not None:
        file.write_text(content)
    with (
        listening(authority.server_context("IP:127.0.0.1")) as server,
        sending(server.port, file) as one,
    ):
        assert one.reason() == f"broadcast_ca: {file}: {reason}"
