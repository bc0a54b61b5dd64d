"""The audio stream in a real browser: the output of its audio graph is measured.

Chromium is started without a flag that would let a page sound by itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from playwright.sync_api import Browser, Page

from crowdstream.desk.constants import TAP_CUE, TAP_MASTER
from crowdstream.desk.snapshot import read_callback
from tests.support.chromium import launch_chromium
from tests.support.listening_page import (
    BLOCKED,
    CAPTURE,
    Heard,
    Site,
    heard,
    quietest,
    reading,
    tone,
    until_state,
)
from tests.support.server import until
from tests.support.tone_desk import ToneDesk

# A busy machine causes gaps of its own. The buffer is therefore larger than by default (but still
# shorter than the page's blocks), and disturbed attempts are repeated.
HOLD = 0.4
TRIES = 4  # attempts while the machine is not busy
STEADY_SECONDS = 20.0  # of attempts on a busy machine, where gaps are allowed, but no clicks
BUSY_PERCENT = 85.0  # load of all cores from which the machine counts as busy
# A synchronous request: it blocks the page's thread without using the CPU.
BLOCK = """() => {
  const request = new XMLHttpRequest();
  request.open("GET", "/blocked", false);
  request.send();
  return request.responseText;
}"""


@contextlib.contextmanager
def listening(browser: Browser, url: str, hold: float = HOLD, memory: str = "") -> Iterator[Page]:
    """A page with the stream's controls. `memory`: the browser's stored settings as JSON."""
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(CAPTURE)
    if memory:
        page.add_init_script(f"localStorage.setItem('crowdstream.listen', '{memory}')")
    page.goto(f"{url}?hold={hold}")
    while not page.evaluate("'sound' in globalThis"):
        page.wait_for_timeout(20)
    try:
        yield page
    finally:
        page.close()
    assert not errors


def steady(
    page: Page, seconds: float, busy: bool = False, worklet: bool = True
) -> Heard | None:
    """The latest recording, once that many seconds of it have no gap.

    A gap needs a cause: the machine was busy. None where it always is. `busy`: blocks the page.
    Without a `worklet` the capture runs on the page's thread, and loses parts on a busy machine.
    """
    deadline = time.monotonic() + STEADY_SECONDS
    tries = 0
    while True:
        before = reading(page)["gaps"]
        psutil.cpu_percent()
        play(page, seconds, busy)
        load = psutil.cpu_percent()
        now = reading(page)
        if now["gaps"] == before and now["state"] == "playing" and (worklet or load < BUSY_PERCENT):
            return heard(page, seconds)
        if load < BUSY_PERCENT:
            tries += 1
            assert tries < TRIES, "always gaps, though the machine has time"
        elif time.monotonic() > deadline:
            if worklet:
                assert_no_click(heard(page))
            return None


def assert_no_click(found: Heard, hertz: float = 1000.0, amplitude: float = 0.25) -> None:
    """Assert that no step exceeds the tone's own: gaps must fade out and in."""
    assert np.abs(np.diff(found.left)).max() < 1.2 * 2 * np.pi * hertz / found.rate * amplitude


def play(page: Page, seconds: float, busy: bool = False) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if busy:
            assert page.evaluate(BLOCK) == BLOCKED
        page.wait_for_timeout(100)


def pass_turns(page: Page) -> None:
    """Let the page run its scheduled tasks, such as the reaction to a click."""
    page.evaluate(
        "async () => { for (let turn = 0; turn < 20; turn += 1)"
        " await new Promise((done) => { setTimeout(done, 10); }); }"
    )


def sounds_like(page: Page, hertz: float, amplitude: float) -> bool:
    """Whether the next second is a tone of that frequency and amplitude."""
    play(page, 1.5)
    found = heard(page, 1.0)
    frequency, level, _ = tone(found.left[-int(found.rate) :], found.rate, hertz)
    return abs(frequency - hertz) < 0.5 and abs(level - amplitude) < 0.002


def sounds_since(page: Page, frame: int) -> bool:
    """Whether there is sound after frame `frame`, half a second from now."""
    play(page, 0.5)
    return bool(np.abs(heard(page).left[frame:]).max(initial=0.0) > 0.01)


def assert_tone(found: Heard, hertz: float = 1000.0, seconds: float = 3.0) -> None:
    """Assert that the last seconds are the tone at its mixed level, without gaps or steps."""
    samples = found.left[-int(seconds * found.rate) :]
    _, level, _ = tone(samples[-int(found.rate) :], found.rate, hertz)
    assert abs(20 * np.log10(level / 0.25)) < 0.1
    assert quietest(samples, found.rate) > 0.9 * 0.25
    assert np.abs(np.diff(samples)).max() < 1.2 * 2 * np.pi * hertz / found.rate * 0.25
    assert np.abs(found.left[-len(samples) :] / 2 - found.right[-len(samples) :]).max() < 4 / 32768


def plays_tone(page: Page) -> bool:
    """Whether a recording on the page's thread is the tone, at its level and without a gap.

    On a busy machine the recorder loses parts of what the page plays, so one good recording counts.
    """
    found = steady(page, 3.5, worklet=False)
    if found is not None:
        try:
            assert_tone(found, seconds=2.0)
        except AssertionError:
            return False
    return True


def in_tune(page: Page, hertz: float = 1000.0, seconds: float = 2.0) -> bool:
    """Whether the following sound has that frequency by the system's clock.

    Where the machine is busy, the clock of a sound card that is none stands still now and then,
    and the page follows it slowly: it is measured again. Without a clock, by that of the graph.
    """
    found = steady(page, seconds)
    if found is None:
        return True
    samples = found.left[-int(found.rate) :]
    if not samples[: len(samples) // 2].any():  # silence has no frequency: measured again, too
        return False
    frequency = tone(samples, found.rate, hertz)[0]
    if len(found.clocks):
        frequency = found.real(frequency, seconds)
    return abs(frequency - hertz) < 0.5


@pytest.mark.parametrize("mode", ["shared", "port"])
def test_a_click_starts_the_stream_and_a_blocked_page_does_not_interrupt_it(
    browser: Browser, mode: str
) -> None:
    with ToneDesk() as source, Site(source.desk, isolated=mode == "shared") as site, listening(
        browser, site.url
    ) as page:
        pass_turns(page)
        assert page.evaluate("heardContexts().length") == 0
        assert reading(page)["state"] == "off"
        page.click("h1")
        until_state(page, "playing")
        assert reading(page)["mode"] == mode
        found = steady(page, 3.5, busy=True)
        if found is not None:
            assert_tone(found, seconds=3.0)
            until(lambda: in_tune(page))


def test_the_stream_also_plays_on_an_insecure_page(browser: Browser) -> None:
    other = launch_chromium(browser.browser_type, "--host-resolver-rules=MAP music.test 127.0.0.1")
    try:
        with ToneDesk() as source, Site(source.desk) as site, listening(
            other, f"http://music.test:{site.port}/"
        ) as page:
            assert page.evaluate("isSecureContext") is False
            page.click("h1")
            until_state(page, "playing")
            assert reading(page)["mode"] == "scheduled"
            assert "HTTPS" in page.inner_text("#listen")
            until(lambda: plays_tone(page), what="a recording of the tone without a fault")
    finally:
        other.close()


def test_a_key_starts_the_stream_unless_the_browser_remembers_that_it_was_stopped(
    browser: Browser,
) -> None:
    with ToneDesk() as source, Site(source.desk) as site:
        with listening(browser, site.url) as page:
            page.keyboard.press("a")
            until_state(page, "playing")
            button = page.get_by_role("button")
            assert button.get_attribute("aria-pressed") == "true"
            button.click()
            assert reading(page)["state"] == "off"
            page.click("h1")
            pass_turns(page)
            assert reading(page)["state"] == "off"
            memory = page.evaluate("localStorage.getItem('crowdstream.listen')")
            # Without listeners the engine copies nothing.
            until(lambda: not source.desk.taps["on"].any())
        with listening(browser, site.url, memory=memory) as page:
            page.click("h1")
            pass_turns(page)
            assert reading(page)["state"] == "off"
            page.get_by_role("button").click()
            until_state(page, "playing")


def test_bus_volume_lost_frames_and_another_rate(browser: Browser) -> None:
    with ToneDesk() as source, Site(source.desk) as site, listening(browser, site.url) as page:
        source.hertz[TAP_MASTER] = 400.0
        page.click("h1")
        until_state(page, "playing")
        page.select_option("select", "cue")
        until(lambda: source.desk.taps[TAP_CUE]["on"] and not source.desk.taps[TAP_MASTER]["on"])
        until_state(page, "playing")
        page.get_by_role("slider").fill("50")
        until(lambda: sounds_like(page, 440.0, 0.125))
        # An engine dies and another one takes over; frame numbers continue.
        before = reading(page)["gaps"]
        source.skip(2000)
        until(lambda: reading(page)["gaps"] > before)
        until_state(page, "playing")
        # A device with another sample rate.
        source.set_rate(48000.0)
        until(lambda: reading(page)["rate"] == 48000)
        until_state(page, "playing")
        until(lambda: sounds_like(page, 440.0, 0.125))
        # None of this causes a click.
        assert_no_click(heard(page), 440.0)


def test_opus_is_decoded_without_a_gap(browser: Browser) -> None:
    with ToneDesk() as source, Site(source.desk) as site, listening(
        browser, site.url, memory='{"format": "opus"}'
    ) as page:
        page.click("h1")
        until(lambda: reading(page).get("format") == "Opus")
        found = steady(page, 3.0)
        until(lambda: reading(page)["bits"] < 400)
        if found is not None:
            samples = found.left[-int(2 * found.rate) :]
            _, level, _ = tone(samples[-int(found.rate) :], found.rate, 1000.0)
            assert abs(20 * np.log10(level / 0.25)) < 0.5
            assert quietest(samples, found.rate) > 0.8 * 0.25
            until(lambda: in_tune(page))


def test_the_displayed_latency_matches_the_measured_one(browser: Browser) -> None:
    with ToneDesk() as source, Site(source.desk) as site, listening(
        browser, site.url, hold=0.15
    ) as page:
        source.onset = 1 << 60
        page.click("h1")
        until_state(page, "playing")
        play(page, 1.5)
        off: list[float] = []

        def agrees() -> bool:
            source.onset = 1 << 60
            play(page, 1.0)
            silent = len(heard(page).left)
            source.onset = source.desk.frame + round(source.rate)
            until(lambda: sounds_since(page, silent))
            now = read_callback(source.desk)
            assert now is not None
            mixed = now[0] * 1e-9 + (source.onset - now[1]) / source.rate
            mixed += time.time() - time.monotonic()
            found = heard(page)
            first = silent + int(np.flatnonzero(np.abs(found.left[silent:]) > 0.01)[0])
            shown = reading(page)
            if shown["output"] is None or shown["latency"] is None:
                return False  # both are unknown while the connection is slow
            off.append(found.time(first) - mixed + shown["output"] - shown["latency"])
            return abs(off[-1]) < 0.05 + float(shown["jitter"])

        # On a busy machine chunks are late by the jitter: measure again.
        until(agrees, what=f"latency as it is shown: {off}")


def test_the_stream_reconnects_to_its_server(browser: Browser) -> None:
    with ToneDesk() as source, Site(source.desk) as site, listening(browser, site.url) as page:
        page.click("h1")
        until_state(page, "playing")
        site.close()
        until_state(page, "connecting")
        with Site(source.desk, port=site.port):
            until_state(page, "playing")

            def sounds() -> bool:
                play(page, 0.5)
                return quietest(heard(page, 0.1).left, 44100) > 0.2

            until(sounds)
