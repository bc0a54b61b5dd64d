"""Layout in every window size: inside the window, no overlaps, large enough."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import box_of
from tests.support.fake_portaudio import Device
from tests.support.live_portaudio import install
from tests.support.page_server import deck_is, load, music_server
from tests.support.screens import (
    MIN_TARGET,
    SCREENS,
    Pages,
    Screen,
    click,
    layout,
    measured,
    views_of,
)
from tests.support.server import Running

MIN_TOUCH = 44  # CSS pixels in at least one direction, for deck controls
MIN_POPOVER = 260
MICROPHONE = Device("Microphone", ch=0, inputs=1)
SMALL = [name for name, screen in SCREENS.items() if screen.small]
TOUCHED = [name for name, screen in SCREENS.items() if screen.touch]
LONG = "Without HTTPS browsers lend no sound thread to a page. " * 4


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose deck A plays, with an effect, a loop, a hot cue, a kill and a mute."""
    folder = tmp_path_factory.mktemp("stage")
    _cards, env = install(folder, [MICROPHONE])
    with music_server(folder, "--input", MICROPHONE.name, env=env) as running:
        load(running, folder / "media" / "Night")
        for address, *arguments in (
            ("/deck/A/fx/insert", 1, "echo"), ("/deck/A/hotcue/set", 1), ("/deck/A/kill", "low", 1),
            ("/deck/A/stem/2/mute", 1), ("/deck/A/play",), ("/deck/A/loop", 4.0),
        ):  # fmt: skip
            running.client.send(address, *arguments)
        deck_is(running, state="playing")
        yield running


@pytest.fixture(scope="module")
def pages(browser: Browser, stage: Running) -> Iterator[Pages]:
    with Pages(browser, stage) as made:
        yield made


@pytest.fixture(scope="module", params=SCREENS)
def shown(request: pytest.FixtureRequest, pages: Pages) -> tuple[Page, Screen]:
    """The page in each window size."""
    screen = SCREENS[request.param]
    return pages.show(screen), screen


def test_every_control_can_be_reached_in_every_view(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    faults = {}
    for view in views_of(page, screen):
        found = layout(page)
        assert found["controls"] > 8, view
        assert found["width"] <= screen.width, view
        faults[view] = found["faults"]
    assert {view: found for view, found in faults.items() if found} == {}


def test_effects_and_stem_details_fit(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    deck = ".deck[data-deck=A]"
    if screen.small:
        click(page, ".view[data-view=A]")
    click(page, f"{deck} [data-action=stem-more-1]")
    expect(page.locator(f"{deck} .stem-fold").first).to_be_visible()
    assert layout(page)["faults"] == {}
    click(page, f"{deck} [data-action=stem-more-1]")
    click(page, f"{deck} [data-tab=effects]")
    expect(page.locator(f"{deck} [data-action=fx-remove]")).to_be_visible()
    assert layout(page)["faults"] == {}
    click(page, f"{deck} [data-action=fx-slot-2]")
    expect(page.locator(f"{deck} .fx-offer").first).to_be_visible()
    assert layout(page)["faults"] == {}
    click(page, f"{deck} [data-action=fx-slot-1]")
    click(page, f"{deck} [data-tab=stems]")


# Runs in one task of the page: the next report restores the recording state.
BUSY_HEADER = """(least) => {
  const long = Object.assign(document.createElement("b"), { textContent: "1:02:03" });
  document.querySelector(".record").append(long);
  const button = document.querySelector(".listen-button");
  const before = [...button.childNodes];
  const found = {};
  for (const text of ["Listening", "Listen"]) {
    button.textContent = text;
    found[text] = measure.layout(least);
  }
  button.replaceChildren(...before);
  long.remove();
  return found;
}"""


def test_the_header_fits_while_recording_and_streaming(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    for text, found in page.evaluate(BUSY_HEADER, MIN_TARGET).items():
        assert found["faults"] == {}, text
        assert found["width"] <= screen.width, text


# Scrolls to each control of a popover, and checks that it is inside the window and the popover.
FOLDED = """([fold, least]) => {
  const popover = document.querySelector(`.${fold} .popover`);
  const inside = (box, around) => box.left >= around.left - 0.5 && box.top >= around.top - 0.5
    && box.right <= around.right + 0.5 && box.bottom <= around.bottom + 0.5;
  const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  const wrong = [];
  let count = 0;
  for (const one of popover.querySelectorAll("input, select, button, .listen-note")) {
    if (!one.checkVisibility({ visibilityProperty: true })) continue;
    count += 1;
    one.scrollIntoView({ block: "nearest", behavior: "instant" });
    const box = one.getBoundingClientRect();
    const around = popover.getBoundingClientRect();
    const fits = box.width >= least && box.right <= around.right && inside(box, screen);
    if (!fits) wrong.push(measure.name(one));
  }
  return { count, wrong, width: popover.getBoundingClientRect().width,
    outside: measure.outside(`.${fold} .popover`), faults: measure.layout(least).faults };
}"""


@pytest.mark.parametrize("fold", ["clock-more", "listen-more"])
def test_popovers_are_wide_enough_and_inside_the_window(
    shown: tuple[Page, Screen], fold: str
) -> None:
    page, _screen = shown
    page.evaluate("""(text) => {
      for (const note of document.querySelectorAll('.listen-note')) {
        note.hidden = false;
        note.textContent = text;
      }
    }""", LONG)  # fmt: skip
    page.locator(f".{fold} > summary").click()
    expect(page.locator(f".{fold} .popover")).to_be_visible()
    found = page.evaluate(FOLDED, [fold, MIN_TARGET])
    assert found["width"] >= MIN_POPOVER and found["outside"] == []
    # Popovers that are taller than the window scroll.
    assert found["count"] > 0 and found["wrong"] == []
    found["faults"].pop("out of reach", None)  # controls below the popover
    assert found["faults"] == {}
    page.locator(f".{fold} > summary").click()
    expect(page.locator(f".{fold} .popover")).to_be_hidden()


def test_help_fits_and_closes(shown: tuple[Page, Screen]) -> None:
    page, _screen = shown
    page.locator("#help-button").click()
    expect(page.locator("#help")).to_be_visible()
    assert measured(page, "outside('#help')") == []
    page.get_by_role("button", name="Close the help").click()
    expect(page.locator("#help")).to_be_hidden()


@pytest.mark.parametrize("shown", SMALL, indirect=True)
def test_play_and_cue_stay_visible_in_single_view_layouts(shown: tuple[Page, Screen]) -> None:
    page, _screen = shown
    click(page, ".view[data-view=A]")
    for scrolled in (0, 1_000_000):
        page.evaluate(f"scrollTo(0, {scrolled})")
        for action in ("cue", "play", "sync"):
            one = page.locator(f".deck[data-deck=A] [data-action={action}]")
            expect(one).to_be_in_viewport(ratio=1)
            box = box_of(one)
            assert box["width"] >= MIN_TOUCH and box["height"] >= MIN_TOUCH, (action, box)
    page.evaluate("scrollTo(0, 0)")


LOW = """(least) => [...document.querySelectorAll(".deck[data-deck=A] :is(button, select),"
  + " .strip[data-deck=A] :is(button, select), .top :is(button, summary)")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < least)
  .map(measure.name)"""


@pytest.mark.parametrize("shown", TOUCHED, indirect=True)
def test_deck_controls_are_large_enough_for_fingers(shown: tuple[Page, Screen]) -> None:
    page, screen = shown
    if screen.small:
        click(page, ".view[data-view=A]")
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    assert page.evaluate(LOW, MIN_TOUCH) == []
    for view in page.locator(".view").all():
        if screen.small:
            assert box_of(view)["height"] >= MIN_TOUCH


@pytest.mark.parametrize("shown", ["844x390"], indirect=True)
def test_a_phone_in_landscape_shows_a_deck_down_to_its_pads(
    shown: tuple[Page, Screen], pages: Pages
) -> None:
    page, _screen = shown
    page.locator(".view[data-view=A]").click()
    for part in (".deck-head", ".waveform", ".deck-loops", ".pads", ".deck-tempo .fader"):
        expect(page.locator(f".deck[data-deck=A] {part}")).to_be_in_viewport(ratio=1)
    for view in page.locator(".view").all():
        expect(view).to_be_in_viewport(ratio=1)
        assert box_of(view)["height"] >= MIN_TOUCH
        assert box_of(view)["width"] >= MIN_TOUCH
    expect(page.locator(".deck[data-deck=B]")).to_be_hidden()
    # After rotating the phone and back, the same view is shown.
    pages.show(SCREENS["390x844"])
    expect(page.locator(".deck[data-deck=A] [data-action=play]")).to_be_in_viewport(ratio=1)
    pages.show(SCREENS["844x390"])
    expect(page.locator(".deck[data-deck=A] [data-action=play]")).to_be_in_viewport(ratio=1)
