"""HTTP methods: every address answers OPTIONS, and refuses undeclared methods, in one way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]

_NO_STORE = {"Cache-Control": "no-store"}


def not_handled(method: str, allowed: Iterable[str]) -> Response | None:
    """The answer to OPTIONS or to a method that is not allowed; None: the method is handled.

    `allowed`: methods with a handler, in capitals; HEAD goes with GET.
    """
    methods = dict.fromkeys(allowed)
    if "GET" in methods:
        methods["HEAD"] = None
    if method in methods:
        return None
    allow = ", ".join([*methods, "OPTIONS"])
    headers = {**_NO_STORE, "Allow": allow}
    if method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    return JSONResponse({"error": f"{method[:20]} is not allowed here: {allow}"}, 405, headers)


class _Resource:
    # An ASGI application, so that the router leaves the methods to it.
    def __init__(
        self, handlers: dict[str, Handler], missing: Callable[[Request], Response | None]
    ) -> None:
        self._handlers = handlers
        self._missing = missing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = self._missing(request) or not_handled(request.method, self._handlers)
        if response is None:
            name = "GET" if request.method == "HEAD" else request.method
            response = await self._handlers[name](request)
        await response(scope, receive, send)


def _present(_request: Request) -> Response | None:
    return None


def resource(
    path: str, *, missing: Callable[[Request], Response | None] = _present, **handlers: Handler
) -> Route:
    """A route with a handler for each of its methods: `resource("/x", get=..., post=...)`.

    `missing(request)`: the answer, whatever the method, where the path names nothing; else None.
    """
    return Route(path, _Resource({name.upper(): one for name, one in handlers.items()}, missing))


def read_only(app: ASGIApp) -> ASGIApp:
    """An application that is only read, as files are."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        refused = not_handled(scope["method"], ("GET",)) if scope["type"] == "http" else None
        await (refused or app)(scope, receive, send)

    return limited
