"""Measure the audio graph's output of a page in Chromium that listens to a tone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

BLOCK = "{ const end = performance.now() + 500; while (performance.now() < end); }"
START_SECONDS = 20.0


def listen_in_a_page(seconds: float, hold: float) -> dict[str, Any]:
    """Listen for `seconds` while the main thread is repeatedly blocked for 500 ms.

    `hold`: target latency of the page in seconds, from the mix to the ear.
    """
    from playwright.sync_api import sync_playwright

    from crowdstream.desk.snapshot import read_callback
    from tests.support.chromium import launch_chromium
    from tests.support.listening_page import CAPTURE, Site, heard, quietest, reading, tone
    from tests.support.tone_desk import ToneDesk

    with ToneDesk() as source, Site(source.desk) as site, sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium)
        page = browser.new_page()
        page.add_init_script(CAPTURE)
        page.goto(f"{site.url}?hold={hold}")
        source.onset = 1 << 60
        page.click("h1")
        deadline = time.monotonic() + START_SECONDS
        while reading(page)["state"] != "playing" and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        page.wait_for_timeout(2000)
        source.onset = source.desk.frame + round(source.rate)
        end = time.monotonic() + seconds + 2.0
        while time.monotonic() < end:
            page.evaluate(BLOCK)
            page.wait_for_timeout(100)
        stamp = read_callback(source.desk)
        assert stamp is not None
        shown, found = reading(page), heard(page)
        browser.close()
    mixed = stamp[0] * 1e-9 + (source.onset - stamp[1]) / source.rate
    mixed += time.time() - time.monotonic()
    first = int(np.flatnonzero(np.abs(found.left) > 0.01)[0])
    graph = found.time(first) - mixed
    sound = found.left[first + int(0.1 * found.rate) :]
    hertz, level, _ = tone(sound[-int(found.rate) :], found.rate, 1000.0)
    return {
        "aimed_at_ms": round(1000 * hold),
        "seconds": round(len(sound) / found.rate, 1),
        "hertz": round(found.real(hertz, seconds / 2), 3),
        "level_db": round(float(20 * np.log10(level / 0.25)), 4),
        "quietest_5_ms": round(quietest(sound, found.rate) / 0.25, 4),
        "steepest_step": round(
            float(np.abs(np.diff(sound)).max() / (2 * np.pi * 1000 / found.rate * 0.25)), 4
        ),
        "gaps": shown["gaps"],
        "mix_to_graph_ms": round(1000 * graph),
        "to_the_ear_ms": round(1000 * (graph + shown["output"])),
        "shown_ms": round(1000 * shown["latency"]),
        "jitter_ms": round(1000 * shown["jitter"]),
        "speed_ppm": shown["speed"],
    }
