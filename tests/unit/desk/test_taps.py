"""Readers of taps: requests are counted, lost frames are reported, and no one waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crowdstream.desk.constants import TAP_DECK, TAP_FRAMES, TAP_MARGIN, TAP_MASTER
from crowdstream.desk.taps import (
    CONTROL,
    LISTENERS,
    RECORDER,
    TapReader,
    release_owner,
    request_tap,
)
from tests.support.render_harness import RenderHarness, noise


def test_a_tap_is_on_while_any_process_requests_it() -> None:
    with RenderHarness() as harness:
        taps = harness.desk.taps
        request_tap(harness.desk, TAP_MASTER, CONTROL)
        readers = [TapReader(harness.desk, TAP_MASTER, LISTENERS) for _ in range(3)]
        killed = [TapReader(harness.desk, tap, RECORDER) for tap in (TAP_MASTER, TAP_DECK) * 2]
        assert taps["on"][TAP_MASTER] and taps["on"][TAP_DECK]
        release_owner(harness.desk, RECORDER)
        assert taps["on"][TAP_MASTER] and not taps["on"][TAP_DECK]
        release_owner(harness.desk, CONTROL)
        for reader in readers:
            assert taps["on"][TAP_MASTER]
            reader.close()
        assert not taps["on"].any()
        assert len(killed) == 4


def test_an_overtaken_reader_reports_the_lost_frames() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(30011)), loop=(0, 30011))
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS)
        out = harness.render(200000, 1000)
        lost, frames = reader.read()
        assert lost == 200000 - (TAP_FRAMES - TAP_MARGIN)
        assert np.array_equal(frames, out[lost:])
        assert reader.read()[0] == 0
        assert np.array_equal(harness.render(500), reader.read()[1])
        # Also if the whole requested range was overwritten.
        out = harness.render(200000, 1000)
        assert [(lost, len(frames)) for lost, frames in [reader.read(until=210000)]] == [(9500, 0)]
        lost, frames = reader.read()
        assert np.array_equal(frames, out[9500 + lost :])


def test_a_reader_overtaken_while_copying_reports_the_lost_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(30011)), loop=(0, 30011))
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS)
        out = harness.render(110000, 1000)
        copy = reader._copy

        def slow(begin: int, end: int) -> Any:
            harness.render(50000, 1000)
            return copy(begin, end)

        monkeypatch.setattr(reader, "_copy", slow)
        lost, frames = reader.read()
        assert lost == 160000 - (TAP_FRAMES - TAP_MARGIN)
        assert lost + len(frames) == 110000
        assert np.array_equal(frames, out[lost:])


def test_reading_up_to_a_frame_leaves_the_rest() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(3000)))
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS, start=100)
        out = harness.render(90)
        assert reader.first is None
        assert len(reader.read()[1]) == 0
        out = np.concatenate([out, harness.render(910)])
        assert np.array_equal(reader.read(until=333)[1], out[100:333])
        assert np.array_equal(reader.read()[1], out[333:])
