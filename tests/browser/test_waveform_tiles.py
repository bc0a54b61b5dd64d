"""Requests for the tiles of a waveform, with responses that the test sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import module_scripts

# `peaks`: of deck A, which shows a track of one stem. `requests`: URLs without a response, with
# functions that respond.
HEAD = """
  const requests = [];
  window.fetch = (url) => new Promise((resolve) => {
    requests.push([url, (body) => resolve({ ok: Boolean(body), json: async () => body })]);
  });
  const { Peaks } = await import("/waveform/peaks.js");
  const events = new EventTarget();
  let look = null;
  const live = { events, on: (_key, fn) => { look = fn; return () => {}; } };
  const peaks = new Peaks(live, "A");
  const settled = async () => { for (let turn = 0; turn < 20; turn += 1) await null; };
  const respond = async (body) => { requests.shift()[1](body); await settled(); };
  const stem = (key, ready) => ({ key, ready, rough: -1, failed: "", rate: 44100,
    frames: 524288, bucket: 128, levels: [4096, 1024, 256] });
  look({ number: 5, stems: [{ path: "/music/a.wav" }] });
  await respond({ tile: 4096, stems: [stem("first", 0.5)] });
"""


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script with `HEAD`."""
    with module_scripts(browser, HEAD) as made:
        yield made


def test_a_tile_is_requested_again_if_its_file_has_changed_meanwhile(run: Any) -> None:
    assert run("""
      peaks.tile(0, 0, 0);
      const wave = { deck: "A", number: 5, stem: 0, ...stem("second", 0.6) };
      events.dispatchEvent(new CustomEvent("wave", { detail: wave }));
      await respond(null);
      peaks.tile(0, 0, 0);
      return requests.map(([url]) => url);
    """) == ["/waves/5/0/0/0?key=second"]
