"""A view-only page states it, and announces why disabled controls do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import PHONE
from tests.support.page_server import (
    PAGE_SERVER,
    live,
    load,
    make_media,
    ordered,
    ready_page,
    watch_orders,
)
from tests.support.server import Running, server, until

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stage")
    media = make_media(folder / "media")
    options = ("--media-root", str(media), "--http-token", TOKEN)
    with server(folder, *PAGE_SERVER, *options) as running:
        load(running, media / "Night")
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        yield made


def test_view_only_is_shown_and_announced(page: Page) -> None:
    expect(page.locator("#banner")).to_be_visible()
    expect(page.locator("#banner")).to_contain_text("View only")
    expect(page.locator("#link")).to_have_text("View only")
    expect(page.locator("#spoken")).to_contain_text("View only")
    assert page.locator("#spoken").get_attribute("aria-live") == "polite"


def test_only_controls_that_change_something_are_disabled(page: Page) -> None:
    for selector in (
        ".deck[data-deck=A] [data-action=play]", ".deck[data-deck=A] [data-action=mute-1]",
        ".strip[data-deck=A] .fader", ".crossfader", "[data-action=load-A]", "[data-action=record]",
        "[data-action=tap]", ".deck[data-deck=A] [data-action=unload]",
    ):  # fmt: skip
        expect(page.locator(selector).first).to_have_attribute("aria-disabled", "true")
    for selector in ("#help-button", ".listen-button", "[data-tab=health]", "#library-search",
                     ".deck[data-deck=A] [data-tab=effects]", ".dock-fold"):  # fmt: skip
        expect(page.locator(selector).first).not_to_have_attribute("aria-disabled", "true")


def test_disabled_controls_do_nothing_and_announce_why(page: Page) -> None:
    watch_orders(page)
    empty = "document.getElementById('spoken').textContent = ''"
    play = page.locator(".deck[data-deck=A] [data-action=play]")
    fader = page.locator(".strip[data-deck=A] .fader")
    value = fader.get_attribute("aria-valuenow")
    attempts: list[Callable[[], None]] = [
        lambda: play.click(force=True), lambda: play.press("Enter"),
        lambda: fader.press("ArrowDown"), lambda: page.keyboard.press("q"),
    ]  # fmt: skip
    page.evaluate("window.next = performance.now() + 1600")  # repeats are suppressed
    for attempt in attempts:
        until(lambda: page.evaluate("performance.now() > window.next"))
        page.evaluate(empty)
        attempt()
        expect(page.locator("#spoken")).to_contain_text("View only")
        page.evaluate("window.next = performance.now() + 1600")  # repeats are suppressed
    live(page, "live.get('clock')")
    assert ordered(page) == [] and fader.get_attribute("aria-valuenow") == value
    assert live(page, "live.get('deck.A').state") == "ready"


def test_viewing_works(page: Page) -> None:
    page.keyboard.press("l")
    expect(page.locator(".row", has_text="Night")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".panel-library")).to_be_hidden()


def test_a_phone_shows_view_only_until_it_has_the_token(browser: Browser, stage: Running) -> None:
    with ready_page(browser, stage, PHONE) as phone:
        expect(phone.locator("#banner")).to_be_in_viewport()
        phone.goto(f"{stage.page().rstrip('/')}/?token={TOKEN}")
        phone.wait_for_selector("body[data-link=open]")
        expect(phone.locator("#banner")).to_be_hidden()
        marked = ":is(.button, .knob, .fader, select)[aria-disabled=true]"
        assert phone.locator(marked).count() == 0
