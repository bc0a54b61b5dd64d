"""The ledger: histogram bins, causes of gaps, and counters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.desk.constants import GAPS, HISTOGRAM
from crowdstream.desk.opcodes import (
    CAUSE_CALLBACK,
    CAUSE_DEVICE,
    CAUSE_ENGINE,
    CAUSE_LOST,
    CAUSE_RENDER,
    CAUSES,
    FLAG_LOST,
    FLAG_TAKEN,
)
from crowdstream.desk.snapshot import read_callback
from crowdstream.engine.schedule.ledger import begin_block, end_block
from crowdstream.monitor.health import bin_edges_ns
from tests.support.render_harness import RenderHarness

BLOCK = 441  # 10 ms
PERIOD = 10_000_000
START = 5_000_000_000


def _run(harness: RenderHarness, arrivals: list[tuple[int, bool, int]]) -> None:
    # Each block: nanoseconds since the previous one, device flag, render time in nanoseconds.
    now = START
    for wait, flagged, render_ns in arrivals:
        now += wait
        begin_block(harness.desk.address, BLOCK, now, flagged)
        harness.render(BLOCK, BLOCK)
        end_block(harness.desk.address, BLOCK, render_ns)


def _bin(histogram: np.ndarray) -> int:
    assert int(histogram.sum()) == 1
    return int(np.flatnonzero(histogram)[0])


@given(st.integers(0, 10**12))
def test_bins_match_the_edges_used_by_readers(nanoseconds: int) -> None:
    with RenderHarness(pages=4) as harness:
        end_block(harness.desk.address, BLOCK, nanoseconds)
        number = _bin(harness.desk.ledger["render_hist"])
    edges = bin_edges_ns()
    assert len(edges) == HISTOGRAM
    if number < HISTOGRAM - 1:
        assert nanoseconds < edges[number]
    if number > 0:
        assert nanoseconds >= edges[number - 1]


@pytest.mark.parametrize("nanoseconds", [1024, 1280, 1535, 2048, 2560, 10**6])
def test_bin_edges_belong_to_the_upper_bin(nanoseconds: int) -> None:
    with RenderHarness(pages=4) as harness:
        end_block(harness.desk.address, BLOCK, nanoseconds)
        number = _bin(harness.desk.ledger["render_hist"])
    expected = int(np.searchsorted(bin_edges_ns(), nanoseconds, side="right"))
    assert number == expected


def test_blocks_in_time_cause_no_gap() -> None:
    with RenderHarness() as harness:
        _run(harness, [(PERIOD, False, 500_000)] * 20)
        ledger = harness.desk.ledger
        assert ledger["gaps"].tolist() == [0] * len(CAUSES)
        assert int(ledger["blocks"]) == 20
        assert int(ledger["frames"]) == 20 * BLOCK
        assert int(ledger["over_budget"]) == 0
        assert int(ledger["interval_hist"].sum()) == 20
        assert int(ledger["render_hist"].sum()) == 20
        assert int(ledger["interval_max_ns"]) == PERIOD


CALM = (PERIOD, False, 500_000)


@pytest.mark.parametrize(
    ("arrivals", "cause", "excess"),
    [
        # The callback is late, and the device flags it with this block or with the next.
        ([CALM, CALM, (2 * PERIOD, True, 500_000)], CAUSE_CALLBACK, PERIOD),
        ([CALM, CALM, (2 * PERIOD, False, 500_000), (PERIOD, True, 1)], CAUSE_CALLBACK, PERIOD),
        # The previous block took longer to render than it lasts.
        ([CALM, (PERIOD, False, 12_000_000), (13_000_000, True, 1)], CAUSE_RENDER, 2_000_000),
        # Callback and rendering were in time.
        ([CALM, CALM, (PERIOD, True, 500_000)], CAUSE_DEVICE, 0),
        ([CALM, CALM, (14_000_000, True, 500_000)], CAUSE_DEVICE, 0),
        # A stream that stood still, without a flag from the device.
        ([CALM, CALM, (700_000_000, False, 500_000)], CAUSE_DEVICE, 690_000_000),
    ],
)
def test_a_gap_is_recorded_with_its_cause(
    arrivals: list[tuple[int, bool, int]], cause: int, excess: int
) -> None:
    with RenderHarness() as harness:
        _run(harness, arrivals)
        ledger = harness.desk.ledger
        expected = [0] * len(CAUSES)
        expected[cause] = 1
        assert ledger["gaps"].tolist() == expected
        assert int(ledger["device_flags"]) == 1
        assert int(ledger["gap_count"]) == 1
        gap = harness.desk.gaps[0]
        assert (int(gap["cause"]), int(gap["excess_ns"])) == (cause, excess)
        assert int(gap["time_ns"]) == START + sum(wait for wait, _f, _r in arrivals)
        assert int(gap["frame"]) == BLOCK * (len(arrivals) - 1)


@pytest.mark.parametrize(("flag", "cause"), [(FLAG_TAKEN, CAUSE_ENGINE), (FLAG_LOST, CAUSE_LOST)])
def test_the_first_block_after_a_takeover_records_the_lost_time(flag: int, cause: int) -> None:
    with RenderHarness() as harness:
        _run(harness, [CALM, CALM])
        longest = int(harness.desk.ledger["interval_max_ns"])
        begin_block(harness.desk.address, BLOCK, START + 4 * PERIOD + 7, flag)
        ledger, lease = harness.desk.ledger, harness.desk.lease
        assert int(ledger["gaps"][cause]) == sum(ledger["gaps"].tolist()) == 1
        assert (int(lease["takeovers"]), int(lease["gap_ns"])) == (1, PERIOD + 7)
        # It counts neither as a device underrun nor as a callback interval.
        assert int(ledger["device_flags"]) == 0
        assert int(ledger["interval_max_ns"]) == longest


def test_over_budget_is_counted_without_a_flag() -> None:
    with RenderHarness() as harness:
        _run(harness, [CALM, (PERIOD, False, PERIOD + 2), CALM])
        assert int(harness.desk.ledger["over_budget"]) == 1
        assert int(harness.desk.ledger["render_max_ns"]) == PERIOD + 2
        assert harness.desk.ledger["gaps"].tolist() == [0] * len(CAUSES)


def test_the_gap_log_keeps_the_latest_gaps() -> None:
    with RenderHarness() as harness:
        _run(harness, [(PERIOD, True, 1)] * (GAPS + 10))
        assert int(harness.desk.ledger["gap_count"]) == GAPS + 10
        frames = np.sort(harness.desk.gaps["frame"])
        assert frames[0] == 10 * BLOCK
        assert frames[-1] == (GAPS + 9) * BLOCK


def test_readers_can_reset_the_maxima() -> None:
    with RenderHarness() as harness:
        _run(harness, [CALM, (PERIOD, False, 9_000_000), (5 * PERIOD, False, 1000)])
        ledger = harness.desk.ledger
        assert int(ledger["interval_max_ns"]) == 5 * PERIOD
        ledger["reset_serial"] += 1
        # The next arrivals are counted from START again.
        harness.desk.clock["callback_ns"] = START
        _run(harness, [CALM])
        assert int(ledger["render_max_ns"]) == 500_000
        assert int(ledger["interval_max_ns"]) == PERIOD
        assert int(ledger["render_hist"].sum()) == 1
        assert int(ledger["blocks"]) == 4


def test_an_interrupted_clock_write_is_not_read() -> None:
    with RenderHarness() as harness:
        assert read_callback(harness.desk) is None
        _run(harness, [CALM, CALM, CALM])
        assert read_callback(harness.desk) == (START + 3 * PERIOD, 2 * BLOCK)
        assert int(harness.desk.clock["stamp"]) == 6
        harness.desk.clock["stamp"] = 7  # an engine that died while writing
        assert read_callback(harness.desk) is None
