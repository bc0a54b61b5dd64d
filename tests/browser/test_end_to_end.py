"""From the page to the sound: actions in a browser, verified in the recorded mix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import box_of
from tests.support.page_server import ready_page
from tests.support.server import Running, until
from tests.support.stem_music import (
    HEARD,
    LONG_MINUTES,
    QUIET,
    SECONDS,
    TONES,
    MasterCapture,
    canvas,
    deck,
    make_media,
    tone_server,
)

SPAN = 8.0  # seconds that a close-up shows initially
DRUMS, BASS, VOCALS, OTHER = TONES.values()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stage")
    with tone_server(folder, make_media(folder / "media")) as running:
        yield running


@pytest.fixture(scope="module")
def capture(stage: Running) -> Iterator[MasterCapture]:
    with MasterCapture(stage.page()) as made:
        yield made


@pytest.fixture(scope="module")
def opened(browser: Browser, stage: Running) -> Iterator[Page]:
    with ready_page(browser, stage) as made:
        yield made


@pytest.fixture
def page(opened: Page, stage: Running) -> Page:
    """A page with empty decks."""
    for letter in "ABCD":
        stage.client.send(f"/deck/{letter}/unload")
        stage.client.send(f"/deck/{letter}/fx/remove", 1)
    expect(opened.locator(".deck[data-state=empty]")).to_have_count(4)
    return opened


@pytest.fixture
def loaded(page: Page) -> Page:
    """A page with the test tones on deck A."""
    choose(page, "Tones")
    page.click("[data-action=load-A]")
    expect(page.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "ready")
    page.keyboard.press("Escape")  # shows the panes of the decks again
    until(lambda: drawn(page) == 0.0)
    return page


def choose(page: Page, name: str) -> None:
    """Open the library and select a row."""
    page.click("[data-tab=library]")
    page.locator(".library .row", has_text=name).click()


def drawn(page: Page) -> float:
    """Drawn playhead of deck A in seconds; NaN before there is a waveform."""
    return float(page.evaluate(
        "document.querySelector('.deck[data-deck=A] .waveform').waveform?.drawn.position ?? NaN"
    ))  # fmt: skip


def press(page: Page, action: str) -> None:
    page.click(f".deck[data-deck=A] [data-action={action}]")


def test_a_track_is_loaded_played_and_heard(loaded: Page, capture: MasterCapture) -> None:
    expect(loaded.locator(".deck[data-deck=A] .track-title")).to_have_text("Tones")
    capture.wait_for_tones()
    press(loaded, "play")
    capture.wait_for_tones(DRUMS, BASS, VOCALS, OTHER)
    press(loaded, "play")
    capture.wait_for_tones()


def test_a_track_is_dragged_onto_a_deck(page: Page, stage: Running) -> None:
    page.click("[data-tab=library]")
    row = box_of(page.locator(".library .row", has_text="Tones"))
    place = box_of(page.locator(".deck[data-deck=C] .deck-screen"))
    page.mouse.move(row["x"] + 20, row["y"] + row["height"] / 2)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2, steps=5)
    expect(page.locator(".deck[data-deck=C]")).to_have_class("deck dropping")
    page.mouse.up()
    expect(page.locator(".deck[data-deck=C]")).to_have_attribute("data-state", "ready")
    assert stage.client.status()["deck.C.state"] == "ready"
    assert stage.client.status()["deck.B.state"] == "empty"


# Records how much of the file is known and how much is drawn, until it is complete.
LIT = """(rounds) => {
  const wave = document.querySelector(".deck[data-deck=A] .waveform");
  const seen = window.seenLit = [];
  window.allLit = false;
  const look = () => {
    const peaks = wave.waveform?.peaks;
    if (!peaks?.number) return setTimeout(look, 20);
    const canvas = wave.querySelector(".waveform-overview");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let lit = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (Math.max(data[at], data[at + 1], data[at + 2]) > 110) lit += 1;
    }
    seen.push([peaks.ready, lit]);
    window.allLit = peaks.ready >= 1 && seen.length > rounds;
    return window.allLit || setTimeout(look, 20);
  };
  look();
}"""


def test_a_waveform_is_drawn_while_the_file_is_being_read(page: Page) -> None:
    choose(page, "Long")
    page.evaluate(LIT, 5)
    page.click("[data-action=load-A]")
    until(lambda: drawn(page) == 0.0)
    until(lambda: (deck(page) or {}).get("length") == 60 * LONG_MINUTES)
    until(lambda: page.evaluate("allLit"))
    seen = page.evaluate("seenLit")
    whole = seen[-1][1]
    assert whole > 1000
    assert any(0 < ready < 1 and lit > 0.5 * whole for ready, lit in seen), seen[:20]


@pytest.mark.parametrize("name", ["closeup", "overview"])
def test_a_click_seeks(loaded: Page, stage: Running, name: str) -> None:
    stage.client.send("/deck/A/seek", 30.0)
    until(lambda: abs(stage.client.status()["deck.A.position"] - 30.0) < 1e-3)
    until(lambda: abs(drawn(loaded) - 30.0) < 1e-3)
    box = canvas(loaded, name)
    x = round(box["width"] * 0.8)
    loaded.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
    shown = SPAN if name == "closeup" else SECONDS
    begin = 30.0 - SPAN / 2 if name == "closeup" else 0.0
    pixel = shown / box["width"]
    wanted = begin + x * pixel
    until(lambda: abs(stage.client.status()["deck.A.position"] - wanted) <= pixel)


def test_a_drag_sets_a_loop(loaded: Page, stage: Running) -> None:
    press(loaded, "play")
    expect(loaded.locator(".deck[data-deck=A]")).to_have_attribute("data-state", "playing")
    box = canvas(loaded, "overview")
    begin, end = round(box["width"] * 0.5), round(box["width"] * 0.5) + 12
    y = box["y"] + box["height"] / 2
    loaded.mouse.move(box["x"] + begin, y)
    loaded.mouse.down()
    loaded.mouse.move(box["x"] + end, y, steps=4)
    loaded.mouse.up()
    until(lambda: deck(loaded)["loop"])
    pixel = SECONDS / box["width"]
    first, last = deck(loaded)["loop"]
    assert abs(first - begin * pixel) <= pixel
    assert abs(last - end * pixel) <= pixel
    # The playhead enters the loop, stays inside, and wraps: its position falls at least once.
    loaded.mouse.click(box["x"] + (begin + end) / 2, y)
    places: list[float] = []

    def came_round() -> bool:
        places.append(float(stage.client.status()["deck.A.position"]))
        inside = [place for place in places if first <= place <= last]
        return len(inside) > 2 and inside != sorted(inside)

    until(came_round)


def test_mute_and_solo_change_the_audible_stems(
    loaded: Page, browser: Browser, stage: Running, capture: MasterCapture
) -> None:
    press(loaded, "play")
    capture.wait_for_tones(DRUMS, BASS, VOCALS, OTHER)
    names = [stem["name"] for stem in deck(loaded)["stems"]]
    vocals, drums = (names.index(name) + 1 for name in ("vocals", "drums"))
    with ready_page(browser, stage) as other:
        press(loaded, f"mute-{vocals}")
        capture.wait_for_tones(DRUMS, BASS, OTHER)
        button = other.get_by_role("button", name="Deck A vocals mute")
        expect(button).to_have_attribute("aria-pressed", "true")
        button.click()
        capture.wait_for_tones(DRUMS, BASS, VOCALS, OTHER)
        expect(loaded.get_by_role("button", name="Deck A vocals mute")).to_have_attribute(
            "aria-pressed", "false")  # fmt: skip
    press(loaded, f"solo-{drums}")
    capture.wait_for_tones(DRUMS)


def test_an_inserted_effect_is_audible(loaded: Page, capture: MasterCapture) -> None:
    press(loaded, "play")
    names = [stem["name"] for stem in deck(loaded)["stems"]]
    press(loaded, f"solo-{names.index('drums') + 1}")
    until(lambda: capture.has_tones(DRUMS) and capture.level(3 * DRUMS) < QUIET)
    loaded.click(".deck[data-deck=A] [data-tab=effects]")
    press(loaded, "fx-add-drive")
    loaded.get_by_role("slider", name="Deck A effects: drive drive").press("End")
    # A driven tone has odd harmonics.
    until(lambda: capture.level(3 * DRUMS) > 5 * QUIET)
    press(loaded, "fx-on-1")
    until(lambda: capture.level(3 * DRUMS) < QUIET and capture.level(DRUMS) > HEARD)


def test_music_continues_after_a_change_of_the_buffer_size(
    loaded: Page, stage: Running, capture: MasterCapture
) -> None:
    press(loaded, "play")
    capture.wait_for_tones(DRUMS, BASS, VOCALS, OTHER)
    before = stage.client.status()["deck.A.position"]
    loaded.click("[data-tab=health]")
    loaded.get_by_label("Buffer size in frames").select_option("512")
    expect(loaded.locator("#buffer-hint")).to_contain_text("silence")
    loaded.click("[data-action=buffer-size]", delay=1500)
    until(lambda: stage.client.status()["buffer_size"] == 512)
    expect(loaded.locator(".panel-health")).to_contain_text("512 frames")
    capture.wait_for_tones(DRUMS, BASS, VOCALS, OTHER)
    status = stage.client.status()
    assert status["voices"] == 1
    assert status["deck.A.position"] > before
