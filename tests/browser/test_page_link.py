"""Ableton Link on the page: its mode, starts and stops, and state.

Link itself is not enabled: it would search the network for peers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import music_server, ordered, ready_page, watch_orders
from tests.support.server import Running


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with music_server(tmp_path_factory.mktemp("link")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, music: Running) -> Iterator[Page]:
    with ready_page(browser, music) as made:
        made.click(".clock-more summary")
        yield made


def test_the_mode_is_chosen_and_link_enabled(page: Page) -> None:
    mode = page.locator("[data-action=link-mode]")
    expect(mode).to_have_value("off")
    page.evaluate(
        "async () => { const { live } = await import('/page/live.js');"
        " window.sent = []; live.send = (message) => { if (message.do)"
        " window.sent.push([0, ...message.do.slice(1)]); return true; }; }"
    )
    mode.select_option("leader")
    mode.select_option("off")
    assert ordered(page) == [["/link/mode", "leader"], ["/link/enable", 1], ["/link/enable", 0]]


def test_starts_and_stops_keep_the_chosen_decks(page: Page, music: Running) -> None:
    button = page.locator("[data-action=link-startstop]")
    music.client.send("/link/startstop", 1, "BC")
    expect(button).to_have_attribute("aria-pressed", "true")
    watch_orders(page)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert ordered(page) == [["/link/startstop", 0, "BC"]]
