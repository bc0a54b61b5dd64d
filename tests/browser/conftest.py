"""Pages of a running server in headless Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
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


# Chromium and playwright's driver take more than a second of a core to start and to end.
_open = contextlib.ExitStack()
_browser: Browser | None = None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, the same for consecutive modules of this folder; see `FileScheduling`."""
    global _browser
    if _browser is None or not _browser.is_connected():
        _open.close()
        playwright = _open.enter_context(sync_playwright())
        _browser = launch_chromium(playwright.chromium)
        _open.callback(_browser.close)
    yield _browser
    for context in _browser.contexts:
        context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End Chromium before a test of another folder.

    While it is open an event loop runs in this thread, and other tests of the same worker could run
    none of their own.
    """
    global _browser
    try:
        return (yield)
    finally:
        if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
            _browser = None
            _open.close()


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
