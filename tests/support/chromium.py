"""Chromium without a window: where it is, how it is started, and pages in contexts of their own.

Importing this module needs no playwright; calling its functions does.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType, FloatRect, Locator, Page

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# The last three keep Chromium from connecting to hosts that have nothing to do with the page.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 120_000.0  # for anything: no more than a bound, the machine may have much to do
WIDE, PHONE = {"width": 1600, "height": 900}, {"width": 400, "height": 850}


def launch_chromium(chromium: BrowserType, *flags: str) -> Browser:
    """Start Chromium with `FLAGS` and further `flags`. The caller closes it."""
    return chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


def box_of(element: Locator) -> FloatRect:
    """Where an element is on the screen, once it is shown: pages draw lists again as they change.

    Raises `AssertionError` when it is not shown within `WAIT_MS`.
    """
    box = None
    deadline = time.monotonic() + WAIT_MS / 1000
    while box is None and time.monotonic() < deadline:
        element.wait_for(timeout=WAIT_MS)
        box = element.bounding_box()
    assert box, f"{element} is not shown"
    return box


class open_page:
    """A page in a browser context of its own (own cookies, own storage). A context manager.

    At its end it fails if a script of the page has raised an error.
    """

    def __init__(self, browser: Browser, url: str, size: dict[str, int] | None = None) -> None:
        self._context = browser.new_context(viewport=size or WIDE)  # type: ignore[arg-type]
        self._url = url
        self.errors: list[str] = []

    def __enter__(self) -> Page:
        self._context.set_default_timeout(WAIT_MS)
        page = self._context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self._url)
        return page

    def __exit__(self, *_: object) -> None:
        self._context.close()
        assert not self.errors
