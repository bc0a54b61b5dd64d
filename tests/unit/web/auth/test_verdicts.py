"""The middleware's responses in detail: statuses, headers, counters, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from crowdstream.web.auth import middleware as gate_module
from crowdstream.web.auth.limits import (
    FAILURES_AT_ONCE,
    MAX_BODY,
    MESSAGES_AT_ONCE,
    REQUESTS_AT_ONCE,
)
from crowdstream.web.auth.middleware import REASONS, AccessMiddleware
from tests.support.web_client import Answer, ask, settings

TOKEN = "correct-horse-battery"
JSON = ("content-type", "application/json")


def still() -> float:
    """A clock that stands still."""
    return 100.0


class Page:
    """The application behind the middleware: records its requests and returns 200."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.write: bool | None = None
        self.scopes: list[str] = []
        self.gate: AccessMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] == "lifespan":
            return
        if self.gate is not None:
            self.write = self.gate.may_write(HTTPConnection(scope))
        for _ in range(2):
            self.received.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"page"})


def guarded(**given: Any) -> tuple[AccessMiddleware, Page, Any]:
    gate = AccessMiddleware(settings(**given), {}, still)
    page = Page()
    page.gate = gate
    return gate, page, gate.guard(page)


def send_raw(
    app: Any,
    headers: Sequence[tuple[str, str]] = (),
    incoming: Sequence[Message] = ({"type": "http.request"},),
    **changes: Any,
) -> Answer:
    """Send a raw request: headers may be repeated, and parts of the scope may be missing."""
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "scheme": "http",
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8080),
        "headers": [
            (name.encode(), value.encode()) for name, value in (("Host", "localhost"), *headers)
        ],
        **changes,
    }  # fmt: skip
    waiting = list(incoming)
    answer = Answer(0)

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert answer.status == 0, "an answer begins once"
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    asyncio.run(app({k: v for k, v in scope.items() if v is not None}, receive, send))
    return answer


# --- statuses and headers of refusals ---------------------------------------------------------


def test_each_refusal_has_its_http_status() -> None:
    statuses = {reason: status for reason, (status, _words) in REASONS.items()}
    assert statuses == {
        "host": 421, "origin": 403, "token": 401, "wrong": 401, "failures": 429, "rate": 429,
        "sockets": 503, "length": 413, "slow": 408, "upload": 415, "proxy": 403, "fault": 500,
    }  # fmt: skip


def test_a_refusal_contains_only_its_reason_and_remedy() -> None:
    _gate, _page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    needed = ask(app, "POST", "/", {})
    assert needed.headers["www-authenticate"] == 'Bearer realm="crowdstream"'
    assert needed.headers["cache-control"] == "no-store"
    assert needed.headers["content-type"] == "application/json"
    assert int(needed.headers["content-length"]) == len(needed.body)
    assert not {"retry-after", "connection"} & set(needed.headers)
    elsewhere = ask(app, "GET", "/", host="evil.example")
    assert elsewhere.status == 421
    assert not {"www-authenticate", "retry-after", "connection"} & set(elsewhere.headers)
    upload = ask(app, "POST", "/", b"a=1", content_type="text/plain", authorization=bearer())
    assert upload.headers["connection"] == "close"
    length = ask(app, "POST", "/", b"1" * (MAX_BODY + 1), authorization=bearer())
    assert length.headers["connection"] == "close"


def bearer(token: str = TOKEN) -> str:
    return f"Bearer {token}"


def test_retry_after_gives_the_time_of_the_next_attempt() -> None:
    gate, _page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    for _ in range(int(FAILURES_AT_ONCE)):
        wrong = ask(app, "GET", "/", authorization=bearer("wrong"))
        assert wrong.status == 401 and "wrong token" in wrong.json["error"]
        assert "retry-after" not in wrong.headers
    refused = ask(app, "GET", "/", authorization=bearer())
    assert (refused.status, refused.headers["retry-after"]) == (429, "7")  # one attempt in 6 s
    gate._requests.of("127.0.0.1").take(REQUESTS_AT_ONCE - FAILURES_AT_ONCE - 2)
    assert ask(app, "GET", "/").status == 200, "who does not guess is not held up"
    refused = ask(app, "GET", "/")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert "requests" in refused.json["error"]


def test_an_attempt_before_retry_after_is_refused() -> None:
    now = 100.0
    gate = AccessMiddleware(settings(http_host="0.0.0.0", http_token=TOKEN), {}, lambda: now)
    app = gate.guard(Page())
    for _ in range(int(FAILURES_AT_ONCE)):
        ask(app, "GET", "/", authorization=bearer("wrong"))
    now += 5.5  # out of six seconds
    refused = ask(app, "GET", "/", authorization=bearer())
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    now += 0.75
    assert ask(app, "GET", "/", authorization=bearer()).status == 200


def test_requests_and_refusals_are_counted() -> None:
    gate, _page, app = guarded()
    assert set(gate.refused) == set(REASONS) and not any(gate.refused.values())
    for _ in range(2):
        ask(app, "GET", "/")
    for _ in range(3):
        ask(app, "GET", "/", host="evil.example")
    assert gate.requests == 5
    assert gate.refused["host"] == 3 and gate.refused.total() == 3


# --- permission to change ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "has_token"),
    [
        ({}, False),
        ({"http_host": "localhost"}, False),
        ({"http_require_token": True}, True),
        ({"http_host": "0.0.0.0"}, True),
        ({"http_token": TOKEN}, True),
    ],
)
def test_a_reachable_server_generates_a_token(
    tmp_path: Any, given: dict[str, Any], has_token: bool
) -> None:
    gate = AccessMiddleware(
        settings(**given), {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}, still
    )
    assert bool(gate.token) is has_token
    made = has_token and "http_token" not in given
    assert (gate.token_file is not None) is made
    assert (gate.token == TOKEN) is ("http_token" in given)


def test_may_write_returns_the_decision() -> None:
    _gate, page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    ask(app, "GET", "/")
    assert page.write is False
    ask(app, "GET", "/", authorization=bearer())
    assert page.write is True
    gate = AccessMiddleware(settings(), {}, still)
    assert not gate.may_write(HTTPConnection({"type": "http", "headers": []}))
    assert not gate.may_write(HTTPConnection({"type": "http", "crowdstream.write": 1}))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_viewing_needs_neither_origin_nor_token(method: str) -> None:
    _gate, _page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    answer = ask(app, method, "/", origin="http://evil.example", sec_fetch_site="cross-site")
    assert answer.status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "get"])
def test_any_other_method_counts_as_a_change(method: str) -> None:
    _gate, _page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    assert ask(app, method, "/").status == 401
    assert ask(app, method, "/", origin="http://evil.example").status == 403


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("x", 403)],
)
def test_only_same_origin_and_user_requests_may_change_anything(site: str, status: int) -> None:
    _gate, _page, app = guarded()
    assert ask(app, "POST", "/", {}, sec_fetch_site=site).status == status


def test_only_one_source_of_the_token_is_used() -> None:
    _gate, page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    both = ask(app, "GET", f"/?token={TOKEN}", authorization=bearer("wrong"))
    assert both.status == 401, "the header counts where both are given"
    header = ask(app, "GET", "/?token=wrong", authorization=bearer())
    assert header.status == 200 and page.write, "then the address is not exchanged for a cookie"
    assert ask(app, "GET", "/?token=").status == 401, "an empty one is a wrong one"
    assert ask(app, "GET", "/", authorization=f"BEARER  {TOKEN} ").status == 200
    assert ask(app, "POST", f"/?token={TOKEN}", {}).status == 200, "a change is not redirected"
    assert page.write
    head = ask(app, "HEAD", f"/?token={TOKEN}")
    assert head.status == 303


def test_a_server_without_a_token_removes_it_from_the_url() -> None:
    _gate, _page, app = guarded()
    answer = ask(app, "GET", "/a?token=old&b=1")
    assert (answer.status, answer.headers["location"]) == (303, "/a?b=1")
    assert "set-cookie" not in answer.headers and answer.headers["cache-control"] == "no-store"


def test_the_cookie_lasts_thirty_days_and_belongs_to_the_port() -> None:
    _gate, page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    answer = ask(app, "GET", f"/?token={TOKEN}")
    pair, *attributes = answer.headers["set-cookie"].split("; ")
    assert pair.startswith("crowdstream-8080=")
    assert "Max-Age=2592000" in attributes and "Secure" not in attributes
    name, _, value = pair.partition("=")
    ask(app, "GET", "/", cookie=f"crowdstream-8081={value}")
    assert page.write is False
    ask(app, "GET", "/", cookie=f" x=1;  {name} = {value} ;y")
    assert page.write is True
    without = send_raw(app, [("Cookie", f"crowdstream-0={value}")], server=None)
    assert without.status == 200 and page.write, "a server without a port is port 0"


@pytest.mark.parametrize(
    ("private", "site", "status"),
    [(True, "cross-site", 200), (False, "cross-site", 303), (True, "none", 303), (True, "", 303)],
)
def test_a_refresh_replaces_the_redirect_only_after_cross_site_links(
    private: bool, site: str, status: int
) -> None:
    _gate, _page, app = guarded(http_host="0.0.0.0", http_token=TOKEN, http_require_token=private)
    answer = ask(app, "GET", f"/?token={TOKEN}", sec_fetch_site=site)
    assert answer.status == status
    assert ("refresh" in answer.headers) is (status == 200)
    assert ("location" in answer.headers) is (status == 303)


def test_a_private_server_accepts_the_cookie() -> None:
    _gate, page, app = guarded(http_token=TOKEN, http_require_token=True)
    pair = ask(app, "GET", f"/?token={TOKEN}").headers["set-cookie"].partition(";")[0]
    assert ask(app, "GET", "/", cookie=pair).status == 200 and page.write
    assert ask(app, "GET", "/").status == 401


# --- unusual headers, addresses and queries ---------------------------------------------------


def test_repeated_headers_are_refused() -> None:
    gate, _page, app = guarded()
    assert send_raw(app, [("host", "localhost")]).status == 421
    assert send_raw(app, [("X", "1"), ("X", "2")]).status == 200
    origins = [("Origin", "http://localhost"), ("Origin", "http://localhost"), JSON]
    assert send_raw(app, origins, method="POST").status == 403
    assert gate.refused == {**dict.fromkeys(REASONS, 0), "host": 1, "origin": 1}


def test_a_request_without_a_client_address_is_checked() -> None:
    gate, _page, app = guarded()
    assert send_raw(app, client=None).status == 200
    assert set(gate._requests._buckets) == {""}
    assert send_raw(app, client=("::ffff:10.0.0.1", 1)).status == 200
    assert "10.0.0.1" in gate._requests._buckets


def test_a_url_with_too_many_parameters_has_no_token() -> None:
    _gate, page, app = guarded(http_host="0.0.0.0", http_token=TOKEN)
    many = "&".join(f"a{number}=1" for number in range(31))
    assert ask(app, "GET", f"/?{many}&token={TOKEN}").status == 303
    assert ask(app, "GET", f"/?{many}&b=1&token={TOKEN}").status == 200
    assert page.write is False
    assert send_raw(app, query_string=None).status == 200


# --- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "\N{SUPERSCRIPT TWO}", "1234567890", ""])
def test_a_content_length_that_is_not_a_number_is_refused(length: str) -> None:
    gate, _page, app = guarded()
    sent = [(b"host", b"localhost"), (b"content-length", length.encode("latin-1"))]
    assert _with_headers(app, sent).status == 413
    assert gate.refused["length"] == 1


def _with_headers(app: Any, headers: list[tuple[bytes, bytes]], **changes: Any) -> Answer:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "headers": headers}, receive, send)

    return send_raw(run, **changes)


@pytest.mark.parametrize("length", ["0", "000000000", "000000001", str(MAX_BODY)])
def test_a_content_length_within_the_limit_is_accepted(length: str) -> None:
    _gate, _page, app = guarded()
    assert send_raw(app, [("content-length", length)]).status == 200


def test_a_content_length_of_nine_digits_exceeds_the_limit() -> None:
    _gate, _page, app = guarded()
    assert send_raw(app, [("content-length", "999999999")]).status == 413
    assert send_raw(app, [("content-length", "0000000001")]).status == 413, "ten digits"


def test_the_application_receives_the_whole_body_once() -> None:
    _gate, page, app = guarded()
    parts: list[Message] = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": b"c"},
        {"type": "http.request", "body": b"never taken"},
    ]
    headers = [("transfer-encoding", "chunked"), JSON]
    assert send_raw(app, headers, parts, method="POST").status == 200
    assert page.received[0] == {"type": "http.request", "body": b"abc", "more_body": False}
    assert page.received[1]["body"] == b"never taken"


def test_without_a_body_the_middleware_receives_nothing() -> None:
    _gate, page, app = guarded()
    first: Message = {"type": "http.request", "body": b"", "more_body": False}
    assert send_raw(app, [("content-length", "0")], [first]).status == 200
    assert page.received[0] is first


def test_an_incomplete_body_is_refused() -> None:
    gate, page, app = guarded()
    parts: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    answer = send_raw(app, [("content-length", "2"), JSON], parts, method="POST")
    assert answer.status == 408 and answer.headers["connection"] == "close"
    assert gate.refused["slow"] == 1 and page.received == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([("content-length", "0")], 200),
        ([("content-length", "1")], 415),
        ([("transfer-encoding", "chunked")], 415),
        ([("content-type", "text/plain")], 415),
        ([("content-type", " application/json ; charset=x"), ("content-length", "1")], 200),
    ],
)
def test_changes_must_be_json_or_empty(headers: list[tuple[str, str]], status: int) -> None:
    _gate, _page, app = guarded()
    assert send_raw(app, headers, method="POST").status == status


# --- responses --------------------------------------------------------------------------------


def test_the_applications_headers_are_kept() -> None:
    _gate, _page, app = guarded()
    answer = ask(app, "GET", "/")
    assert answer.headers["x-own"] == "1" and answer.headers["x-frame-options"] == "DENY"
    assert answer.body == b"page"


def test_a_started_response_is_not_started_again() -> None:
    gate = AccessMiddleware(settings(), {}, still)

    async def refused_late(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise gate_module.Refusal("token")

    assert send_raw(gate.guard(refused_late)).status == 200
    assert gate.refused["token"] == 1

    async def refused(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise gate_module.Refusal("token")

    assert send_raw(gate.guard(refused)).status == 401


def test_a_timeout_before_the_response_is_an_internal_error() -> None:
    gate = AccessMiddleware(settings(), {}, still)

    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        send_raw(gate.guard(slow))

    async def begun(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise TimeoutError

    assert send_raw(gate.guard(begun)).status == 200


def test_a_client_that_does_not_read_its_refusal_is_dropped(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "SEND_SECONDS", 0.01)
    _gate, _page, app = guarded()

    async def never(_message: Message) -> None:
        await asyncio.Event().wait()

    async def deaf(scope: Scope, receive: Receive, _send: Send) -> None:
        await app(scope, receive, never)

    assert send_raw(deaf, [("host", "twice")]).status == 0


def test_other_scopes_pass_unchanged() -> None:
    gate, page, app = guarded()
    send_raw(app, type="lifespan")
    assert page.scopes == ["lifespan"] and gate.requests == 0


# --- WebSockets and the interface for other parts ---------------------------------------------


def open_socket(app: Any, **changes: Any) -> list[Any]:
    said: list[Any] = []

    async def receive() -> Message:
        said.append("received")
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "websocket", "path": "/live", "query_string": b"", "scheme": "ws",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080), **changes,
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return said


def test_a_refused_websocket_is_closed_with_the_reason() -> None:
    gate, page, app = guarded(http_token=TOKEN, http_require_token=True)
    closed = {"type": "websocket.close", "code": 1008, "reason": "token"}
    assert open_socket(app) == ["received", closed]
    assert page.scopes == [] and gate.refused["token"] == 1 and not gate.sockets


def test_websockets_are_counted_per_path() -> None:
    gate = AccessMiddleware(settings(), {}, still)
    inside: list[dict[str, int]] = []

    async def page(scope: Scope, _receive: Receive, _send: Send) -> None:
        inside.append(dict(gate.sockets))
        if scope["path"] == "/live":
            await gate.guard(page)({**scope, "path": "/listen"}, _receive, _send)
            inside.append(dict(gate.sockets))

    open_socket(gate.guard(page))
    assert inside == [{"/live": 1}, {"/live": 1, "/listen": 1}, {"/live": 1}]
    assert dict(gate.sockets) == {} and gate._sockets.total == 0


def test_messages_of_a_websocket_are_limited() -> None:
    gate = AccessMiddleware(settings(), {}, still)
    bucket = gate.bucket()
    assert sum(bucket.take() for _ in range(2000)) == MESSAGES_AT_ONCE


def test_the_middleware_returns_the_pages_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    local = AccessMiddleware(settings(), {}, still)
    assert local.port == 0, "it listens nowhere yet"
    assert local.open(8123) == "" and local.port == 8123
    assert local.url == "http://127.0.0.1:8123" and local.qr == ""
    addresses = {"eth0": [SimpleNamespace(family=2, address="192.168.1.20")]}
    monkeypatch.setattr("psutil.net_if_addrs", lambda: addresses)
    monkeypatch.setattr("psutil.net_if_stats", lambda: {"eth0": SimpleNamespace(isup=True)})
    shared = AccessMiddleware(settings(http_host="0.0.0.0", http_token=TOKEN), {}, still)
    assert f"http://192.168.1.20:8123/?token={TOKEN}" in shared.open(8123)
    assert TOKEN not in shared.url and shared.qr
