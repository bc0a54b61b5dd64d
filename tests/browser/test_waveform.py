"""Waveforms in a real browser: drawing, gestures and playhead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page

from tests.support.waveform_app import LATENCY, WaveformApp, empty_deck, track
from tests.support.waveform_canvas import (
    GRID,
    SECONDS,
    lit,
    mean_colour,
    settle,
    show,
    sizes,
    until,
)

RATE = 44100
WIDE = 800  # CSS pixels of the close-up, which shows 8 s: 100 pixels per second
EDGE = 12  # CSS pixels around the page


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two stems: 20 s of silence, then a low and a high tone."""
    folder = tmp_path_factory.mktemp("sounds")
    at = np.arange(int(SECONDS * RATE)) / RATE
    paths = []
    for name, hertz in (("bass", 60.0), ("drums", 8000.0)):
        sound = 0.8 * np.sin(2 * np.pi * hertz * at) * (at >= 20)
        paths.append(folder / f"{name}.wav")
        soundfile.write(paths[-1], np.stack([sound, sound], 1), RATE)
    return paths


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WaveformApp]:
    with WaveformApp(tmp_path_factory.mktemp("cache")) as made:
        yield made


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": WIDE + 2 * EDGE, "height": 600})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, app: WaveformApp) -> Iterator[Page]:
    """The page, reloaded for each test."""
    made = context.pages[0] if context.pages else context.new_page()
    errors: list[str] = []

    def on_error(error: Error) -> None:
        errors.append(str(error))

    def on_console(said: ConsoleMessage) -> None:
        if said.type == "error":
            errors.append(said.text)

    made.on("pageerror", on_error)
    made.on("console", on_console)
    app.done.clear()
    app.show(A=empty_deck())
    app.move(0, 0.0)
    made.goto(app.url)
    until(lambda: made.evaluate("window.waveforms && live.get('deck.A') && true"))
    yield made
    made.remove_listener("pageerror", on_error)
    made.remove_listener("console", on_console)
    assert [one for one in errors if "404" not in one] == []


def test_sound_is_drawn_and_silence_is_not(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 20.0)
    show(app, page, 101, sounds)
    close, over = sizes(page)
    lane = (close - 14) / 2
    for stem in range(2):
        middle = 14 + (stem + 0.5) * lane
        assert lit(page, "closeup", 120, middle - 15, 240, 30) < 0.2  # only beat lines and the name
        assert lit(page, "closeup", 440, middle - 15, 320, 30) > 0.6
    assert lit(page, "overview", 20, over / 2, 300, over / 3) < 0.2
    assert lit(page, "overview", 450, over / 2, 300, over / 3) > 0.8
    # To the pixel: the tone starts at the playhead.
    assert lit(page, "closeup", 390, 14 + lane / 2 - 15, 5, 30) < 0.3
    assert lit(page, "closeup", 406, 14 + lane / 2 - 15, 8, 30) > 0.5


def test_bass_is_dark_and_hats_are_pale(app: WaveformApp, page: Page, sounds: list[Path]) -> None:
    app.move(0, 30.0)
    show(app, page, 102, sounds)
    lane = (sizes(page)[0] - 14) / 2
    low = mean_colour(page, 500, round(14 + lane / 2 - 8), 200, 16)
    high = mean_colour(page, 500, round(14 + 1.5 * lane - 8), 200, 16)
    assert sum(high) > 1.6 * sum(low)


def test_a_muted_stem_is_dim(app: WaveformApp, page: Page, sounds: list[Path]) -> None:
    app.move(0, 30.0)
    show(app, page, 103, sounds)
    lane = (sizes(page)[0] - 14) / 2
    place = 500, round(14 + 1.5 * lane - 8), 200, 16
    loud = sum(mean_colour(page, *place))
    deck = app.picture["deck.A"]
    app.show(A=deck | {"stems": [deck["stems"][0], deck["stems"][1] | {"mute": 1}]})
    until(lambda: sum(mean_colour(page, *place)) < 0.45 * loud)
    app.show(A=deck | {"stems": [deck["stems"][0], deck["stems"][1] | {"solo": 1}]})
    until(lambda: sum(mean_colour(page, *place)) > 0.9 * loud)


def test_a_click_seeks_to_its_position(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 20.0)
    show(app, page, 104, sounds)
    close, over = sizes(page)
    page.mouse.click(EDGE + 550, EDGE + close / 2)
    page.mouse.click(EDGE + 200, EDGE + close + 2 + over / 2)
    until(lambda: len(app.done) == 2)
    (one, near), (other, far) = app.done
    assert one == other == "/deck/A/seek"
    assert near == pytest.approx(21.5, abs=0.01)
    assert far == pytest.approx(SECONDS * 200 / WIDE, abs=0.05)


def test_a_drag_loops_and_snaps_to_the_quantum(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 20.0)
    show(app, page, 105, sounds)
    y = EDGE + sizes(page)[0] / 2

    def drag(begin: int, end: int) -> list[Any]:
        app.done.clear()
        page.mouse.move(EDGE + begin, y)
        page.mouse.down()
        page.mouse.move(EDGE + (begin + end) / 2, y)
        page.mouse.move(EDGE + end, y)
        selected = page.evaluate("waveforms[0]._selection")
        page.mouse.up()
        until(lambda: app.done)
        assert app.done[0][1:] == pytest.approx(selected, abs=0.011)
        return app.done[0]

    address, begin, end = drag(512, 637)
    assert address == "/deck/A/loop/set"
    assert (begin, end) == (pytest.approx(21.12, abs=0.011), pytest.approx(22.37, abs=0.011))
    app.show(A=app.picture["deck.A"] | {"quantize": 1.0})
    until(lambda: page.evaluate("waveforms[0]._deck.quantize === 1"))
    assert drag(637, 512)[1:] == pytest.approx([21.0, 22.5])
    app.show(A=app.picture["deck.A"] | {"loop": [21.0, 22.5]})
    until(lambda: page.evaluate("waveforms[0]._selection === null"))
    green = mean_colour(page, 512, 4, 100, 6)
    assert green[1] > 1.3 * green[0]
    page.mouse.move(EDGE + 300, y)
    page.mouse.down()
    page.mouse.move(EDGE + 400, y)
    page.locator("#deck-A .waveform-overview").focus()
    app.done.clear()
    page.keyboard.press("Escape")
    page.mouse.up()
    page.keyboard.press("Enter")
    until(lambda: app.done)
    assert app.done == [["/deck/A/loop/exit"]]


def test_the_wheel_zooms_around_the_playhead(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 20.0)
    show(app, page, 106, sounds)
    close = sizes(page)[0]
    page.mouse.move(EDGE + 300, EDGE + close / 2)
    page.mouse.wheel(0, -300)
    until(lambda: page.evaluate("waveforms[0].span < 6"))
    span = page.evaluate("waveforms[0].span")
    settle(page)
    lane = (close - 14) / 2
    second = WIDE / span
    assert lit(page, "closeup", 406, 14 + lane / 2 - 15, min(380, second), 30) > 0.5
    assert lit(page, "closeup", 395 - second / 2, 14 + lane / 2 - 15, second / 2, 30) < 0.25
    for _ in range(12):
        page.mouse.wheel(0, 300)
    until(lambda: page.evaluate("waveforms[0].span > 40"))
    for _ in range(20):
        page.mouse.wheel(0, -300)
    until(lambda: page.evaluate("waveforms[0].span === 0.25"))


def test_pinching_zooms(app: WaveformApp, page: Page, sounds: list[Path]) -> None:
    show(app, page, 107, sounds)
    page.evaluate(
        """() => {
          const canvas = document.querySelector("#deck-A .waveform-closeup");
          canvas.setPointerCapture = () => {};
          const tell = (type, pointerId, clientX) => canvas.dispatchEvent(new PointerEvent(type,
            { pointerId, clientX, clientY: 80, button: 0, bubbles: true, pointerType: "touch" }));
          tell("pointerdown", 11, 300); tell("pointerdown", 12, 400);
          tell("pointermove", 11, 250); tell("pointermove", 12, 450);
          tell("pointerup", 11, 250); tell("pointerup", 12, 450);
        }"""
    )
    assert page.evaluate("waveforms[0].span") == pytest.approx(4.0)
    assert app.done == []


def test_keys_move_by_beats_and_the_position_is_described(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 20.0)
    show(app, page, 108, sounds)
    slider = page.get_by_role("slider", name="Deck A: position")
    until(lambda: slider.get_attribute("aria-valuetext") == "0:20 of 0:40")
    slider.focus()
    for key in ("ArrowRight", "Shift+ArrowLeft", "PageUp", "Home", "Enter"):
        page.keyboard.press(key)
    until(lambda: len(app.done) == 5)
    assert app.done == [
        ["/deck/A/seek", 20.5], ["/deck/A/seek", 18], ["/deck/A/seek", 28], ["/deck/A/seek", 0],
        ["/deck/A/loop", 4],
    ]  # fmt: skip
    page.keyboard.press("+")
    assert page.evaluate("waveforms[0].span") < 8


def test_the_playhead_follows_the_audible_sound(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 10.0)
    show(app, page, 109, sounds, state="playing")
    app.move(0, 10.0, 1.0)
    until(lambda: page.evaluate("live.playhead(0).playing"))
    off: list[float] = []
    seen: set[float] = set()

    def looked() -> bool:
        # The server's time of the latest frame, and the position drawn in it.
        drawn = page.evaluate(
            "({ at: waveforms[0].drawn.time / 1000 + live.clock() - performance.now() / 1000,"
            " position: waveforms[0].drawn.position, time: waveforms[0].drawn.time })"
        )
        if drawn["time"] not in seen:
            seen.add(drawn["time"])
            off.append(drawn["position"] - app.position(0, drawn["at"] - LATENCY))
        return len(off) >= 40 and drawn["position"] > 10.5

    until(looked)
    # A frame's time is that of its start; the position is computed slightly later, and on a busy
    # machine much later: so the promptest frames count.
    promptest = sorted(off)[: len(off) // 4]
    assert abs(float(np.median(promptest))) < 1 / 60


def test_known_tiles_stay_when_a_request_fails(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 22.0)
    show(app, page, 112, sounds)
    asked = page.evaluate_handle("({ count: 0 })")
    page.evaluate(
        """(asked) => {
          const { fetch } = window;
          window.fetch = (url) => (/waves.*key=/.test(url) ? asked.count++ : 0,
            /waves.*key=/.test(url) ? Promise.reject(new TypeError("away")) : fetch(url));
          for (const tile of waveforms[0].peaks._tiles.values()) {
            Object.assign(tile, { exact: false, ready: 0.5 });
          }
          waveforms[0]._overview.refresh();
          waveforms[0]._closeup.strips.clear();
          waveforms[0].redraw();
        }""",
        asked,
    )
    until(lambda: asked.evaluate("(asked) => asked.count"))
    settle(page)
    assert lit(page, "overview", 0.55 * WIDE, sizes(page)[1] / 2, 200, 4) > 0.8


def test_an_outdated_response_is_ignored(
    app: WaveformApp, page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.full((RATE, 2), 0.5), RATE)
    page.evaluate(
        """() => {
          const { fetch } = window;
          window.delivered = false;
          window.fetch = async (url) => {
            const answer = await fetch(url);
            if (!/waves.113$/.test(url) || !answer.ok) return answer;
            const about = await answer.json();
            const pause = () => new Promise((one) => setTimeout(one, 20));
            while (waveforms[0].peaks.ready !== 1) await pause();
            for (const stem of about.stems) stem.ready = 0.5;
            setTimeout(() => { window.delivered = true; }, 100);
            return new Response(JSON.stringify(about));
          };
        }"""
    )
    app.show(A=track(113, [path], 1.0))
    until(lambda: page.evaluate("delivered"))
    assert page.evaluate("waveforms[0].peaks.ready") == 1


def test_a_first_part_is_drawn_before_the_rest(
    app: WaveformApp, page: Page, tmp_path: Path
) -> None:
    size = 3600 * RATE * 4
    head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\2\0"
    head += RATE.to_bytes(4, "little") + (RATE * 4).to_bytes(4, "little") + b"\4\0\x10\0data"
    path = tmp_path / "hour.wav"
    with path.open("wb") as file:
        file.write(head + size.to_bytes(4, "little"))
        file.truncate(44 + size)
        for third in range(3):
            file.seek(44 + third * RATE * 4 * 1200)
            file.write(np.tile(np.array([20000, -20000], "<i2"), RATE * 200).tobytes())
    page.evaluate("window.loadedAt = 0; window.firstTile = 0")
    app.show(A=track(110, [path], 3600.0))
    until(lambda: page.evaluate("window.firstTile"))
    first = page.evaluate("[firstTile - loadedAt, readyThen]")
    print(f"first picture {first[0]:.0f} ms after the load")
    assert first[1] < 0.5
    until(lambda: page.evaluate("waveforms[0].peaks.ready === 1"))
    settle(page)
    over = sizes(page)[1]
    minute = WIDE / 60
    for third in range(3):
        begin = third * 20 * minute
        assert lit(page, "overview", begin + 8, over / 2, 2.5 * minute, over / 3) > 0.8
        assert lit(page, "overview", begin + 6 * minute, over / 2, 100, over / 3) < 0.2


def test_unloading_a_track_clears_its_waveform(
    app: WaveformApp, page: Page, sounds: list[Path]
) -> None:
    app.move(0, 30.0)
    show(app, page, 111, sounds)
    assert lit(page, "closeup", 420, 20, 300, 60) > 0.3
    app.show(A={"state": "empty", "number": 0, "stems": [], "length": 0.0})
    until(lambda: lit(page, "closeup", 420, 20, 300, 60) < 0.01)
    assert page.get_by_role("slider").first.get_attribute("aria-disabled") == "true"


def test_a_track_that_has_the_number_of_an_earlier_one_replaces_its_waveform(
    app: WaveformApp, page: Page, sounds: list[Path], tmp_path: Path
) -> None:
    # A server that has restarted counts its tracks from 1 again.
    at = np.arange(int(SECONDS * RATE)) / RATE
    others = [tmp_path / path.name for path in sounds]
    for path in others:
        soundfile.write(path, 0.8 * np.sin(2 * np.pi * 60.0 * at), RATE)
    app.move(0, 10.0)
    show(app, page, 112, sounds)
    place = 440, 14 + (sizes(page)[0] - 14) / 4 - 15, 320, 30
    assert lit(page, "closeup", *place) < 0.2
    app.show(A=track(112, others, SECONDS, grid=GRID))
    until(lambda: lit(page, "closeup", *place) > 0.6)
