"""Pages of a running server in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.server import Running, server

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Without the last ones Chromium looks for hosts that have nothing to do with the page.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = {"width": 1600, "height": 900}, {"width": 400, "height": 850}


# Without a graphics card a page takes most of a core: what is waited for comes, but when?
LONGEST_TEST = 400  # seconds
expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests more time than others have."""
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST_TEST))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield made
        made.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A server on the built-in clock, with its page on a free port."""
    with server(tmp_path, "--http", "--driver", "null", "--buffer-size", "256") as made:
        yield made


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """The page of that server on a wide screen; an error in its code fails the test."""
    with open_page(browser, running.page()) as made:
        yield made


class open_page:
    """A page in a context of its own: other cookies, other storage. A context manager."""

    def __init__(self, browser: Browser, url: str, size: dict[str, int] | None = None) -> None:
        self._context = browser.new_context(viewport=size or WIDE)  # type: ignore[arg-type]
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
