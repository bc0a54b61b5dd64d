"""The server's clock and the audible playhead, computed in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import page_modules

RATE = 48000


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script in a page with the modules and a settable clock."""
    with page_modules(browser) as page:
        head = (
            "let time = 0; performance.now = () => time * 1000;"
            "const { ServerClock } = await import('/serverclock.js');"
            "const { Playheads } = await import('/playheads.js');"
            "const state = {}; const live = { hello: { rate: 48000 }, clock: () => time,"
            "  get: (key) => state[key] };"
            "const report = (at, decks, latency = 0.02) => ({ t: at, at, latency, beat: at * 2,"
            "  bpm: 120, decks });"
        )
        yield lambda script: page.evaluate(f"async () => {{ {head} {script} }}")


def test_the_fastest_ping_determines_the_clock(run: Any) -> None:
    found = run("""
      const clock = new ServerClock();
      time = 10; clock.take(10 - 0.010, 110 - 0.005, 10);
      time = 11; clock.take(11 - 0.400, 111 - 0.390, 11);
      return [clock.now() - time, clock.error];
    """)
    assert abs(found[0] - 100) < 1e-9 and abs(found[1] - 0.005) < 1e-9


def test_small_clock_errors_are_slewed_and_large_ones_stepped(run: Any) -> None:
    slow = run("""
      const clock = new ServerClock(); const seen = [];
      time = 10; clock.take(9.9, 110, 10); clock.now();
      clock.take(9.999, 109.9995 + 0.02, 10);
      for (let step = 0; step < 300; step += 1) { time += 1 / 60; seen.push(clock.now() - time); }
      return seen;
    """)
    steps = [abs(after - before) for before, after in pairwise(slow)]
    assert max(steps) < 0.02 / 60 + 1e-9
    assert abs(slow[-1] - 100.02) < 1e-3
    assert run("""
      const clock = new ServerClock();
      time = 10; clock.take(9.99, 110, 10); clock.now();
      time = 20; clock.take(19.999, 150, 20);
      return clock.now() - time;
    """) == pytest.approx(130, abs=0.01)


def test_pings_from_before_a_machine_was_suspended_do_not_count(run: Any) -> None:
    # The page's clock has stood still for 30 s, and the pings are slower now.
    assert run("""
      const clock = new ServerClock();
      time = 10; clock.take(9.999, 110, 10); clock.now();
      time = 12; clock.take(11.98, 142, 12);
      return clock.now() - time;
    """) == pytest.approx(130, abs=0.02)


def test_the_playhead_follows_the_audible_sound(run: Any) -> None:
    found = run("""
      const heard = new Playheads(live);
      heard.add(report(5, [[48000, 1, 1]], 0.1));
      time = 5.1; const now = heard.deck(0).frame;
      time = 5.2; return [now, heard.deck(0).frame, heard.beat()];
    """)
    assert found[0] == pytest.approx(48000, abs=0.01)
    assert found[1] == pytest.approx(48000 + 0.1 * RATE, abs=0.01)
    assert found[2] == pytest.approx(10.2)


def test_a_jump_is_shown_when_it_becomes_audible(run: Any) -> None:
    found = run("""
      const heard = new Playheads(live);
      heard.add(report(5.0, [[48000, 1, 1]], 0.1));
      heard.add(report(5.033, [[480000, 1, 1]], 0.1));
      time = 5.12; const before = heard.deck(0).frame;
      time = 5.14; return [before, heard.deck(0).frame];
    """)
    assert found[0] == pytest.approx(48000 + 0.02 * RATE, abs=0.01)
    assert found[1] == pytest.approx(480000 + 0.007 * RATE, abs=0.01)


def test_a_playhead_stays_in_its_loop_and_runs_backwards(run: Any) -> None:
    found = run("""
      state['deck.A'] = { loop: [1, 2], frames: 480000, cue: 3 };
      const heard = new Playheads(live);
      heard.add(report(5, [[95000, 1, 1]], 0));
      time = 5.1; const looped = heard.deck(0).frame;
      state['deck.A'].loop = null;
      heard.add(report(5.2, [[1000, -1, 1]], 0));
      time = 5.21; const back = heard.deck(0).frame;
      time = 5.4; const end = heard.deck(0).frame;
      heard.add(report(5.5, [[0, 0, 0]], 0));
      time = 5.6; return [looped, back, end, heard.deck(0)];
    """)
    assert found[0] == pytest.approx(95000 + 4800 - 48000, abs=0.01)
    assert found[1] == pytest.approx(520, abs=0.01)
    assert found[2] == 0
    assert found[3] == {"frame": 3 * RATE, "speed": 0, "playing": False}


def test_extrapolation_without_reports_is_limited(run: Any) -> None:
    assert run("""
      const heard = new Playheads(live);
      heard.add(report(5, [[0, 1, 1]], 0));
      time = 60; return heard.deck(0).frame;
    """) == pytest.approx(0.5 * RATE, abs=1)


def test_values_are_formatted_for_musicians(run: Any) -> None:
    assert run("""
      const { beatsText, dbText, fader, decibelKnob, timeText, unitText } =
        await import('/controls/values.js');
      const level = fader(4), eq = decibelKnob(-26, 12);
      return [dbText(1), dbText(0), dbText(0.5), timeText(3725), timeText(59.96, true),
        unitText(6000, 'Hz'), unitText(0.005, 's'), beatsText(0.75), beatsText(4),
        level.value(0.75), level.place(level.value(0.3)), level.value(1), eq.value(0.5),
        eq.place(eq.value(0.9))];
    """) == [
        "0.0 dB", "−∞ dB", "−6.0 dB", "1:02:05", "0:59.9", "6 kHz", "5 ms", "3/4", "4", 1,
        pytest.approx(0.3), pytest.approx(4), 1, pytest.approx(0.9),
    ]  # fmt: skip
