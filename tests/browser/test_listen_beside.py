"""Warnings about a second playing tab, and about a computer that is too busy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.listening_page import Site
from tests.support.server import until
from tests.support.tone_desk import ToneDesk

# Runs one module of the worker without the rest of the page.
STALLS = """async (ticks) => {
  const { Stalls } = await import("/page/listen/stall.js");
  const stalls = new Stalls();
  return ticks.map(([now, due]) => {
    stalls.tick(now, due);
    return Math.round(1000 * stalls.longest(now)) / 1000;
  });
}"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ToneDesk() as desk, Site(desk.desk) as made:
        yield made


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    yield made
    made.close()


def tab(context: BrowserContext, site: Site) -> Page:
    """Open the page in another tab of the same browser."""
    page = context.new_page()
    page.goto(site.url)
    until(lambda: page.evaluate("'sound' in globalThis"))
    return page


def listen(page: Page) -> None:
    page.click(".listen-button")
    until(lambda: page.evaluate("globalThis.sound.state") == "playing")


def test_two_tabs_that_play_warn_of_each_other(context: BrowserContext, site: Site) -> None:
    first, second = tab(context, site), tab(context, site)
    listen(first)
    expect(first.locator(".listen-twice")).to_be_hidden()
    listen(second)
    for page in (first, second):
        expect(page.locator(".listen-twice")).to_be_visible()
        warning = page.locator(".listen-twice")
        expect(warning).to_contain_text("Another tab is playing this stream, too")
        assert page.locator(".listen-twice").get_attribute("role") == "alert"
    second.click("text=Mute other tabs")
    until(lambda: first.evaluate("globalThis.sound.state") == "off")
    for page in (first, second):
        expect(page.locator(".listen-twice")).to_be_hidden()
    assert second.evaluate("globalThis.sound.state") == "playing"
    listen(first)
    expect(second.locator(".listen-twice")).to_be_visible()
    first.close()
    expect(second.locator(".listen-twice")).to_be_hidden()


def test_stalls_are_measured_by_the_computers_own_timer(
    context: BrowserContext, site: Site
) -> None:
    page = tab(context, site)
    found: list[Any] = page.evaluate(STALLS, [
        [1.0, 1.0], [1.25, 1.2], [2.6, 1.4], [3.0, 2.8], [5.0, 5.0], [6.5, 6.5],
    ])  # fmt: skip
    # A slightly late timer is no stall; 1.2 s is one, and explains gaps for 3 s.
    assert found == [0, 0, 1.2, 1.2, 1.2, 0]


def test_a_busy_computer_is_not_reported_as_a_slow_connection(
    context: BrowserContext, site: Site
) -> None:
    page = tab(context, site)
    listen(page)
    # A report of the worker: two gaps followed stalls of the computer, one did not.
    page.evaluate(
        """() => {
          const { sound } = globalThis;
          sound.onMessage({ state: "playing", reading: {
            ...sound.reading, gaps: 3, here: 2, held: 0.9,
          } });
          window.shown = [...document.querySelectorAll(".listen-note")]
            .filter((one) => !one.hidden).map((one) => one.textContent).join(" ");
          window.gaps = document.querySelector(".listen-facts").textContent;
        }"""
    )
    shown = page.evaluate("window.shown")
    assert "too busy" in shown and "connection is not the cause" in shown
    assert "3 (2 by this computer, 1 by the network)" in page.evaluate("window.gaps")
