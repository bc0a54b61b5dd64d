"""HTTP methods: every path answers OPTIONS and refuses undeclared methods in the same way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]

_NO_STORE = {"Cache-Control": "no-store"}


def not_handled(method: str, allowed: Iterable[str]) -> Response | None:
    """The response to OPTIONS or to a method without a handler; None if the method has a handler.

    `allowed`: the methods with a handler, in capitals. GET includes HEAD.
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
    # An ASGI application and not a function, so that Starlette's router lets all methods pass.
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

    `missing(request)` returns a response for every method if the path names nothing, else None.
    """
    return Route(path, _Resource({name.upper(): one for name, one in handlers.items()}, missing))


def read_only(app: ASGIApp) -> ASGIApp:
    """Restrict an application, such as static files, to GET, HEAD and OPTIONS."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        refused = not_handled(scope["method"], ("GET",)) if scope["type"] == "http" else None
        await (refused or app)(scope, receive, send)

    return limited
