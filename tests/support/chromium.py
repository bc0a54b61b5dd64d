"""Headless Chromium: its path, its start, and pages in separate contexts.

Importing this module does not need playwright; its functions do.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, BrowserType, FloatRect, Locator, Page

# The headless shell is the same browser without windows and profiles: it takes less of a core.
_NAMES = ("chromium-headless-shell", "chromium")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), "/usr/bin/chromium")
# The last three keep Chromium from connecting to hosts unrelated to the page.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 120_000.0  # timeout of all waits; generous, because the machine may be busy
CALM = Path(__file__).with_name("pages") / "calm.js"
WIDE, PHONE = {"width": 1600, "height": 900}, {"width": 400, "height": 850}


def launch_chromium(chromium: BrowserType, *flags: str) -> Browser:
    """Start Chromium with `FLAGS` and additional `flags`. The caller closes it."""
    return chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


def box_of(element: Locator) -> FloatRect:
    """Return the position of an element once it is shown: pages redraw lists as they change.

    Raises `AssertionError` if it is not shown within `WAIT_MS`.
    """
    box = None
    deadline = time.monotonic() + WAIT_MS / 1000
    while box is None and time.monotonic() < deadline:
        element.wait_for(timeout=WAIT_MS)
        box = element.bounding_box()
    assert box, f"{element} is not shown"
    return box


def new_context(browser: Browser, moving: bool = False, **options: Any) -> BrowserContext:
    """Create a separate browser context (own cookies, own storage) with the timeout `WAIT_MS`.

    Its pages draw a few times per second and without transitions, see `calm.js`; with `moving`,
    they draw as often as the display.
    """
    if not moving:
        options.setdefault("reduced_motion", "reduce")
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    if not moving:
        context.add_init_script(path=CALM)
    return context


class open_page:
    """Context manager for a page in a separate browser context, see `new_context`.

    On exit it fails if a script of the page has raised an error.
    """

    def __init__(
        self, browser: Browser, url: str, size: dict[str, int] | None = None, moving: bool = False
    ) -> None:
        self._context = new_context(browser, moving, viewport=size or WIDE)
        self._url = url
        self.errors: list[str] = []

    def __enter__(self) -> Page:
        page = self._context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self._url)
        return page

    def __exit__(self, *_: object) -> None:
        self._context.close()
        assert not self.errors
