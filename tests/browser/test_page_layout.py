"""Where things are, in every size of window: in it, not over each other, and large enough."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import box_of
from tests.support.page_server import deck_is, load, music_server
from tests.support.screens import SCREENS, Screen, measured, page_on, views_of
from tests.support.server import Running

MIN_TARGET = 24  # CSS pixels, WCAG 2.2 AA (2.5.8)
MIN_TOUCH = 44  # of what fingers press on the decks, in one direction at least
MIN_POPOVER = 260
LONG = "Without HTTPS browsers lend no sound thread to a page. " * 4


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose deck A plays, with an effect, a loop, a hot cue, a kill and a mute."""
    folder = tmp_path_factory.mktemp("stage")
    with music_server(folder) as running:
        load(running, folder / "media" / "Night")
        for address, *arguments in (
            ("/deck/A/fx/insert", 1, "echo"), ("/deck/A/hotcue/set", 1), ("/deck/A/kill", "low", 1),
            ("/deck/A/stem/2/mute", 1), ("/deck/A/play",), ("/deck/A/loop", 4.0),
        ):  # fmt: skip
            running.client.send(address, *arguments)
        deck_is(running, state="playing")
        yield running


@pytest.fixture(scope="module", params=SCREENS)
def shown(
    request: pytest.FixtureRequest, browser: Browser, stage: Running
) -> Iterator[tuple[Page, Screen]]:
    """The page in each of the windows."""
    screen = SCREENS[request.param]
    with page_on(browser, stage, screen) as page:
        yield page, screen


def faults(page: Page) -> dict[str, list[str]]:
    """What is wrong with the layout as it is now."""
    found = {
        "over each other": measured(page, "overlaps()"),
        "out of reach": measured(page, "hidden()"),
        "too small": measured(page, f"smallerThan({MIN_TARGET})"),
        "cut off": measured(page, "clipped()"),
    }
    return {what: controls for what, controls in found.items() if controls}


def test_every_control_can_be_reached_in_every_view(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    for view in views_of(page, screen):
        assert len(measured(page, "controls().map(measure.name)")) > 8, view
        assert faults(page) == {}, view
        assert page.evaluate("document.documentElement.scrollWidth") <= screen.width, view


def test_effects_and_folds_of_stems_have_room(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    deck = page.locator(".deck[data-deck=A]")
    if screen.small:
        page.locator(".view[data-view=A]").evaluate("one => one.click()")
    deck.locator("[data-action=stem-more-1]").evaluate("one => one.click()")
    expect(deck.locator(".stem-fold").first).to_be_visible()
    assert faults(page) == {}
    deck.locator("[data-action=stem-more-1]").evaluate("one => one.click()")
    deck.locator("[data-tab=effects]").evaluate("one => one.click()")
    expect(deck.locator("[data-action=fx-remove]")).to_be_visible()
    assert faults(page) == {}
    deck.locator("[data-action=fx-slot-2]").evaluate("one => one.click()")
    expect(deck.locator(".fx-offer").first).to_be_visible()
    assert faults(page) == {}
    deck.locator("[data-action=fx-slot-1]").evaluate("one => one.click()")
    deck.locator("[data-tab=stems]").evaluate("one => one.click()")


def test_the_header_has_room_while_it_records_and_listens(shown: tuple[Page, Screen]) -> None:
    page, _screen = shown
    for text in ("Listening", "Listen"):
        page.locator(".listen-button").evaluate("(one, text) => { one.textContent = text; }", text)
        page.evaluate(
            "(text) => { document.querySelector('.record').append("
            " Object.assign(document.createElement('b'), { id: 'long', textContent: text })); }",
            "1:02:03",
        )
        assert faults(page) == {}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("document.getElementById('long').remove()")


@pytest.mark.parametrize("fold", ["clock-more", "listen-more"])
def test_what_folds_out_is_wide_enough_and_in_the_window(
    shown: tuple[Page, Screen], fold: str
) -> None:
    page, _screen = shown
    popover = page.locator(f".{fold} .popover")
    page.evaluate("""(text) => {
      for (const note of document.querySelectorAll('.listen-note')) {
        note.hidden = false;
        note.textContent = text;
      }
    }""", LONG)  # fmt: skip
    page.locator(f".{fold} > summary").click()
    assert box_of(popover)["width"] >= MIN_POPOVER
    assert measured(page, f"outside('.{fold} .popover')") == []
    # What is longer than the window is high scrolls in it.
    inside = f".{fold} .popover :is(input, select, button, .listen-note)"
    for one in page.locator(inside).all():
        if one.is_visible():
            one.scroll_into_view_if_needed()
            expect(one).to_be_in_viewport()
            box = box_of(one)
            assert box["width"] >= MIN_TARGET
            assert box["x"] + box["width"] <= box_of(popover)["x"] + box_of(popover)["width"]
    assert {key: value for key, value in faults(page).items() if key != "out of reach"} == {}
    page.locator(f".{fold} > summary").click()
    expect(popover).to_be_hidden()


def test_help_fits_and_closes(shown: tuple[Page, Screen]) -> None:
    page, _screen = shown
    page.locator("#help-button").click()
    assert measured(page, "outside('#help')") == []
    page.get_by_role("button", name="Close the help").click()
    expect(page.locator("#help")).to_be_hidden()


def test_play_and_cue_stay_in_sight_where_one_view_is_shown(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    if not screen.small:
        return
    page.locator(".view[data-view=A]").evaluate("one => one.click()")
    for scrolled in (0, 1_000_000):
        page.evaluate(f"scrollTo(0, {scrolled})")
        for action in ("cue", "play", "sync"):
            one = page.locator(f".deck[data-deck=A] [data-action={action}]")
            expect(one).to_be_in_viewport(ratio=1)
            box = box_of(one)
            assert box["width"] >= MIN_TOUCH and box["height"] >= MIN_TOUCH, (action, box)
    page.evaluate("scrollTo(0, 0)")


def test_a_phone_held_sideways_shows_one_deck_to_its_pads(browser: Browser, stage: Running) -> None:
    with page_on(browser, stage, SCREENS["844x390"]) as page:
        page.locator(".view[data-view=A]").click()
        for part in (".deck-head", ".waveform", ".deck-loops", ".pads", ".deck-tempo .fader"):
            expect(page.locator(f".deck[data-deck=A] {part}")).to_be_in_viewport(ratio=1)
        for view in page.locator(".view").all():
            expect(view).to_be_in_viewport(ratio=1)
            assert box_of(view)["height"] >= 43
        expect(page.locator(".deck[data-deck=B]")).to_be_hidden()
        # Turned upright and back the same view is shown.
        page.set_viewport_size({"width": 390, "height": 844})
        expect(page.locator(".deck[data-deck=A] [data-action=play]")).to_be_in_viewport(ratio=1)
        page.set_viewport_size({"width": 844, "height": 390})
        expect(page.locator(".deck[data-deck=A] [data-action=play]")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("name", [name for name, screen in SCREENS.items() if screen.touch])
def test_fingers_find_what_they_press_on_a_deck(
    browser: Browser, stage: Running, name: str
) -> None:
    screen = SCREENS[name]
    with page_on(browser, stage, screen) as page:
        if screen.small:
            page.locator(".view[data-view=A]").evaluate("one => one.click()")
        assert page.evaluate("matchMedia('(pointer: coarse)').matches")
        low = page.evaluate(
            "(least) => [...document.querySelectorAll('.deck[data-deck=A] :is(button, select),"
            " .strip[data-deck=A] :is(button, select), .top :is(button, summary)')].filter((one) =>"
            " one.checkVisibility() && one.getBoundingClientRect().height < least)"
            ".map(measure.name)",
            MIN_TOUCH,
        )
        assert low == []
        for view in page.locator(".view").all():
            if screen.small:
                assert box_of(view)["height"] >= min(MIN_TOUCH, screen.height // 9)
