"""The load lock: a button that stops music must be held; no click, tap or key stops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.page_server import (
    deck_is,
    listen_to,
    live,
    load,
    music_server,
    ordered,
    ready_page,
    said,
    watch_orders,
)
from tests.support.server import Running, until

EJECT = ".deck[data-deck=A] [data-action=unload]"
STOPPED = "deck A (Night)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Running]:
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        yield running


@pytest.fixture(scope="module")
def shown(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        made.click("#dock [data-tab=library]")
        made.wait_for_selector(".row:has(.first:text-is('Night'))")
        yield made


@pytest.fixture
def page(shown: Page, stage: Running, folder: Path) -> Page:
    """A page while deck A plays; the same track is selected in the library."""
    state = stage.client.status()["deck.A.state"]
    if state == "empty":
        load(stage, folder / "media" / "Night")
    if state != "playing":
        stage.client.send("/deck/A/play", 0.0, 1)
        deck_is(stage, state="playing")
    until(lambda: live(shown, "live.get('deck.A').state") == "playing")
    shown.evaluate("document.activeElement.blur()")
    shown.locator(".row:has(.first:text-is('Night'))").click()
    watch_orders(shown)
    listen_to(shown)
    expect(shown.locator(EJECT)).to_have_attribute("data-stops", STOPPED)
    return shown


def pointer(target: Locator, kind: str, pointer_type: str = "mouse") -> None:
    """Dispatch a pointer event; the speed of real clicks depends on the machine."""
    target.dispatch_event(kind, {"button": 0, "pointerId": 1, "pointerType": pointer_type,
                                 "bubbles": True, "detail": 1})  # fmt: skip


def tap(target: Locator, pointer_type: str = "mouse") -> None:
    """Press, release and click in one task of the page, so that nothing is held."""
    target.evaluate(
        """(element, pointerType) => {
          const about = { button: 0, pointerId: 1, pointerType, bubbles: true, cancelable: true };
          element.dispatchEvent(new PointerEvent("pointerdown", about));
          element.dispatchEvent(new PointerEvent("pointerup", about));
          element.dispatchEvent(new MouseEvent("click", { ...about, detail: 1 }));
        }""",
        pointer_type,
    )


def was_said(page: Page, text: str) -> bool:
    """Whether the text was announced since the test began."""
    return any(text in one for one in said(page))


def still_plays(page: Page) -> bool:
    """Whether no command was sent and deck A plays; earlier commands are done by then."""
    live(page, "live.do('/version')")
    sent = [order[0] for order in ordered(page) if order[0] != "/version"]
    return sent == [] and live(page, "live.get('deck.A').state") == "playing"


@pytest.mark.parametrize("action", ["unload", "load-A"])
def test_a_click_stops_nothing_and_announces_what_it_would_stop(page: Page, action: str) -> None:
    target = page.locator(f"[data-action={action}]").first
    for kind in ("mouse", "touch", "pen"):
        tap(target, kind)
        assert still_plays(page)
    until(lambda: was_said(page, f"stops {STOPPED}: hold the button"))
    expect(page.locator(".note", has_text=STOPPED).first).to_be_visible()
    for name in ("aria-label", "title"):
        assert STOPPED in (target.get_attribute(name) or "")
    expect(target.locator(".lock")).to_be_visible()


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_key_stops_nothing_unless_it_is_held(page: Page, stage: Running, key: str) -> None:
    eject = page.locator(EJECT)
    eject.evaluate(
        """(element, key) => {
          const about = { key, bubbles: true, cancelable: true };
          element.focus();
          element.dispatchEvent(new KeyboardEvent("keydown", about));
          element.dispatchEvent(new KeyboardEvent("keyup", about));
        }""",
        key,
    )
    assert still_plays(page)
    page.keyboard.down(key)
    deck_is(stage, state="empty")
    page.keyboard.up(key)
    assert [order[0] for order in ordered(page) if order[0] != "/version"] == ["/deck/A/unload"]


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_holding_a_locked_button_acts_once(page: Page, stage: Running, kind: str) -> None:
    eject = page.locator(EJECT)
    pointer(eject, "pointerdown", kind)
    expect(eject).to_have_class("button quiet locked holding")
    deck_is(stage, state="empty")
    pointer(eject, "pointerup", kind)
    pointer(eject, "click", kind)
    live(page, "live.do('/version')")
    assert [order[0] for order in ordered(page) if order[0] != "/version"] == ["/deck/A/unload"]
    expect(eject).to_be_disabled()
    expect(eject.locator(".lock")).to_be_hidden()


def test_a_finger_that_leaves_the_button_stops_nothing(page: Page) -> None:
    eject = page.locator(EJECT)
    for end in ("pointerleave", "pointercancel", "blur"):
        eject.evaluate(
            """(element, end) => {
              const about = { button: 0, pointerId: 1, bubbles: true };
              element.dispatchEvent(new PointerEvent("pointerdown", about));
              element.dispatchEvent(new PointerEvent(end, about));
            }""",
            end,
        )
        expect(eject).to_have_class("button quiet locked")
        assert still_plays(page)


def test_a_stalled_page_does_not_turn_a_click_into_a_hold(page: Page) -> None:
    page.locator(EJECT).evaluate(
        """(element) => {
          const about = { button: 0, pointerId: 1, bubbles: true };
          element.dispatchEvent(new PointerEvent("pointerdown", about));
          const end = performance.now() + 1500;
          while (performance.now() < end);
          setTimeout(() => element.dispatchEvent(new PointerEvent("pointerup", about)));
        }"""
    )
    expect(page.locator(EJECT)).to_have_class("button quiet locked")
    assert still_plays(page)


def test_assistive_technology_confirms_with_a_second_click(page: Page, stage: Running) -> None:
    # Like screen readers and voice control: a click without a pointer or key.
    eject = page.locator(EJECT)
    eject.evaluate("(element) => element.click()")
    assert still_plays(page)
    until(lambda: was_said(page, "click again"))
    eject.evaluate("(element) => element.click()")
    deck_is(stage, state="empty")


def test_a_letter_replaces_a_playing_track_only_when_it_is_held(page: Page) -> None:
    number = live(page, "live.get('deck.A').number")
    page.locator(".list").evaluate(
        """(list) => {
          const about = { key: "a", code: "KeyA", bubbles: true, cancelable: true };
          list.focus();
          list.dispatchEvent(new KeyboardEvent("keydown", about));
          list.dispatchEvent(new KeyboardEvent("keyup", about));
        }"""
    )
    assert still_plays(page)
    page.keyboard.down("a")
    until(lambda: live(page, "live.get('deck.A').number") != number)
    page.keyboard.up("a")
    until(lambda: live(page, "live.get('deck.A').state") == "ready")


def test_enter_never_loads_a_playing_deck(page: Page, stage: Running, folder: Path) -> None:
    for letter in "BCD":
        load(stage, folder / "media" / "Night", letter)
        stage.client.send(f"/deck/{letter}/play", 0.0, 1)
        until(lambda letter=letter: live(page, f"live.get('deck.{letter}').state") == "playing")
    page.focus(".list")
    page.keyboard.press("Enter")
    until(lambda: was_said(page, "No free deck"))
    assert still_plays(page)
    stage.client.send("/deck/C/stop")
    until(lambda: live(page, "live.get('deck.C').state") == "ready")
    number = live(page, "live.get('deck.C').number")
    page.keyboard.press("Enter")
    until(lambda: live(page, "live.get('deck.C').number") != number)
    for letter in "BCD":
        stage.client.request(f"/deck/{letter}/unload", answer="/done")


def test_a_dragged_track_replaces_a_playing_one_only_when_held(page: Page) -> None:
    number = live(page, "live.get('deck.A').number")
    row = page.locator(".row:has(.first:text-is('Night'))")
    row.hover()
    page.mouse.down()
    page.mouse.move(300, 800)
    page.evaluate(
        """() => {
          const about = { pointerId: 1, pointerType: "mouse", bubbles: true };
          const at = { ...about, clientX: 300, clientY: 200 };
          dispatchEvent(new PointerEvent("pointermove", at));
          window.noted = document.querySelector(".ghost-note").textContent;
          window.marked = document.querySelector(".deck[data-deck=A]").className;
          dispatchEvent(new PointerEvent("pointerup", at));
        }"""
    )
    page.mouse.up()
    assert page.evaluate("window.noted") == f"hold here: stops {STOPPED}"
    assert page.evaluate("window.marked") == "deck dropping drop-locked"
    assert still_plays(page)
    row.hover()
    page.mouse.down()
    page.mouse.move(300, 200, steps=4)
    expect(page.locator(".ghost-note")).to_have_text(f"release: stops {STOPPED}")
    page.mouse.up()
    until(lambda: live(page, "live.get('deck.A').number") != number)


def test_a_stopped_deck_is_not_locked(page: Page, stage: Running) -> None:
    stage.client.send("/deck/A/brake", 0.03, 0)
    expect(page.locator(EJECT)).not_to_have_attribute("data-stops", STOPPED)
    assert page.locator("[data-action=load-A]").get_attribute("aria-label") == (
        "Load the selected track to deck A"
    )
    page.locator(EJECT).evaluate("(element) => element.click()")
    deck_is(stage, state="empty")


def test_the_buffer_size_changes_only_when_the_button_is_held(page: Page, stage: Running) -> None:
    page.click("#dock [data-tab=health]")
    page.get_by_label("Buffer size in frames").select_option("512")
    change = page.locator("[data-action=buffer-size]")
    tap(change)
    assert still_plays(page)
    until(lambda: was_said(page, f"stops {STOPPED} for up to 100 ms"))
    pointer(change, "pointerdown")
    until(lambda: stage.client.status()["buffer_size"] == 512)
    pointer(change, "pointerup")
    page.click("#dock [data-tab=library]")


def publish_state(running: Running, **state: Any) -> None:
    """Publish a state as the DJ."""
    running.client.send("/dj/state", 1, 1, json.dumps(state))


def test_return_to_dj_shows_the_decks_that_it_stops(page: Page, stage: Running) -> None:
    stage.client.request("/dj/register", "begin", answer="/done")
    page.click("#dock [data-tab=dj]")
    give = page.locator("[data-action=dj-give]")
    # Returning the DJ's own deck stops nothing: its track continues.
    publish_state(stage, persons=["A", "tempo"], now={"deck": "A"}, next={"deck": "B"})
    expect(give).to_be_enabled()
    expect(give).to_have_text("Return to DJ")
    assert "stops" not in (give.get_attribute("aria-label") or "")
    publish_state(stage, persons=["A", "C"], now={"deck": "B"}, next={})
    expect(give).to_have_text("Return to DJstops A")
    tap(give)
    assert still_plays(page)
    until(lambda: was_said(page, STOPPED))
    pointer(give, "pointerdown")
    while True:
        address, values = stage.client.receive()
        if address == "/dj/do":
            break
    assert values[1:] == ["give", "all"]
    stage.client.send("/dj/answer", values[0])
    pointer(give, "pointerup")
    stage.client.send("/dj/register", "end")
    page.click("#dock [data-tab=library]")
