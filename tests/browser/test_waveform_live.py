"""Waveforms on the page of a running server: the playhead follows the audible sound."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.chromium import box_of
from tests.support.page_server import (
    live,
    load,
    music_server,
    ordered,
    ready_page,
    watch_orders,
)
from tests.support.server import Running, until

FRAME = 1 / 60  # seconds between two frames of the display
MIN_SAMPLES, PROMPT_SAMPLES = 40, 10
# The latest drawn position minus the server's time of that frame, and the latency.
DRAWN = """(() => { const { drawn } = document.querySelector("[data-deck=A].waveform").waveform;
  const at = drawn.time / 1000 + live.clock() - performance.now() / 1000;
  return [drawn.position - at, live.now.latency]; })()"""


def waveform(page: Page, expression: str) -> Any:
    """Evaluate an expression on the waveform of deck A."""
    return page.evaluate(
        f"(() => {{ const one = document.querySelector('[data-deck=A].waveform').waveform;"
        f" return {expression}; }})()"
    )


def test_playhead_and_gestures_agree_with_the_engine(
    browser: Browser, tmp_path: Path
) -> None:
    small_blocks = ("--buffer-size", "256")
    with (
        music_server(tmp_path, *small_blocks) as running,
        ready_page(browser, running, moving=True) as page,
    ):
        load(running, tmp_path / "media" / "Night")
        until(lambda: waveform(page, "one?.peaks.ready === 1 && one.peaks.stems.length === 4"))
        _seek_and_loop(page, running)
        running.client.send("/deck/A/loop/exit")
        running.client.send("/deck/A/seek", 5.0)
        running.client.send("/deck/A/play")
        until(lambda: live(page, "live.playhead(0).playing"))
        until(lambda: waveform(page, "one.drawn.position > 5.3"))
        apart: list[float] = []

        def agree() -> bool:
            status = running.client.status()
            # Positions are those of the latest block, which began up to 6 ms ago.
            engine = float(status["deck.A.position"]) - time.monotonic()
            ahead, latency = live(page, DRAWN)
            assert 0 < latency < 1
            apart.append(ahead + latency - engine)
            # Delays of a busy machine only increase the measured difference: so the promptest
            # samples count.
            promptest = statistics.median(sorted(apart)[:PROMPT_SAMPLES])
            assert promptest > -FRAME
            return len(apart) >= MIN_SAMPLES and promptest < FRAME

        until(agree)


def _seek_and_loop(page: Page, running: Running) -> None:
    box = box_of(page.locator("[data-deck=A] .waveform-closeup"))
    small = box_of(page.locator("[data-deck=A] .waveform-overview"))
    assert box["height"] > 60 and small["height"] >= 20
    whole = box_of(page.locator(".waveform[data-deck=A]"))
    assert small["y"] + small["height"] <= whole["y"] + whole["height"] + 1  # fully visible
    page.mouse.click(small["x"] + small["width"] / 4, small["y"] + small["height"] / 2)
    until(lambda: abs(float(running.client.status()["deck.A.position"]) - 10.0) < 0.2)
    until(lambda: waveform(page, "Math.abs(one.drawn.position - 10) < 0.2"))
    running.client.send("/deck/A/play")
    until(lambda: live(page, "live.playhead(0).playing"))
    watch_orders(page)
    second = box["width"] / 8
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle + second, y)
    page.mouse.down()
    page.mouse.move(middle + 2 * second, y)
    page.mouse.move(middle + 3 * second, y)
    page.mouse.up()
    until(lambda: live(page, "live.get('deck.A').loop"))
    begin, end = live(page, "live.get('deck.A').loop")
    [(address, *asked)] = ordered(page)
    assert address == "/deck/A/loop/set"
    assert abs(begin - asked[0]) < 1e-3
    assert abs(end - asked[1]) < 1e-3
    assert 1.5 < end - begin < 4
