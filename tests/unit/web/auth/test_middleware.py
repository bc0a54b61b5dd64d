"""Access control: who may view, and who may change anything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from crowdstream.web.auth.limits import (
    FAILURES_AT_ONCE,
    MAX_BODY,
    MAX_SOCKETS_EACH,
    REQUESTS_AT_ONCE,
)
from crowdstream.web.auth.middleware import AccessMiddleware
from tests.support.web_client import Answer, ask, settings

TOKEN = "correct-horse-battery"


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def gated(gate: AccessMiddleware) -> ASGIApp:
    async def show(request: Request) -> JSONResponse:
        size = len(await request.body())
        return JSONResponse({"write": gate.may_write(request), "size": size})

    return gate.guard(Starlette(routes=[Route("/{path:path}", show, methods=["GET", "POST"])]))


def made(clock: Clock | None = None, **given: Any) -> tuple[AccessMiddleware, ASGIApp]:
    gate = AccessMiddleware(settings(**given), {}, clock or Clock())
    return gate, gated(gate)


def shared(clock: Clock | None = None, **given: Any) -> tuple[AccessMiddleware, ASGIApp]:
    """A server that other machines can reach."""
    return made(clock, **{"http_host": "0.0.0.0", "http_token": TOKEN, **given})


def test_a_local_server_requires_no_token() -> None:
    _gate, app = made()
    assert ask(app, "GET", "/").json == {"write": True, "size": 0}
    assert ask(app, "POST", "/api/x", {}).json["write"]


def test_a_configured_token_is_required_on_this_machine_too() -> None:
    _gate, app = made(http_token=TOKEN)
    assert ask(app, "GET", "/").json["write"] is False
    assert ask(app, "POST", "/", {}).status == 401


@pytest.mark.parametrize(
    "header",
    [
        {"x_forwarded_for": "203.0.113.7"}, {"forwarded": "for=203.0.113.7"},
        {"via": "1.1 proxy"}, {"x_real_ip": "203.0.113.7"}, {"x_forwarded_host": "dj.example"},
    ],
)  # fmt: skip
def test_forwarded_requests_require_the_token_for_changes(
    header: dict[str, Any],
) -> None:
    _gate, app = made()
    assert ask(app, "GET", "/", **header).json["write"] is False
    refused = ask(app, "POST", "/api/x", {}, **header)
    assert refused.status == 403 and "--http-require-token" in refused.json["error"]
    _gate, app = made(http_token=TOKEN)
    bearer: dict[str, Any] = {"authorization": f"Bearer {TOKEN}"}
    assert ask(app, "POST", "/api/x", {}, **header).status == 401
    assert ask(app, "POST", "/api/x", {}, **header, **bearer).json["write"]


def test_other_machines_may_view_but_not_change() -> None:
    _gate, app = shared()
    assert ask(app, "GET", "/").json["write"] is False
    refused = ask(app, "POST", "/", {})
    assert refused.status == 401 and "token" in refused.json["error"]
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_http_require_token_is_needed_for_viewing() -> None:
    _gate, app = shared(http_require_token=True)
    assert ask(app, "GET", "/metrics").status == 401
    assert ask(app, "GET", "/", authorization=f"Bearer {TOKEN}").status == 200


def test_a_private_local_server_has_a_token(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    gate = AccessMiddleware(settings(http_require_token=True), environ)
    assert ask(gated(gate), "GET", "/").status == 401
    assert gate.token in gate.open(8080)


def test_a_bearer_token_allows_changes() -> None:
    _gate, app = shared()
    assert ask(app, "POST", "/", {}, authorization=f"Bearer {TOKEN}").json["write"]
    assert ask(app, "POST", "/", {}, authorization=f"bearer {TOKEN}").json["write"]
    assert ask(app, "POST", "/", {}, authorization=f"Basic {TOKEN}").status == 401


@pytest.mark.parametrize("target", ["/", "/page/a?b=1&c=%2F", "//evil.example/x", "/\\evil"])
def test_a_token_in_the_url_is_exchanged_for_a_cookie(target: str) -> None:
    _gate, app = shared()
    joint = "&" if "?" in target else "?"
    first = ask(app, "GET", f"{target}{joint}token={TOKEN}")
    assert first.status == 303
    place = first.headers["location"]
    assert TOKEN not in place and place.startswith("/") and not place.startswith("//")
    assert "\\" not in place
    cookie = first.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {p.strip() for p in cookie.split(";")}
    assert "Secure" not in cookie
    pair = cookie.partition(";")[0]
    assert ask(app, "GET", "/", cookie=f"other=1; {pair}").json["write"]
    assert ask(app, "POST", "/", {}, cookie=pair).json["write"]
    assert ask(app, "POST", "/", {}, cookie=pair[:-1]).status == 401


def test_other_query_parameters_are_kept() -> None:
    _gate, app = shared()
    first = ask(app, "GET", f"/page/a?b=1&token={TOKEN}&c=x+y")
    assert first.headers["location"] == "/page/a?b=1&c=x+y"


def test_over_tls_the_cookie_is_secure() -> None:
    _gate, app = shared()
    assert "Secure" in ask(app, "GET", f"/?token={TOKEN}", scheme="https").headers["set-cookie"]


def test_a_link_on_another_site_works_on_a_private_server() -> None:
    _gate, app = shared(http_require_token=True)
    first = ask(app, "GET", f"/?token={TOKEN}", sec_fetch_site="cross-site")
    assert (first.status, first.headers["refresh"]) == (200, "0; url=/")


def test_wrong_tokens_are_rate_limited_per_address() -> None:
    clock = Clock()
    gate, app = shared(clock)
    for number in range(int(FAILURES_AT_ONCE)):
        assert ask(app, "GET", f"/?token=guess{number}", client="10.0.0.9").status == 401
    refused = ask(app, "GET", f"/?token={TOKEN}", client="10.0.0.9")
    assert refused.status == 429 and int(refused.headers["retry-after"]) > 0
    assert ask(app, "GET", f"/?token={TOKEN}", client="10.0.0.8").status == 303
    cookie = ask(app, "GET", f"/?token={TOKEN}", client="10.0.0.8").headers["set-cookie"]
    assert ask(app, "GET", "/", client="10.0.0.9", cookie=cookie.partition(";")[0]).json["write"]
    clock.now += int(refused.headers["retry-after"])
    assert ask(app, "GET", f"/?token={TOKEN}", client="10.0.0.9").status == 303
    assert (gate.refused["wrong"], gate.refused["failures"]) == (FAILURES_AT_ONCE, 1)


def test_addresses_of_one_ipv6_network_share_limits() -> None:
    _gate, app = shared()
    for number in range(int(FAILURES_AT_ONCE)):
        ask(app, "GET", "/?token=x", client=f"2001:db8::{number + 1}")
    assert ask(app, "GET", f"/?token={TOKEN}", client="2001:db8::ffff").status == 429
    assert ask(app, "GET", f"/?token={TOKEN}", client="2001:db8:0:1::1").status == 303


def test_requests_are_rate_limited_per_address() -> None:
    clock = Clock()
    gate, app = made(clock)
    gate._requests.of("127.0.0.1").take(REQUESTS_AT_ONCE - 1)
    assert ask(app, "GET", "/").status == 200
    assert ask(app, "GET", "/").status == 429
    assert ask(app, "GET", "/", client="127.0.0.2").status == 200
    clock.now += 1
    assert ask(app, "GET", "/").status == 200


GOOD_HOSTS = ["127.0.0.1:8080", "localhost", "LOCALHOST.:8080", "[::1]:8080", "192.168.1.5",
              "dj.example.org:80"]
BAD_HOSTS = ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "a b",
             "localhost:99999", "[::1", "localhost, evil.example", "x@127.0.0.1", "localhost/x"]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_own_host_names_are_accepted(host: str) -> None:
    _gate, app = made(http_allowed_hosts=("DJ.example.org",))
    assert ask(app, "GET", "/", host=host).status == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_host_names_are_refused(host: str) -> None:
    gate, app = made()
    assert ask(app, "GET", "/", host=host).status == 421
    assert gate.refused["host"] == 1


def test_the_machines_host_name_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Stage.lan")
    _gate, app = made()
    for host in ("stage", "stage.local:8080", "stage.lan"):
        assert ask(app, "GET", "/", host=host).status == 200
    assert ask(app, "GET", "/", host="stage.evil").status == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8080", 200), ("", 200), ("http://127.0.0.1", 403), ("null", 403),
        ("http://evil.example", 403), ("http://127.0.0.1:8080.evil.example", 403),
        ("https://127.0.0.1", 403), ("http://localhost:8080", 403), ("file://", 403),
    ],
)  # fmt: skip
def test_pages_of_other_origins_cannot_change_anything(origin: str, status: int) -> None:
    _gate, app = made()
    assert ask(app, "POST", "/", {}, origin=origin).status == status
    assert asyncio.run(opened(app, origin=origin)) == (status == 200)


def test_the_default_port_may_be_omitted() -> None:
    _gate, app = made()
    assert ask(app, "POST", "/", {}, host="localhost", origin="http://localhost").status == 200
    assert ask(app, "POST", "/", {}, host="localhost", origin="https://localhost:443").status == 200
    assert ask(app, "POST", "/", {}, host="localhost", origin="http://localhost:81").status == 403


def test_a_cross_site_fetch_header_is_refused() -> None:
    _gate, app = made()
    assert ask(app, "POST", "/", {}, sec_fetch_site="cross-site").status == 403
    assert ask(app, "POST", "/", {}, sec_fetch_site="same-origin").status == 200


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain", "",
     "application/octet-stream"],
)  # fmt: skip
def test_only_json_bodies_are_accepted(kind: str) -> None:
    _gate, app = made()
    assert ask(app, "POST", "/", b"a=1", content_type=kind).status == 415
    assert ask(app, "POST", "/", b"1", content_type="application/json; charset=utf-8").status == 200
    assert ask(app, "POST", "/").status == 200, "a command without arguments"


def test_the_body_limit_applies_to_every_transfer_encoding() -> None:
    _gate, app = made()
    largest = b"1" * MAX_BODY
    assert ask(app, "POST", "/", largest).json["size"] == MAX_BODY
    assert ask(app, "POST", "/", largest + b"1").status == 413
    kind = "application/json"
    parts = [largest[:40000], largest[40000:]]
    assert ask(app, "POST", "/", chunks=parts, content_type=kind).json["size"] == MAX_BODY
    assert ask(app, "POST", "/", chunks=[*parts, b"1"], content_type=kind).status == 413
    assert ask(app, "POST", "/", b"{}", content_length="-1").status == 413
    assert ask(app, "GET", "/", chunks=[largest, b"1"]).status == 413


def test_a_missing_body_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdstream.web.auth.middleware.BODY_SECONDS", 0.01)
    _gate, app = made()

    async def stalled(scope: Any, _receive: Any, send: Any) -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        await app(scope, receive, send)

    assert ask(stalled, "POST", "/", b"{}").status == 408


def test_sending_to_a_client_that_does_not_read_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdstream.web.auth.middleware.SEND_SECONDS", 0.01)
    _gate, app = made()

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        async def never(message: Any) -> None:
            await send(message)
            await asyncio.Event().wait()

        await app(scope, receive, never)

    answer: Answer = ask(deaf, "GET", "/")
    assert answer.body == b""


def test_every_response_has_security_headers() -> None:
    _gate, app = made()
    for answer in (ask(app, "GET", "/"), ask(app, "GET", "/", host="evil.example")):
        headers = answer.headers
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["worker-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "microphone=()" in headers["permissions-policy"]
        assert "evil" not in headers["content-security-policy"]
    assert "ws://127.0.0.1:8080" in ask(app, "GET", "/").headers["content-security-policy"]


def socket_scope(path: str = "/live", client: str = "127.0.0.1", **headers: str) -> dict[str, Any]:
    sent = {"host": "127.0.0.1:8080", **headers}
    return {
        "type": "websocket", "path": path, "query_string": b"", "scheme": "ws",
        "headers": [(k.encode(), v.encode()) for k, v in sent.items() if v],
        "client": (client, 1), "server": ("127.0.0.1", 8080), "subprotocols": [],
    }  # fmt: skip


async def opened(app: ASGIApp, **headers: str) -> bool:
    """Whether the middleware accepts a WebSocket; the application itself closes it."""
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    await app(socket_scope(**headers), receive, send)
    return said[0].get("reason") not in ("origin", "host", "token", "sockets")


def test_websockets_are_counted_and_limited() -> None:
    gate = AccessMiddleware(settings(http_host="0.0.0.0", http_token=TOKEN), {})
    verdicts = []

    async def page(scope: Any, receive: Any, _send: Any) -> None:
        verdicts.append(gate.may_write(HTTPConnection(scope)))
        await receive()

    app = gate.guard(page)

    async def scene() -> None:
        end = asyncio.Event()
        refused = []

        async def send(message: Any) -> None:
            refused.append(message["reason"])

        async def open_one(client: str) -> None:
            await app(socket_scope(client=client), end.wait, send)  # type: ignore[arg-type]

        open_ones = [asyncio.create_task(open_one("10.0.0.1")) for _ in range(MAX_SOCKETS_EACH)]
        await asyncio.sleep(0)
        assert gate.sockets == {"/live": MAX_SOCKETS_EACH}
        late = asyncio.create_task(open_one("10.0.0.1"))
        other = asyncio.create_task(open_one("10.0.0.2"))
        await asyncio.sleep(0)
        end.set()
        await asyncio.gather(*open_ones, late, other)
        assert refused == ["sockets"]
        assert gate.sockets == {} and gate._sockets.total == 0

    asyncio.run(scene())
    assert verdicts == [False] * (MAX_SOCKETS_EACH + 1)


def test_page_messages_are_rate_limited() -> None:
    clock = Clock()
    gate, _app = made(clock)
    bucket = gate.bucket()
    allowed = sum(bucket.take() for _ in range(10_000))
    assert 100 <= allowed <= 1000
    clock.now += 1.0
    assert bucket.take()
