"""The delay of the stream in a browser, as the listener's and the server's clocks show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import page_modules

OUTPUT, TAKEN = 0.02, 0.01  # seconds from the player to the ear, and taken at once
WANTED = 0.15 - OUTPUT - 0.01 - 0.01  # so that the sound is 0.15 s late: way, half a chunk

# `play(now, ahead)`: two seconds of chunks that are 10 ms late, from `now` on; the server's clock
# is `ahead`. `pong` takes `trip` seconds.
HEAD = f"""
  const {{ Latency }} = await import("/listen/latency.js");
  const latency = new Latency(0.15);
  const play = (now, ahead) => {{
    for (let at = now; at < now + 2; at += 0.02) {{
      latency.arrived(at, at + ahead - 0.01, 0.02);
      latency.target(at, {OUTPUT}, {TAKEN});
    }}
  }};
  const pong = (now, ahead, trip) => latency.pong(now - trip, now + ahead - trip / 2, now);
  pong(10, 100, 0.002);
  play(10, 100);
"""


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script with `HEAD`."""
    with page_modules(browser) as page:
        yield lambda script: page.evaluate(f"async () => {{ {HEAD} {script} }}")


def test_the_ring_is_filled_for_the_delay_that_is_wanted(run: Any) -> None:
    assert run("return latency.wanted;") == pytest.approx(WANTED, abs=0.005)


@pytest.mark.parametrize("ahead", [700, 100, 3])
def test_a_reconnected_listener_reads_the_clock_again(run: Any, ahead: int) -> None:
    # The listener's machine was suspended, or the server's was restarted.
    unknown, wanted = run(f"""
      latency.reset();
      const unknown = latency.offset;
      pong(13, {ahead}, 0.02);
      play(13, {ahead});
      return [unknown, latency.wanted];
    """)
    assert unknown is None
    assert wanted == pytest.approx(WANTED, abs=0.005)


def test_a_short_sleep_that_the_connection_survives_does_not_delay_the_sound(run: Any) -> None:
    assert run("""
      play(12, 108);
      pong(14, 108, 0.02);
      play(14, 108);
      return latency.wanted;
    """) == pytest.approx(WANTED, abs=0.005)
