"""The documentation under `/docs/`, built by Sphinx beside the program."""

from __future__ import annotations

from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from crowdstream.web.resource import read_only, resource

BUILT = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
NOT_BUILT = (
    "The documentation is not built. In the project's folder, run:\n\n"
    "    .venv/bin/pip install -r requirements-docs.txt\n"
    "    .venv/bin/sphinx-build -W docs docs/_build/html\n"
)


def documentation(folder: Path) -> ASGIApp:
    """Serve the pages in `folder` read-only; 404 with instructions while it is empty.

    The folder may be built and deleted while the server runs. Links that lead out of it are not
    followed.
    """
    files = GZipMiddleware(StaticFiles(directory=folder, html=True, check_dir=False))

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        built = (folder / "index.html").is_file()
        app: ASGIApp = files if built else PlainTextResponse(NOT_BUILT, status_code=404)
        await app(scope, receive, send)

    return read_only(serve)


async def _to_the_index(_request: Request) -> Response:
    return RedirectResponse("/docs/")


def routes(folder: Path = BUILT) -> list[BaseRoute]:
    """The routes of the documentation."""
    return [resource("/docs", get=_to_the_index), Mount("/docs", documentation(folder))]
