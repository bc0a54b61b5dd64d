"""Servers that announce themselves: forged announcements, and the real package over loopback."""

from __future__ import annotations

import asyncio
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import zeroconf.asyncio  # noqa: F401  (its import starts a process, which tests must not)

from crowdstream.fleet.discovery import KIND, discover, found_member, osc_port
from crowdstream.fleet.members import FleetError, Member
from crowdstream.web.api.zeroconf_announcer import announce
from tests.support.fake_member import until


class Page(http.server.BaseHTTPRequestHandler):
    """Answers as a server's page: `reply` is status and body."""

    reply = (200, b"")

    def do_GET(self) -> None:
        status, body = self.reply
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield page.server_address[1]
        page.shutdown()
        thread.join()


@pytest.mark.parametrize(("reply", "expected"), [
    ((200, json.dumps({"OSC_PORT": 57130}).encode()), 57130),
    ((401, b"{}"), 57120),
    ((200, b'{"OSC_PORT": 70000}'), None),
    ((200, b'{"OSC_PORT": "57120"}'), None),
    ((200, b"[" * 100_000), None),
    ((404, b"no"), None),
])  # fmt: skip
def test_the_page_names_the_osc_port(
    port: int, monkeypatch: pytest.MonkeyPatch, reply: tuple[int, bytes], expected: int | None
) -> None:
    monkeypatch.setattr(Page, "reply", reply)
    if expected is None:
        with pytest.raises(ValueError, match=r".*"):
            osc_port("127.0.0.1", port)
    else:
        assert osc_port("127.0.0.1", port) == expected


def test_names_of_announcements_are_harmless() -> None:
    assert found_member(f"CrowdStream bar.{KIND}", "10.0.0.1", 1).name == "bar"
    assert found_member(f"CrowdStream \x1b[2J; rm -rf.{KIND}", "10.0.0.1", 1).name == "2J-rm--rf"
    assert found_member(f"CrowdStream --.{KIND}", "10.0.0.1", 1).name == "server"
    assert found_member(f"CrowdStream bar.{KIND}", "10.0.0.1", 1).upgrade == ()


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(FleetError, match="pip install zeroconf"):
        asyncio.run(discover(lambda _member: None))


def test_an_announced_server_is_found(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Page, "reply", (200, b'{"OSC_PORT": 57131}'))

    async def scene() -> None:
        members: list[Member] = []
        settings = SimpleNamespace(http_host="0.0.0.0", http_cert=None)
        announced = await announce(settings, port, "1", ["127.0.0.1"])
        search = await discover(members.append, ["127.0.0.1"])
        try:
            await until(lambda: any(one.port == 57131 for one in members))
            assert members[0].host == "127.0.0.1"
        finally:
            await search.close()
            if announced is not None:
                await announced.close()

    asyncio.run(scene())
