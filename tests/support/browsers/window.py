"""A window of any browser, with the operations of the tests that run in all browsers."""

from __future__ import annotations

import time
from typing import Any, Protocol

from playwright.sync_api import Page

from tests.support.chromium import WAIT_MS


class Window(Protocol):
    """A page in a window of some browser."""

    name: str

    def open(self, url: str) -> None:
        """Load a page as if the window were new."""

    def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport, in CSS pixels."""

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression as JSON; promises are awaited.

        Raises `ScriptError`.
        """


class ScriptError(RuntimeError):
    """A test's script failed in the page."""


class ChromiumWindow:
    """A page of playwright as a `Window`."""

    name = "chromium"

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        """Load a page."""
        self._page.goto(url)

    def resize(self, width: int, height: int) -> None:
        """Resize the viewport."""
        self._page.set_viewport_size({"width": width, "height": height})

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._page.evaluate(f"async () => ({expression})")


def wait_for(window: Window, expression: str, seconds: float = WAIT_MS / 1000) -> None:
    """Wait until an expression is true in the page. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not window.evaluate(f"Boolean({expression})"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{window.name}: {expression}")
        time.sleep(0.1)
