"""A deck's waveform in a page: waiting for it, and measuring its pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.support.waveform_app import WaveformApp, track

SECONDS = 40.0
PATIENCE = 120.0
GRID = {"source": "file", "beats": [0.0, 80.0], "seconds": [0.0, 40.0]}


def until(test: Callable[[], Any]) -> Any:
    """Wait until the result is true and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := test():
            return found
        time.sleep(0.02)
    raise AssertionError("timeout")


def show(app: WaveformApp, page: Page, number: int, paths: list[Path], **more: Any) -> None:
    """Show a track on deck A, and wait until it is completely drawn."""
    app.show(A=track(number, paths, SECONDS, grid=GRID, **more))
    until(lambda: page.evaluate(f"waveforms[0].peaks.number === {number}"))
    until(lambda: page.evaluate("waveforms[0].peaks.ready === 1"))
    until(lambda: page.evaluate("waveforms[0].drawn.time > 0"))
    settle(page)


QUIET = """async () => {
  const pause = () => new Promise((done) => setTimeout(done, 60));
  for (let looks = 0; looks < 5; looks += 1) {
    await pause();
    if (waveforms[0].peaks._busy || waveforms[0]._frame || waveforms[0]._dirty) return false;
  }
  return true;
}"""


def settle(page: Page) -> None:
    """Wait until no more data is fetched and nothing is being drawn."""
    until(lambda: page.evaluate(QUIET))


LIT = """([canvas, x, y, wide, high]) => {
  const found = document.querySelector(`#deck-A .waveform-${canvas}`);
  const ratio = found.width / found.getBoundingClientRect().width;
  const box = [x, y, wide, high].map((one) => Math.round(one * ratio));
  const { data } = found.getContext("2d").getImageData(...box);
  let lit = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (Math.max(data[at], data[at + 1], data[at + 2]) > 110) lit += 1;
  }
  return lit / (data.length / 4);
}"""


def lit(page: Page, canvas: str, x: float, y: float, wide: float, high: float) -> float:
    """Return the bright fraction of a rectangle, in CSS pixels."""
    return float(page.evaluate(LIT, [canvas, x, y, wide, high]))


def mean_colour(page: Page, x: float, y: float, wide: float, high: float) -> list[float]:
    """Return mean red, green and blue of a rectangle of the close-up."""
    found: list[float] = page.evaluate(
        """([x, y, wide, high]) => {
          const canvas = document.querySelector("#deck-A .waveform-closeup");
          const { data } = canvas.getContext("2d").getImageData(x, y, wide, high);
          const sums = [0, 0, 0];
          for (let at = 0; at < data.length; at += 4) {
            for (let one = 0; one < 3; one += 1) sums[one] += data[at + one];
          }
          return sums.map((sum) => sum / (data.length / 4));
        }""",
        [x, y, wide, high],
    )
    return found


def sizes(page: Page) -> tuple[float, float]:
    """Return the heights of close-up and overview, in CSS pixels."""
    found: list[float] = page.evaluate(
        """["closeup", "overview"].map((name) =>
          document.querySelector(`#deck-A .waveform-${name}`).getBoundingClientRect().height)"""
    )
    return found[0], found[1]
