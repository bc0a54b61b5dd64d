"""Access control: every HTTP request and WebSocket passes through this middleware first.

It decides once per request and stores the decision in the request's scope. A request that is not
allowed is refused before any other part sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crowdstream import REPORT
from crowdstream.logs.throttle import LineThrottle
from crowdstream.system.network_address import is_loopback, sender_key
from crowdstream.system.text import printable
from crowdstream.system.token_bucket import TokenBucket
from crowdstream.web.auth.failed_attempts import FailedAttempts, way_of
from crowdstream.web.auth.headers import (
    known_host,
    own_names,
    same_origin,
    security_headers,
    without_token,
)
from crowdstream.web.auth.invitation import invitation, page_url, qr_code
from crowdstream.web.auth.limits import (
    BODY_SECONDS,
    MAX_BODY,
    MAX_SOCKETS,
    MAX_SOCKETS_EACH,
    MESSAGES_A_SECOND,
    MESSAGES_AT_ONCE,
    REQUEST_BYTES,
    REQUESTS_A_SECOND,
    REQUESTS_AT_ONCE,
    RESERVED_SOCKETS,
    SEND_SECONDS,
    Count,
    Rank,
    TokenBuckets,
)
from crowdstream.web.auth.token import cookie_value, kept_token

COOKIE_SECONDS = 30 * 86400
ASKING = frozenset({"GET", "HEAD", "OPTIONS"})
PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a forwarded request: behind a proxy the client may be anyone."""
CRASH_SECONDS = 60.0  # between two tracebacks from the same line of code
_VERDICT, _KNOWN = "crowdstream.write", "crowdstream.known"

log = logging.getLogger(__name__)

NEEDED = "the token is required: open the URL that the server printed when it started"
REASONS = {
    "host": (
        421, "not a name of this server: use its address, or add it with --http-allowed-hosts"
    ),
    "origin": (403, "pages of other servers may not do this"),
    "token": (401, NEEDED),
    "proxy": (
        403, "the request came through a proxy, and no token is set: use --http-require-token"
    ),
    "wrong": (401, "wrong token"),
    "failures": (429, "too many wrong tokens: wait"),
    "rate": (429, "too many requests: wait"),
    "sockets": (503, "too many pages are open: close one"),
    "length": (413, f"a request has at most {MAX_BODY} bytes"),
    "slow": (408, "the request did not arrive completely"),
    "upload": (415, "only JSON is accepted"),
    "fault": (500, f"internal error: {REPORT}"),
}
"""HTTP status and text of each reason for a refusal, by the name under which it is counted."""


class Refusal(Exception):
    """The request is refused. `reason`: a key of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccessMiddleware:
    """Decides which requests are allowed. For one event loop.

    `settings`: has `http_host`, `http_token`, `http_require_token`, `http_allowed_hosts` and
    `http_cert`. Changing anything requires the token if one is set, and always if other machines
    can reach the server. With `http_require_token` viewing requires it as well. `refused` counts
    refused requests by the keys of `REASONS`.
    """

    def __init__(
        self,
        settings: Any,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.token_file: Path | None = None
        """File of a generated token; None: not stored, so that the next start generates another."""
        self.token: str = settings.http_token or ""
        if not self.token and (not is_loopback(settings.http_host) or settings.http_require_token):
            self.token, self.token_file = kept_token(environ)
        self._cookie = cookie_value(self.token)
        self._names = own_names(settings.http_allowed_hosts)
        self._requests = TokenBuckets(REQUESTS_A_SECOND, REQUESTS_AT_ONCE, clock)
        self._guesses = FailedAttempts(clock)
        self._sockets = Count(MAX_SOCKETS, MAX_SOCKETS_EACH, RESERVED_SOCKETS)
        self._quiet = LineThrottle(clock, CRASH_SECONDS)
        self.on_authenticated: Callable[[str], None] = lambda _address: None
        """Called with the address of each request that carries the token."""
        self.port = 0
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.requests = 0
        self.sockets: Counter[str] = Counter()
        """Number of open WebSockets by path."""

    # Interface for other parts --------------------------------------------------------------

    def open(self, port: int) -> str:
        """Set the port. Returns the lines that the terminal should print, or an empty string.

        The lines are the page's URLs with the token, if other machines can reach the server.
        """
        self.port = port
        return invitation(self._settings, self.token, port)

    @property
    def url(self) -> str:
        """The page's URL for a browser on this machine, without the token."""
        return page_url(self._settings, port=self.port).rstrip("/")

    @property
    def qr(self) -> str:
        """The URL for phones, with the token, as a QR code for the terminal; may be empty."""
        return qr_code(self._settings, self.token, self.port)

    def may_write(self, connection: HTTPConnection) -> bool:
        """Whether the sender of a request, or the client of a WebSocket, may change anything."""
        return connection.scope.get(_VERDICT) is True

    def bucket(self) -> TokenBucket:
        """A rate limit for the messages of one WebSocket: call `take()` for each."""
        return TokenBucket(MESSAGES_A_SECOND, MESSAGES_AT_ONCE, self._clock)

    def guard(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application in this middleware."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._http(app, scope, receive, send)
            elif scope["type"] == "websocket":
                await self._socket(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return guarded

    # Requests -------------------------------------------------------------------------------

    async def _http(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        headers = _headers(scope)
        host = headers.get("host", "")
        secure = security_headers(host if known_host(host, self._names) else "", scope["path"])
        begun = False
        size = 0

        async def send_on(message: Message) -> None:
            nonlocal begun, size
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *secure]}
            else:
                size += len(message.get("body", b""))
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            token = self._judge(scope, headers)
            if token and scope["method"] in ("GET", "HEAD"):
                await self._welcome(scope, headers, send_on)
                return
            if scope["method"] not in ASKING:
                self._check_write(scope, headers)
            await app(scope, await _whole(headers, receive), send_on)
        except Refusal as refusal:
            self.refused[refusal.reason] += 1
            if not begun:
                await self._refuse(scope, refusal.reason, send_on)
        except TimeoutError:
            # uvicorn closes the connection, since the response is incomplete: the client reads
            # nothing.
            if not begun:
                raise
        except Exception as error:
            self._crashed(scope, error)
            if not begun:
                await self._refuse(scope, "fault", send_on)
        finally:
            self._requests.of(_address(scope)).charge(max(0.0, size / REQUEST_BYTES - 1.0))

    def _crashed(self, scope: Scope, error: Exception) -> None:
        # A client can repeat a request a thousand times: its traceback is logged once a minute.
        self.refused["fault"] += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        line = functools.partial(log.error, exc_info=error)
        self._quiet.log(line, place, "%.80s: internal error",
                        printable(scope["path"]))  # fmt: skip

    def _judge(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        # Returns whether the URL contained the token. Raises Refusal.
        address = _address(scope)
        if not self._requests.of(address).take():
            raise Refusal("rate")
        if not known_host(headers.get("host", ""), self._names):
            raise Refusal("host")
        known, in_url = self._knows(scope, headers, address)
        if known:
            self.on_authenticated(address)
        # Without a token only this machine has access, so a proxy's clients may only view.
        on_this_machine = not self.token and not any(name in headers for name in PASSED_ON)
        scope[_KNOWN], scope[_VERDICT] = known, known or on_this_machine
        if self._settings.http_require_token and not known:
            raise Refusal("token")
        return in_url

    def _knows(self, scope: Scope, headers: Mapping[str, str], address: str) -> tuple[bool, bool]:
        # Whether the token was sent, and whether it was in the URL. Wrong ones count as failures.
        in_url = _query(scope).get("token")
        if not self.token:
            return False, in_url is not None
        bearer = headers.get("authorization", "")
        if bearer[:7].lower() == "bearer ":
            self._check(address, "bearer", bearer[7:].strip(), self.token)
            return True, False
        if in_url is not None:
            way = way_of(headers)
            if way is None:
                raise Refusal("origin")  # for example an image on a page of another site
            self._check(address, way, in_url, self.token)
            return True, True
        cookie = _cookies(headers).get(self._cookie_name(scope))
        if cookie is None:
            return False, False
        right = self._guesses.right(address, "cookie", cookie, self._cookie)
        if right is None:  # treated as no cookie: what everyone may view is not refused
            self.refused["failures"] += 1
        return bool(right), False

    def _check(self, address: str, way: str, given: str, wanted: str) -> None:
        right = self._guesses.right(address, way, given, wanted)
        if not right:
            raise Refusal("failures" if right is None else "wrong")

    def _check_write(self, scope: Scope, headers: Mapping[str, str]) -> None:
        self._check_origin(headers)
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal("origin")
        if not scope[_VERDICT]:
            raise Refusal("token" if self.token else "proxy")
        # A form of another site can be sent without a preflight request; JSON cannot.
        kind = headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/json" and (kind or _has_body(headers)):
            raise Refusal("upload")

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        # Clients other than browsers send no Origin.
        origin = headers.get("origin")
        if origin is not None and not same_origin(origin, headers.get("host", "")):
            raise Refusal("origin")

    def _cookie_name(self, scope: Scope) -> str:
        # Cookies are not separated by port, and one machine may run two servers.
        return f"crowdstream-{(scope.get('server') or ('', 0))[1]}"

    async def _welcome(self, scope: Scope, headers: Mapping[str, str], send: Send) -> None:
        # Exchange the token in the URL for a cookie, and redirect to the URL without it.
        target = without_token(scope["path"], scope["query_string"].decode("latin-1"))
        cookie = (
            f"{self._cookie_name(scope)}={self._cookie}; Path=/; Max-Age={COOKIE_SECONDS};"
            " HttpOnly; SameSite=Strict"
        )
        if scope.get("scheme") == "https":
            cookie += "; Secure"
        made = [(b"cache-control", b"no-store")]
        if self.token:
            made.append((b"set-cookie", cookie.encode("latin-1")))
        place = target.encode("latin-1")
        if self._settings.http_require_token and headers.get("sec-fetch-site") == "cross-site":
            # After a link from another site, browsers withhold a SameSite cookie on a redirect.
            await _answer(send, 200, b"", [*made, (b"refresh", b"0; url=" + place)])
        else:
            await _answer(send, 303, b"", [*made, (b"location", place)])

    async def _refuse(self, scope: Scope, reason: str, send: Send) -> None:
        status, words = REASONS[reason]
        extra = [(b"cache-control", b"no-store"), (b"content-type", b"application/json")]
        if status == 401:
            extra.append((b"www-authenticate", b'Bearer realm="crowdstream"'))
        if status == 429:
            address = _address(scope)
            failed = reason == "failures"
            wait = self._guesses.wait(address) if failed else self._requests.of(address).wait()
            seconds = int(wait) + 1
            extra.append((b"retry-after", str(seconds).encode()))
        if reason in ("length", "slow", "upload"):
            extra.append((b"connection", b"close"))  # the rest of the body is not read
        with contextlib.suppress(TimeoutError):
            await _answer(send, status, json.dumps({"error": words}).encode(), extra)

    # WebSockets -----------------------------------------------------------------------------

    async def _socket(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        headers, address = _headers(scope), _address(scope)
        try:
            self._judge(scope, headers)
            self._check_origin(headers)
            rank = Rank.HOLDER if scope[_KNOWN] else Rank.STRANGER
            if not self._sockets.enter(address, rank):
                raise Refusal("sockets")
        except Refusal as refusal:
            self.refused[refusal.reason] += 1
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason})
            return

        path = scope["path"]
        self.sockets[path] += 1
        try:
            await app(scope, receive, send)
        except Exception as error:
            self._crashed(scope, error)
            with contextlib.suppress(Exception):  # it may be closed already
                await send({"type": "websocket.close", "code": 1011, "reason": "fault"})
        finally:
            self.sockets[path] -= 1
            if not self.sockets[path]:
                del self.sockets[path]
            self._sockets.leave(address)


def _headers(scope: Scope) -> dict[str, str]:
    # Repeated headers, which no browser sends, are joined, and so match no known host or origin.
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return sender_key(client[0]) if client else ""


def _query(scope: Scope) -> dict[str, str]:
    text = scope.get("query_string", b"").decode("latin-1")
    with contextlib.suppress(ValueError):
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=32))
    return {}


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in headers.get("cookie", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _whole(headers: Mapping[str, str], receive: Receive) -> Receive:
    # Read the whole body before the application sees the request. Raises Refusal.
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > 9:
        raise Refusal("length")
    if int(length) > MAX_BODY:
        raise Refusal("length")
    if not _has_body(headers):
        return receive
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal("slow")
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise Refusal("length")
                more = message.get("more_body", False)
    except TimeoutError:
        raise Refusal("slow") from None
    taken = False

    async def receive_on() -> Message:
        nonlocal taken
        if taken:
            return await receive()
        taken = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return receive_on


async def _answer(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
