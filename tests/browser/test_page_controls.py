"""The page's controls: commands, agreement between pages, and held controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import box_of
from tests.support.page_server import (
    deck_is,
    live,
    load,
    music_server,
    ordered,
    ready_page,
    watch_orders,
)
from tests.support.server import Running, until

MOVED = 150
MOVES = """(element, [x, begin, end, count]) => {
  for (let step = 1; step <= count; step += 1) {
    element.dispatchEvent(new PointerEvent("pointermove", {
      pointerId: 1, clientX: x, clientY: begin + (end - begin) * step / count, bubbles: true,
    }));
  }
}"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        yield running


@pytest.fixture(scope="module")
def shown(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        yield made


@pytest.fixture
def page(shown: Page) -> Page:
    until(lambda: live(shown, "live.get('deck.A').state") == "ready")
    watch_orders(shown)
    shown.evaluate("document.activeElement.blur()")
    return shown


def press(page: Page, action: str, deck: str = "A") -> None:
    page.click(f".deck[data-deck={deck}] [data-action={action}]")


def slider(page: Page, label: str) -> Any:
    return page.get_by_role("slider", name=label, exact=True)


def test_play_pause_and_cue(page: Page, stage: Running) -> None:
    press(page, "play")
    deck_is(stage, state="playing")
    until(lambda: live(page, "live.playhead(0).frame") > 4000)
    press(page, "play")
    until(lambda: live(page, "live.now.decks[0][1]") == 0)
    deck_is(stage, state="playing")
    stands = live(page, "live.playhead(0).frame")
    expect(page.get_by_role("button", name="Deck A play")).to_be_visible()
    press(page, "play")
    until(lambda: live(page, "live.playhead(0).frame") > stands + 4000)
    page.dispatch_event(".deck[data-deck=A] [data-action=cue]", "pointerdown",
                        {"button": 0, "pointerId": 1})  # fmt: skip
    deck_is(stage, state="ready", position=0.0)
    assert [order[0] for order in ordered(page)] == [
        "/deck/A/play", "/deck/A/brake", "/deck/A/softstart", "/deck/A/stop",
    ]  # fmt: skip


def test_cue_previews_while_held(page: Page, stage: Running) -> None:
    page.hover(".deck[data-deck=A] [data-action=cue]")
    page.mouse.down()
    deck_is(stage, state="playing")
    page.mouse.up()
    deck_is(stage, state="ready")


def test_keys_play_cue_and_loop_each_deck(page: Page, stage: Running) -> None:
    page.keyboard.press("q")
    deck_is(stage, state="playing")
    page.keyboard.press("z")
    until(lambda: live(page, "live.get('deck.A').loop") is not None)
    page.keyboard.press("Shift+Z")
    until(lambda: abs(live(page, "live.get('deck.A').loop_beats") - 8) < 1e-6)
    page.keyboard.press("z")
    until(lambda: live(page, "live.get('deck.A').loop") is None)
    before = live(page, "live.playhead(0).frame")
    page.keyboard.press("1")
    until(lambda: live(page, "live.playhead(0).frame") > before + 44100)
    page.keyboard.press("a")
    deck_is(stage, state="ready")


def test_knobs_work_by_keyboard_and_reset(page: Page, stage: Running) -> None:
    knob = slider(page, "Deck A EQ low")
    knob.focus()
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    low = float(knob.get_attribute("aria-valuenow"))
    assert low < 0.9 and knob.get_attribute("aria-valuetext").endswith("dB")
    until(lambda: abs(stage.client.status()["deck.A.low"] - low) < 1e-3)
    page.keyboard.press("Delete")
    deck_is(stage, low=1.0)
    expect(knob).to_have_attribute("aria-valuetext", "0.0 dB")


def test_a_drag_is_rate_limited_and_its_last_value_is_sent(page: Page, stage: Running) -> None:
    fader = slider(page, "Deck A level")
    box = box_of(fader)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4 + 8
    page.mouse.move(x, y)
    page.mouse.down()
    # In one script: the timing of real mouse moves depends on the machine.
    fader.evaluate(MOVES, [x, y, y + box["height"] / 2, MOVED])
    page.mouse.up()
    wanted = float(fader.get_attribute("aria-valuenow"))
    assert wanted < 0.5
    until(lambda: abs(stage.client.status()["deck.A.level"] - wanted) < 1e-3)
    sent = page.evaluate("window.sent.filter((one) => one[1] === '/deck/A/level')")
    assert 1 <= len(sent) < MOVED / 10
    assert abs(sent[-1][2] - wanted) < 1e-5
    fader.dblclick()
    deck_is(stage, level=1.0)


def test_a_held_control_ignores_the_servers_value(page: Page, stage: Running) -> None:
    fader = slider(page, "Deck A level")
    box = box_of(fader)
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] / 4 + 8)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=5)
    held = fader.get_attribute("aria-valuenow")
    until(lambda: abs(stage.client.status()["deck.A.level"] - float(held)) < 1e-3)
    stage.client.send("/deck/A/level", 0.125)
    until(lambda: live(page, "live.get('deck.A').level") == 0.125)
    assert fader.get_attribute("aria-valuenow") == held
    page.mouse.up()
    expect(fader).to_have_attribute("aria-valuenow", "0.125")
    stage.client.send("/deck/A/level", 1.0)
    expect(fader).to_have_attribute("aria-valuenow", "1")


def test_stems_and_kills(page: Page, stage: Running) -> None:
    press(page, "mute-2")
    expect(page.get_by_role("button", name="Deck A bass mute")).to_have_attribute(
        "aria-pressed", "true")  # fmt: skip
    assert live(page, "live.get('deck.A').stems[1].mute") == 1
    press(page, "mute-2")
    press(page, "solo-1")
    until(lambda: live(page, "live.get('deck.A').stems[0].solo") == 1)
    press(page, "solo-1")
    press(page, "stem-more-3")
    slider(page, "Deck A vocals EQ high").press("Home")
    until(lambda: live(page, "live.get('deck.A').stems[2].eq[2]") < 0.06)
    slider(page, "Deck A vocals EQ high").press("Delete")
    page.click(".strip[data-deck=A] [data-action=kill-low]")
    deck_is(stage, low=0.0)
    until(lambda: live(page, "live.get('deck.A').kill[0]") == 1)
    page.click(".strip[data-deck=A] [data-action=kill-low]")
    deck_is(stage, low=1.0)


def test_hot_cues_are_set_jumped_to_and_cleared(page: Page, stage: Running) -> None:
    stage.client.send("/deck/A/seek", 5.0)
    until(lambda: live(page, "live.get('deck.A').cue") == 5)
    pad = page.locator(".deck[data-deck=A] [data-action=hotcue-3]")
    # As events: on a busy machine a click may take as long as a hold, which clears the cue.
    pad.dispatch_event("click")
    until(lambda: live(page, "live.get('deck.A').cues['3']") == 5)
    stage.client.send("/deck/A/seek", 0.0)
    until(lambda: live(page, "live.get('deck.A').cue") == 0)
    pad.dispatch_event("click")
    deck_is(stage, position=5.0)
    page.focus(".deck[data-deck=A] [data-action=hotcue-3]")
    page.keyboard.press("Delete")
    deck_is(stage, cues="")
    stage.client.send("/deck/A/seek", 0.0)


def test_effects_are_added_moved_and_removed(page: Page, stage: Running) -> None:
    page.click(".deck[data-deck=A] [data-tab=effects]")
    press(page, "fx-add-echo")
    until(lambda: live(page, "live.get('deck.A').fx[0]?.name") == "echo")
    slider(page, "Deck A effects: echo feedback").press("End")
    until(lambda: abs(live(page, "live.get('deck.A').fx[0].values.feedback") - 0.98) < 1e-3)
    press(page, "fx-right")
    until(lambda: live(page, "live.get('deck.A').fx[1]?.name") == "echo")
    press(page, "fx-on-2")
    until(lambda: live(page, "live.get('deck.A').fx[1].on") == 0)
    press(page, "fx-remove")
    until(lambda: live(page, "live.get('deck.A').fx[1]") is None)


def test_two_pages_show_the_same_state(page: Page, browser: Browser, stage: Running) -> None:
    with ready_page(browser, stage) as other:
        slider(page, "Crossfader").press("End")
        expect(slider(other, "Crossfader")).to_have_attribute("aria-valuenow", "1")
        slider(other, "Crossfader").press("Delete")
        expect(slider(page, "Crossfader")).to_have_attribute("aria-valuenow", "0.5")
        press(other, "keylock")
        expect(page.get_by_role("button", name="Deck A key lock")).to_have_attribute(
            "aria-pressed", "true")  # fmt: skip
        press(page, "keylock")


def test_a_recording_is_started_and_stopped(page: Page, stage: Running) -> None:
    page.click("[data-action=record]")
    expect(page.locator("[data-action=record]")).to_have_attribute("aria-pressed", "true")
    (path,) = live(page, "live.get('recording').files")
    page.click("[data-action=record]")
    expect(page.locator("[data-action=record]")).to_have_attribute("aria-pressed", "false")
    until(Path(path).exists)


def test_a_refused_command_is_announced(page: Page, stage: Running) -> None:
    live(page, "live.order('/deck/B/play')")
    expect(page.locator(".note.bad", has_text="deck B")).to_be_visible()


def test_a_disconnected_page_is_grey_and_reconnects(page: Page, stage: Running) -> None:
    # Everything in one step of the page: it reconnects at any time afterwards.
    banner, refused = live(page, """(new Promise((resolve) => {
      new MutationObserver(async (_changes, observer) => {
        if (document.body.dataset.link !== "lost") return;
        observer.disconnect();
        const refused = live.do("/deck/A/play").then(() => "", (error) => error.message);
        resolve([document.querySelector("#banner").textContent, await refused]);
      }).observe(document.body, { attributeFilter: ["data-link"] });
      live._socket.close();
    }))""")
    assert "No connection" in banner
    assert "not connected" in refused
    expect(page.locator("body")).to_have_attribute("data-link", "open")
    expect(page.locator("#banner")).to_be_hidden()
    stage.client.send("/mix/crossfader", 0.25)
    expect(slider(page, "Crossfader")).to_have_attribute("aria-valuenow", "0.25")
    stage.client.send("/mix/crossfader", 0.5)


def test_the_effect_of_a_new_buffer_size_is_described_before_it_is_set(
    page: Page, stage: Running
) -> None:
    page.keyboard.press("h")
    choice = page.get_by_label("Buffer size in frames")
    choice.select_option("512")
    expect(page.locator("#buffer-hint")).to_contain_text("up to 100 ms of silence")
    assert not ordered(page)
    page.click("[data-action=buffer-size]")
    until(lambda: stage.client.status()["buffer_size"] == 512)
    assert ordered(page) == [["/buffer_size", 512]]
    expect(page.locator("#buffer-hint")).to_contain_text("Current block duration: 11.6 ms")
    page.keyboard.press("Escape")
