"""Modules of the page in states that a server of the tests does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import page_modules

# `live`: a connection without a server. `show(key, value)` changes the picture; `orders`: what the
# page has sent.
HEAD = """
  document.body.replaceChildren();
  const events = new EventTarget();
  const [picture, watchers, nows, orders] = [new Map(), [], [], []];
  const live = {
    events, hello: { rate: 48000, write: true }, now: null, writable: true,
    get: (key) => picture.get(key),
    on(key, fn) {
      watchers.push([key, fn]);
      if (picture.has(key)) fn(picture.get(key));
      return () => {};
    },
    onNow: (fn) => nows.push(fn),
    async order(...values) { orders.push(values); return []; },
    async do(...values) { orders.push(values); return []; },
  };
  const show = (key, value) => {
    picture.set(key, value);
    for (const [one, fn] of watchers) if (one === key) fn(value);
  };
  const tell = (now) => { live.now = now; nows.forEach((fn) => fn(now)); };
  const wait = async (test) => {
    while (!test()) await new Promise((done) => setTimeout(done, 5));
  };
"""


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script with `HEAD`."""
    with page_modules(browser) as page:
        def evaluate(script: str) -> Any:
            page.reload()
            return page.evaluate(f"async () => {{ {HEAD} {script} }}")

        yield evaluate


def test_refused_real_time_priority_is_shown(run: Any) -> None:
    assert run("""
      const { makeHealth } = await import("/health/health.js");
      const { element, draw } = makeHealth(live);
      return [1, 0, -1].map((realtime) => {
        show("readings", { buffer_size: 256, realtime });
        draw();
        const names = [...element.querySelectorAll("dt")];
        const value = names.find((one) => one.textContent === "Priority").nextElementSibling;
        return [value.textContent, value.classList.contains("odd")];
      });
    """) == [["real-time", False], ["normal", True], ["normal", True]]


def test_a_recording_shows_no_time_before_its_first_frame_is_known(run: Any) -> None:
    assert run("""
      const { makeRecorder } = await import("/mixer/record.js");
      const control = makeRecorder(live);
      const time = control.querySelector(".record-time");
      tell({ frame: 48000 * 7200 });
      show("recording", { files: ["mix.wav"], began: null, lost: 0 });
      const before = time.textContent;
      show("recording", { files: ["mix.wav"], began: 48000 * 7199, lost: 0 });
      return [before, time.textContent];
    """) == ["", "0:01"]
