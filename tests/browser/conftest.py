"""Pages of a running server in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chromium import WAIT_MS, launch_chromium, open_page
from tests.support.page_server import PAGE_SERVER
from tests.support.server import Running, server

# Without a graphics card a page takes most of a core: waits end, but late.
MAX_TEST_SECONDS = 900  # seconds
expect.set_options(timeout=WAIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests a longer time limit."""
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(MAX_TEST_SECONDS))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium.

    Not for the whole session: while it is open an event loop runs in this thread, and other tests
    of the same worker could run none of their own.
    """
    with sync_playwright() as playwright:
        made = launch_chromium(playwright.chromium)
        yield made
        made.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A server on the built-in clock, with its page on a free port."""
    with server(tmp_path, *PAGE_SERVER) as made:
        yield made


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """The page of that server on a wide screen; an error in its code fails the test."""
    with open_page(browser, running.page()) as made:
        yield made
