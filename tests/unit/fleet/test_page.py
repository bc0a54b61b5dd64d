"""The page of the fleet, through its access control."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.page import STATIC, fleet_app
from tests.support.fake_member import FakeMember, fake_members, until


class Reply(NamedTuple):
    """Status, headers and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Ask = Callable[..., Awaitable[Reply]]


def run(scene: Callable[[FakeMember, Ask], Awaitable[None]], host: str = "127.0.0.1") -> None:
    """Run a scene with the application of a fleet of two fake servers."""

    async def all_of_it() -> None:
        async with fake_members(0.0, 0.0) as fakes:
            members = [fake.member(f"s{number}") for number, fake in enumerate(fakes)]
            async with Fleet(members) as fleet:
                await until(lambda: all(one.answers for one in fleet.servers))
                _gate, app = fleet_app(fleet, host)

                async def ask(method: str, path: str, body: Any = None, **headers: str) -> Reply:
                    return await request(app, method, path, body, headers)

                await scene(fakes[0], ask)

    asyncio.run(all_of_it())


async def request(
    app: Any, method: str, path: str, body: Any, headers: dict[str, str]
) -> Reply:
    """Send a request to an ASGI application in this process."""
    data = b"" if body is None else json.dumps(body).encode()
    sent = {"host": "localhost", "content-length": str(len(data)), **headers}
    if data:
        sent.setdefault("content-type", "application/json")
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(name.replace("_", "-").encode(), value.encode())
                    for name, value in sent.items()],
        "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    messages: list[dict[str, Any]] = []

    bodies = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()  # the client stays connected
        return bodies.pop()

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return Reply(messages[0]["status"], found,
                 b"".join(one.get("body", b"") for one in messages[1:]))  # fmt: skip


def test_the_page_and_its_files_have_the_security_headers() -> None:
    async def scene(_fake: FakeMember, ask: Ask) -> None:
        for path in ("/", "/fleet.js", "/fleet.css"):
            reply = await ask("GET", path)
            assert reply.status == 200 and reply.body
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert reply.headers["x-frame-options"] == "DENY"
        assert (await ask("GET", "/fleet.py")).status == 404

    run(scene)


def test_the_state_has_all_servers() -> None:
    async def scene(_fake: FakeMember, ask: Ask) -> None:
        state = (await ask("GET", "/api/fleet")).json()
        assert state["write"] and [one["name"] for one in state["servers"]] == ["s0", "s1"]
        assert state["servers"][0]["tracks"][0]["name"] == "night drive"

    run(scene)


def test_a_command_reaches_the_chosen_servers() -> None:
    async def scene(fake: FakeMember, ask: Ask) -> None:
        wanted = {"targets": ["s0"], "address": "/deck/A/level", "args": [0.5]}
        reply = await ask("POST", "/api/command", wanted)
        assert reply.json() == [{"server": "s0", "ok": True, "text": "done"}]
        assert [one[1:] for one in fake.received] == [("/deck/A/level", (0.5,))]
        together = await ask("POST", "/api/command", {"address": "/deck/A/play", "in": 0.5})
        assert together.status == 200 and len(together.json()) == 2
        fake.fails["/deck/A/play"] = "nothing is loaded"
        assert (await ask("POST", "/api/command", {"address": "/deck/A/play"})).status == 207

    run(scene)


def test_wrong_requests_are_refused_with_a_reason() -> None:
    async def scene(fake: FakeMember, ask: Ask) -> None:
        requests: list[Any] = [
            [], {"address": "x"}, {"address": "/a", "args": [[1]]}, {"address": "/a", "x": 1},
            {"address": "/a", "targets": "s0"}, {"address": "/a", "targets": ["s9"]},
            {"address": "/a", "in": True}, {"address": "/a", "args": [1] * 100},
            {"address": "/deck/A/play", "in": 1e9}, {"address": "/clock/meter", "in": 1},
            {"address": "/" + "a" * 300}, {"targets": ["s0"]},
        ]  # fmt: skip
        for wanted in requests:
            reply = await ask("POST", "/api/command", wanted)
            assert reply.status == 422 and reply.json()["error"], wanted
        assert not fake.received

    run(scene)


def test_other_sites_and_names_are_refused() -> None:
    async def scene(fake: FakeMember, ask: Ask) -> None:
        wanted = {"address": "/deck/A/stop"}
        assert (await ask("GET", "/", host="evil.example")).status == 421
        assert (await ask("POST", "/api/command", wanted, origin="http://evil")).status == 403
        plain = await ask("POST", "/api/command", wanted, content_type="text/plain")
        assert plain.status == 415 and not fake.received

    run(scene)


def test_other_machines_need_the_token(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    async def scene(fake: FakeMember, ask: Ask) -> None:
        assert not (await ask("GET", "/api/fleet")).json()["write"]
        reply = await ask("POST", "/api/command", {"address": "/deck/A/stop"})
        assert reply.status == 401 and not fake.received

    run(scene, "0.0.0.0")


def test_the_page_is_small_and_loads_only_its_own_files() -> None:
    files = list(STATIC.iterdir())
    assert sum(one.stat().st_size for one in files) < 20_000
    html = (STATIC / "fleet.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"]+)"', html)) == {
        "data:,", "/fleet.css", "/fleet.js"
    }
    assert "style=" not in html and "onclick" not in html
