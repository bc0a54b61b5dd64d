"""The modules of the page in a browser, without a CrowdStream server."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Browser, Page

from crowdstream.web.app import PAGE


class Quiet(SimpleHTTPRequestHandler):
    """Serves the page's files without logging."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def page_modules(browser: Browser) -> Iterator[Page]:
    """Open a page without scripts, of a server that has the page's files at its root."""
    handler = functools.partial(Quiet, directory=PAGE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/table.js")
        yield page
        context.close()
        server.shutdown()


@contextmanager
def module_scripts(browser: Browser, head: str) -> Iterator[Callable[[str], Any]]:
    """Yield `run(script)`, which evaluates a script after `head`, each time in a new document."""
    with page_modules(browser) as page:

        def run(script: str) -> Any:
            page.reload()
            return page.evaluate(f"async () => {{ {head} {script} }}")

        yield run
