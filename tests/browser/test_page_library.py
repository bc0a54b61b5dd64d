"""The library panel: browse, search, thousands of rows, loading by drag, key and button."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import (
    NASTY,
    listen_to,
    live,
    music_server,
    ready_page,
    said,
)
from tests.support.server import Running, until

MANY = 2000


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


def click(page: Page, name: str, pointer: str, times: int = 1) -> None:
    """Click on a row as soon as it is shown, with a mouse or by touch.

    In one script: the interval of real clicks depends on the machine, and while tags are being
    read, a row that has been found may be replaced before it is clicked.
    """
    page.wait_for_function(
        """([name, pointerType, times]) => {
          const named = (one) => one.textContent === name;
          for (let n = 0; n < times; n += 1) {
            const found = [...document.querySelectorAll(".row .first")].find(named);
            if (!found) return false;
            found.dispatchEvent(new PointerEvent("click", { bubbles: true, pointerType }));
          }
          return true;
        }""",
        arg=[name, pointer, times],
    )


def unload(page: Page) -> None:
    for letter in "ABCD":
        if live(page, f"live.get('deck.{letter}').state") != "empty":
            live(page, f"live.order('/deck/{letter}/unload')")
            until(lambda letter=letter: live(page, f"live.get('deck.{letter}').state") == "empty")


def test_rows_show_known_tags(page: Page) -> None:
    night = page.locator(row(page, "Night"))
    expect(night).to_contain_text("120")
    expect(night).to_contain_text("0:40")
    expect(night.locator(".stem-dots")).to_have_attribute(
        "aria-label", "4 stems: drums, bass, vocals, other")  # fmt: skip
    page.click(".col-head[data-sort=bpm]")
    expect(page.locator(".row").first).to_contain_text("Night")


def test_markup_in_a_name_is_shown_as_text(page: Page) -> None:
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


def test_search_and_opening_folders(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type(f"animal {MANY - 1}")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("Zoo")
    page.fill("#library-search", "")
    page.locator(row(page, "Zoo")).dblclick()
    expect(page.locator(".library-status")).to_contain_text(f"{MANY:,} entries")
    page.locator(".list").press("Backspace")
    expect(page.locator(row(page, "Night"))).to_be_visible()


def test_only_visible_rows_are_drawn(page: Page) -> None:
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


@pytest.mark.parametrize("name", ["Night", f"{NASTY}.wav"])
@pytest.mark.parametrize("way", ["double click", "Enter"])
def test_double_click_and_enter_load_any_file(page: Page, name: str, way: str) -> None:
    chosen = page.locator(row(page, name))
    if way == "Enter":
        chosen.click()
        page.focus(".list")
        page.keyboard.press("Enter")
    else:
        click(page, name, "mouse", 2)
    expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "ready")
    title = page.locator(".deck[data-deck=A] .track-title")
    expect(title).to_have_text(name.removesuffix(".wav"))
    for letter in "BCD":
        expect(page.locator(f".deck[data-deck={letter}]")).to_have_attribute("data-state", "empty")
    unload(page)


def test_successive_loads_use_different_decks(page: Page) -> None:
    page.locator(row(page, "Night")).click()
    page.focus(".list")
    for _ in range(3):
        page.keyboard.press("Enter")
    for letter in "ABC":
        expect(page.locator(f".deck[data-deck={letter}]")).to_have_attribute("data-state", "ready")
    unload(page)


def test_a_load_is_announced_when_it_succeeds_or_fails(page: Page, stage: Running) -> None:
    listen_to(page)
    page.locator(row(page, "Night")).click()
    page.click("[data-action=load-A]")
    until(lambda: "Night is loaded to deck A" in said(page))
    until(lambda: live(page, "live.get('deck.A').state") == "ready")
    mine = [one for one in said(page) if "Night" in one]
    assert mine == ["Loading Night to deck A …", "Night is loaded to deck A"]
    # An invalid file is never announced as loaded.
    page.click(row(page, "Zoo"))
    page.locator(".list").press("Enter")
    page.locator(row(page, "animal 0.wav")).click()
    page.click("[data-action=load-B]")
    failed = "animal 0.wav is not loaded to deck B: "
    until(lambda: any(one.startswith(failed) for one in said(page)))
    expect(page.locator(".note.bad", has_text="animal 0.wav").first).to_be_visible()
    assert not any("animal 0.wav is loaded" in one for one in said(page))
    unload(page)


def test_keys_work_inside_the_library(page: Page) -> None:
    page.locator(row(page, "Night")).click()
    page.click("[data-action=load-A]")
    expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "ready")
    for place in (".list", ".col-head[data-sort=name]", "[data-action=load-B]", ".crumb >> nth=0"):
        page.focus(place)
        page.keyboard.press("q")
        until(lambda: live(page, "live.get('deck.A').state") == "playing")
        page.keyboard.press("Escape")
        expect(page.locator(".panel-library")).to_be_hidden()
        page.keyboard.press("q")  # pauses
        until(lambda: live(page, "live.get('deck.A').spin") == 0)
        live(page, "live.do('/deck/A/stop')")
        until(lambda: live(page, "live.get('deck.A').state") == "ready")
        page.keyboard.press("l")
        expect(page.locator(".list")).to_be_focused()
    unload(page)


def test_arrow_keys_select_from_anywhere_in_the_library(page: Page) -> None:
    chosen = page.locator(".row[aria-selected=true]")
    for place in (".col-head[data-sort=name]", "[data-action=load-D]", "#library-search"):
        page.focus(".list")
        page.keyboard.press("Home")
        expect(chosen).to_have_attribute("aria-posinset", "1")
        page.focus(place)
        page.keyboard.press("ArrowDown")
        expect(page.locator(".list")).to_be_focused()
        page.keyboard.press("ArrowDown")
        moved = 1 + (1 if place == "#library-search" else 2)
        expect(chosen).to_have_attribute("aria-posinset", str(moved))


def test_escape_clears_the_search_and_then_closes(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type(f"animal {MANY - 1}")
    page.keyboard.press("Enter")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".list")).to_be_focused()
    page.focus("#library-search")
    page.keyboard.press("Escape")
    expect(page.locator("#library-search")).to_have_value("")
    expect(page.locator(row(page, "Night"))).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".panel-library")).to_be_hidden()
    page.keyboard.press("l")


def test_search_by_tempo(page: Page) -> None:
    for text, count in (("118-122", 1), ("120", 1), ("bpm:120 night", 1), ("121-125 night", 0)):
        page.fill("#library-search", text)
        page.press("#library-search", "Enter")
        expect(page.locator(".crumbs")).to_contain_text(text)
        expect(page.locator(row(page, "Night"))).to_have_count(count)
    page.fill("#library-search", "")


def test_a_tap_opens_a_folder_or_selects_a_track(page: Page) -> None:
    click(page, "Night", "touch")
    expect(page.locator(".row[aria-selected=true]")).to_contain_text("Night")
    live(page, "live.do('/version')")
    assert live(page, "live.get('deck.A').state") == "empty"
    click(page, "Zoo", "mouse")
    click(page, "Zoo", "touch")  # also one that was selected before
    expect(page.locator(".library-status")).to_contain_text(f"{MANY:,} entries")


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
    live(page, "live.do('/version')")  # earlier commands are done by then
    assert live(page, "live.get('deck.A').state") == "empty"
