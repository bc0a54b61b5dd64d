"""The stream's player in virtual time: interpolation, clock drift, gaps."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.support.listening_page import Site, tone
from tests.support.tone_desk import ToneDesk


@dataclass(frozen=True)
class Simulated:
    """Played samples, the curve of `(seconds, fill in ms, speed in ppm)`, and counters."""

    samples: np.ndarray
    curve: np.ndarray
    gaps: int
    skips: int
    jumps: int


@pytest.fixture(scope="module")
def player(browser: Browser) -> Iterator[Page]:
    with ToneDesk() as source, Site(source.desk) as site:
        page = browser.new_page()
        page.goto(site.url)
        while not page.evaluate("'simulate' in globalThis"):
            page.wait_for_timeout(20)
        yield page
        page.close()


def simulate(page: Page, **options: Any) -> Simulated:
    found = page.evaluate("(options) => simulate(options)", options)
    samples = np.frombuffer(base64.b64decode(found["samples"]), "<f4")
    curve = np.array(found["curve"])
    return Simulated(samples, curve, found["gaps"], found["skips"], found["jumps"])


@pytest.mark.parametrize(
    ("source", "output", "hertz"),
    [(44100, 48000, 1000), (44100, 44100, 1000), (48000, 44100, 1000), (96000, 48000, 1000),
     (44100, 48000, 10000)],
)  # fmt: skip
def test_a_sine_is_preserved_by_resampling(
    player: Page, source: int, output: int, hertz: float
) -> None:
    found = simulate(
        player, source=source, output=output, hertz=hertz, seconds=3, target=0.08,
        steady=True, **{"from": 2},
    )
    frequency, level, rest = tone(found.samples, output, hertz)
    print(f"{source} -> {output} Hz, {hertz} Hz: THD+N {rest:.1f} dB")
    assert frequency == pytest.approx(hertz, rel=1e-7)
    assert abs(20 * np.log10(level / 0.5)) < 0.01
    assert rest < -95.0


def test_clock_drift_is_inaudible(player: Page) -> None:
    found = simulate(
        player, source=44100, output=48000, hertz=1000, seconds=150, target=0.08, drift=200e-6,
        jitter=0.01, **{"from": 1},
    )
    fill, speed = found.curve[8:, 1], found.curve[8:, 2]
    assert (found.gaps, found.skips, found.jumps) == (0, 0, 0)
    assert np.abs(fill - 80).max() < 6.0
    assert abs(fill[-100:].mean() - 80) < 1.0
    assert abs(speed[-100:].mean() - 200) < 40.0
    # The pitch is off by less than 0.1 %, and changes by less than a tenth of that per second.
    assert np.abs(speed).max() < 1000
    assert np.abs(np.diff(speed)).max() <= 25
    # No steps: consecutive samples of a sine differ by no more than its slope.
    assert np.abs(np.diff(found.samples[48000:])).max() < 1.01 * np.pi * 1000 / 48000


def test_missing_chunks_are_bridged_without_a_shift_in_time(player: Page) -> None:
    options = {"source": 44100, "output": 48000, "hertz": 1000, "seconds": 4, "target": 0.08,
               "steady": True}  # fmt: skip
    whole = simulate(player, **options)
    holed = simulate(player, without=[100, 101, 130], **options)
    assert (holed.gaps, holed.jumps) == (0, 2)
    slope = np.pi * 1000 / 48000
    assert np.abs(np.diff(holed.samples)).max() < 1.1 * slope
    # 60 ms are missing; everything else is at its original position.
    differs = np.flatnonzero(whole.samples != holed.samples)
    assert 0.055 * 48000 < len(differs) < 0.08 * 48000
    assert np.array_equal(whole.samples[-48000:], holed.samples[-48000:])


def test_an_outage_fades_out_and_in_without_a_click(player: Page) -> None:
    # No chunks for 0.5 s: the ring runs dry. Playback then resumes at the same latency.
    found = simulate(
        player, source=44100, output=48000, hertz=1000, seconds=6, target=0.08,
        without=list(range(100, 125)), **{"from": 0},
    )
    assert (found.gaps, found.jumps) == (1, 1)
    assert np.abs(np.diff(found.samples)).max() < 1.1 * np.pi * 1000 / 48000
    assert abs(found.curve[-4:, 1].mean() - 80) < 5
    quiet = np.flatnonzero(np.abs(found.samples[48000:]) > 1e-3)
    gap = np.diff(quiet).max() / 48000
    assert 0.3 < gap < 0.8
