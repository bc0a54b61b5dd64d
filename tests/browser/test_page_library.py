"""The library panel: browse, search, thousands of rows, loading by drag, key and button."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import NASTY, live, music_server, ready_page
from tests.support.server import Running, until

MANY = 5000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        many = folder / "media" / "Zoo"
        many.mkdir()
        for number in range(MANY):
            os.close(os.open(many / f"animal {number}.wav", os.O_CREAT | os.O_WRONLY))
        yield running


@pytest.fixture(scope="module")
def shown(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        made.click("#dock [data-tab=library]")
        yield made


@pytest.fixture
def page(shown: Page) -> Page:
    shown.click(".crumb >> nth=0")
    shown.wait_for_selector(row(shown, "Night"))
    return shown


def row(page: Page, text: str) -> str:
    return f".row:has(.first:text-is('{text}'))"


def unload(page: Page) -> None:
    for letter in "ABCD":
        if live(page, f"live.get('deck.{letter}').state") != "empty":
            live(page, f"live.order('/deck/{letter}/unload')")
            until(lambda letter=letter: live(page, f"live.get('deck.{letter}').state") == "empty")


def test_rows_show_what_is_known(page: Page) -> None:
    night = page.locator(row(page, "Night"))
    expect(night).to_contain_text("120")
    expect(night).to_contain_text("0:40")
    expect(night.locator(".stem-dots")).to_have_attribute(
        "aria-label", "4 stems: drums, bass, vocals, other")  # fmt: skip
    page.click(".col-head[data-sort=bpm]")
    expect(page.locator(".row").first).to_contain_text("Night")


def test_a_name_that_is_markup_is_text(page: Page) -> None:
    nasty = page.locator(".row", has_text="onerror")
    expect(nasty.locator(".first")).to_have_text(f"{NASTY}.wav")
    nasty.click()
    page.click("[data-action=load-C]")
    expect(page.locator(".deck[data-deck=C] .track-title")).to_have_text(NASTY)
    expect(page.locator(".deck[data-deck=C] .stem-name")).to_have_text(NASTY)
    assert page.locator("img").count() == 0
    page.fill("#library-search", NASTY)
    expect(page.locator(".crumbs")).to_contain_text(NASTY)
    assert page.locator("img").count() == 0
    unload(page)


def test_search_finds_and_folders_open(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("animal 4999")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("Zoo")
    page.fill("#library-search", "")
    page.locator(row(page, "Zoo")).dblclick()
    expect(page.locator(".library-status")).to_contain_text(f"{MANY:,} entries")
    page.locator(".list").press("Backspace")
    expect(page.locator(row(page, "Night"))).to_be_visible()


def test_thousands_of_rows_are_drawn_where_they_are_seen(page: Page) -> None:
    page.locator(row(page, "Zoo")).dblclick()
    expect(page.locator(row(page, "animal 0.wav"))).to_be_visible()
    assert page.locator(".row").count() < 60
    page.focus(".list")
    page.keyboard.press("End")
    expect(page.locator(row(page, f"animal {MANY - 1}.wav"))).to_be_in_viewport()
    assert page.locator(".row").count() < 60
    chosen = page.locator(".row[aria-selected=true]")
    expect(chosen).to_have_attribute("aria-posinset", str(MANY))
    active = page.locator(".list").get_attribute("aria-activedescendant")
    assert chosen.get_attribute("id") == active


def test_loading_by_key_and_by_button(page: Page) -> None:
    page.locator(row(page, "Night")).click()
    page.focus(".list")
    page.keyboard.press("b")
    expect(page.locator(".deck[data-deck=B] .track-title")).to_have_text("Night")
    expect(page.locator(".deck[data-deck=B]")).to_have_attribute("data-state", "ready")
    page.click("[data-action=load-D]")
    expect(page.locator(".deck[data-deck=D]")).to_have_attribute("data-state", "ready")
    unload(page)


def test_loading_by_drag(page: Page) -> None:
    source = page.locator(row(page, "Night"))
    source.hover()
    page.mouse.down()
    page.mouse.move(300, 300, steps=6)
    expect(page.locator(".ghost")).to_have_text("Night")
    expect(page.locator(".deck[data-deck=A]")).to_have_class("deck dropping")
    page.mouse.up()
    expect(page.locator(".ghost")).to_have_count(0)
    expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "ready")
    unload(page)
    source.hover()
    page.mouse.down()
    page.mouse.move(300, 300, steps=6)
    page.keyboard.press("Escape")
    page.mouse.up()
    live(page, "live.do('/version')")  # what was ordered before is done by then
    assert live(page, "live.get('deck.A').state") == "empty"
