"""The pads panel: samples are loaded from the library and played, announcements are queued."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_server import listen_to, music_server, ready_page, said
from tests.support.server import Running, until


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with music_server(tmp_path_factory.mktemp("pads")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, music: Running) -> Iterator[Page]:
    with ready_page(browser, music) as made:
        yield made


def select_track(page: Page, name: str) -> None:
    """Select a track in the library, then show the pads."""
    page.click("#dock [data-tab=library]")
    page.locator(".row", has_text=name).first.click()
    page.click("#dock [data-tab=pads]")


def test_a_sample_is_loaded_played_looped_and_unloaded(page: Page, music: Running) -> None:
    page.click("#dock [data-tab=pads]")
    pad, card = page.locator("[data-action=sample-2]"), page.locator(".sample").nth(1)
    expect(pad).to_be_disabled()
    listen_to(page)
    select_track(page, "Night")
    page.click("[data-action=sample-load-2]")
    expect(pad).to_be_enabled()
    expect(pad).to_have_text("2Night")
    until(lambda: "Night is loaded to sample 2" in said(page))
    pad.click()
    expect(card).to_have_attribute("data-state", "playing")
    assert music.client.status()["samples"] == 1
    loop = page.get_by_role("button", name="Loop sample 2")
    loop.click()
    expect(loop).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Stop sample 2").click()
    expect(card).to_have_attribute("data-state", "ready")
    page.get_by_role("button", name="Unload sample 2").click()
    expect(pad).to_be_disabled()
    expect(loop).to_have_attribute("aria-pressed", "true")


def drag_to_pad(page: Page, name: str, number: int) -> None:
    """Drag a row of the library onto the tab of the pads, and from there onto a pad."""
    page.click("#dock [data-tab=library]")
    page.locator(".row", has_text=name).first.hover()
    page.mouse.down()
    tab = page.locator("#dock [data-tab=pads]").bounding_box()
    assert tab is not None
    page.mouse.move(tab["x"] + 5, tab["y"] + 5, steps=4)
    expect(page.locator(".ghost")).to_contain_text(name)
    expect(page.locator(".panel-pads")).to_be_visible()  # the tab opens under the held track
    card = page.locator(f".sample[data-pad='{number}']")
    card.scroll_into_view_if_needed()
    box = card.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20, steps=4)
    expect(card).to_have_class("sample dropping")


def test_a_track_is_dragged_onto_a_pad(page: Page, music: Running) -> None:
    drag_to_pad(page, "Night", 3)
    page.mouse.up()
    expect(page.locator(".ghost")).to_have_count(0)
    pad = page.locator("[data-action=sample-3]")
    expect(pad).to_be_enabled()
    expect(pad).to_have_text("3Night")
    expect(page.locator(".sample.dropping")).to_have_count(0)
    music.client.request("/sample/3/unload", answer="/done")


def test_a_drag_that_is_cancelled_over_a_pad_loads_nothing(page: Page, music: Running) -> None:
    drag_to_pad(page, "Night", 4)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator(".ghost")).to_have_count(0)
    page.evaluate("async () => (await import('/page/live.js')).live.do('/version')")
    assert pad_value(page, 4, "track") == ""


def test_a_playing_pad_is_replaced_only_by_a_track_that_is_held(
    page: Page, music: Running
) -> None:
    listen_to(page)
    drag_to_pad(page, "Night", 6)
    page.mouse.up()
    pad, card = page.locator("[data-action=sample-6]"), page.locator(".sample[data-pad='6']")
    expect(pad).to_be_enabled()
    page.get_by_role("button", name="Loop sample 6").click()
    pad.click()
    expect(card).to_have_attribute("data-state", "playing")
    page.click("#dock [data-tab=library]")
    row = page.locator(".row", has_text="Night").first
    row.hover()
    page.mouse.down()
    tab = page.locator("#dock [data-tab=pads]").bounding_box()
    assert tab is not None
    page.mouse.move(tab["x"] + 5, tab["y"] + 5, steps=4)
    expect(page.locator(".panel-pads")).to_be_visible()
    card.scroll_into_view_if_needed()
    box = card.bounding_box()
    assert box is not None
    page.evaluate(
        """([x, y]) => {
          const at = { pointerId: 1, pointerType: "mouse", bubbles: true, clientX: x, clientY: y };
          dispatchEvent(new PointerEvent("pointermove", at));
          window.noted = document.querySelector(".ghost-note").textContent;
          dispatchEvent(new PointerEvent("pointerup", at));
        }""", [box["x"] + 20, box["y"] + 20],
    )
    page.mouse.up()
    assert page.evaluate("window.noted") == "hold here: stops Night"
    until(lambda: "Hold the track over sample 6: it stops Night" in said(page))
    expect(card).to_have_attribute("data-state", "playing")
    music.client.request("/sample/6/unload", answer="/done")


def test_the_settings_of_a_pad_follow_the_server_in_both_directions(
    page: Page, music: Running
) -> None:
    page.click("#dock [data-tab=pads]")
    quantum = page.get_by_label("Quantize sample 5")
    output = page.get_by_label("Output of sample 5")
    level = page.get_by_role("slider", name="Level of sample 5")
    for name, value in (("quantize", "bar"), ("output", "cue"), ("level", 0.0)):
        music.client.send(f"/sample/5/{name}", value)
    expect(quantum).to_have_value("bar")
    expect(output).to_have_value("cue")
    expect(level).to_have_attribute("aria-valuetext", "−∞ dB")
    quantum.select_option("Q beat")
    output.select_option("Both")
    level.press("End")
    for name, value in (("quantize", 1.0), ("output", "both"), ("level", 4.0)):
        until(lambda name=name, value=value: pad_value(page, 5, name) == value)


def pad_value(page: Page, number: int, name: str) -> object:
    return page.evaluate(
        "async ([number, name]) => (await import('/page/live.js'))"
        ".live.get('samples')[number - 1][name]", [number, name],
    )


def test_announcements_are_queued_skipped_and_cleared(page: Page, music: Running) -> None:
    select_track(page, "Night")
    text = page.locator(".announcement")
    expect(text).to_have_text("No announcement")
    skip = page.get_by_role("button", name="Skip the current announcement")
    clear = page.get_by_role("button", name="End all announcements")
    expect(skip).to_be_disabled()
    for _ in range(3):
        page.get_by_role("button", name="Announce the file").click()
    expect(text).to_have_text("Announcement: Night · 2 waiting: Night, Night")
    skip.click()
    expect(text).to_have_text("Announcement: Night · 1 waiting: Night")
    clear.click()
    expect(text).to_have_text("No announcement")
    assert music.client.status()["announcements"] == 0


def test_a_pad_whose_file_cannot_be_read_says_so(page: Page, tmp_path: Path) -> None:
    page.click("#dock [data-tab=pads]")
    listen_to(page)
    page.evaluate(
        "async (path) => { const { live } = await import('/page/live.js');"
        " live.order('/sample/3/load', path); }", str(tmp_path / "missing.wav"),
    )
    until(lambda: any("missing.wav" in one for one in said(page)))
    expect(page.locator("[data-action=sample-3]")).to_be_disabled()
