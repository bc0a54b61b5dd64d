"""The monitor reports every gap with its cause and advice, at most once a second."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import psutil
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import HISTOGRAM
from crowdstream.desk.opcodes import CAUSES
from crowdstream.engine.schedule.ledger import begin_block, end_block, histogram_bin
from crowdstream.monitor.health import (
    Processes,
    ProcessUsage,
    bin_edges_ns,
    engine_readings,
    percentile_ms,
)
from crowdstream.monitor.watch import ADVICE, BUSY_READINGS, HealthMonitor


@numba.njit
def _bin(nanoseconds: int) -> int:
    return int(histogram_bin(nanoseconds))


class Watched:
    """A watch on a desk, with a clock and processes set by the test."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, stats: float = 0.0, desk: Desk | None = None
    ) -> None:
        self.now = 50.0
        monkeypatch.setattr("crowdstream.monitor.watch.time.monotonic", lambda: self.now)
        self.desk = desk or Desk.create(0)
        self.desk.header["block_frames"] = 441
        self.processes = Processes({})
        self.notified: list[tuple[Any, ...]] = []
        self.watch = HealthMonitor(
            self.desk, self.processes, stats, lambda *values: self.notified.append(values)
        )

    def second(self, blocks: int = 100) -> None:
        """Let a second pass in steps of 10 ms, in which the device requests `blocks` blocks."""
        self.desk.ledger["blocks"] += blocks
        for _ in range(101):
            self.now += 0.01
            self.watch.tick(lambda: {"voices": 3, "messages": 7, "failed": 1, "lost": 0,
                                     "pages_used_mb": 1.0, "pages_total_mb": 2.0})


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    made = Watched(monkeypatch)
    yield made
    made.desk.close()


def gap(desk: Desk, cause: int, excess_ns: int) -> None:
    ledger = desk.ledger
    desk.gaps[int(ledger["gap_count"]) % len(desk.gaps)] = (0, cause, excess_ns, 1)
    ledger["gap_count"] += 1
    ledger["gaps"][cause] += 1


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= level]
    caplog.clear()
    return found


@pytest.mark.parametrize("cause", range(3))
def test_underruns_are_reported_with_cause_worst_excess_and_advice(
    watched: Watched, caplog: pytest.LogCaptureFixture, cause: int
) -> None:
    for excess in (2_000_000, 7_500_000, 1_000_000):
        gap(watched.desk, cause, excess)
    watched.second()
    [line] = lines(caplog)
    assert line.startswith(f"3 underruns, {CAUSES[cause]} (worst 7.5 ms over): ")
    assert ADVICE[CAUSES[cause]] in line
    assert watched.notified == [("/underrun", CAUSES[cause], 3, 7.5)]
    watched.second()
    assert not lines(caplog)


def test_many_underruns_are_logged_once_per_second(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for _ in range(1000):
            gap(watched.desk, 0, 1_000_000)
        watched.second()
    found = lines(caplog)
    assert [line.split(",")[0] for line in found] == ["1000 underruns"] * 3


def test_missing_pages_slow_renders_and_failed_callbacks_are_reported(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.desk.ledger["missing_pages"] = 4
    watched.desk.ledger["over_budget"] = 5
    watched.desk.ledger["guarded"] = 6
    watched.second()
    found = lines(caplog)
    assert found[0].startswith("4 gaps because a page was missing: ")
    assert "--cache-mb" in found[0]
    assert found[1].startswith("5 blocks took longer to render")
    assert found[2].startswith("6 callbacks failed")
    assert watched.notified == [("/underrun", "missing_page", 4, 0.0)]
    watched.second()
    assert not lines(caplog)


def test_sustained_high_cpu_is_reported_and_a_peak_is_not(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.processes.cpu = {"engine": 95.0, "control": 2.0}
    for _ in range(BUSY_READINGS - 1):
        watched.second()
    watched.processes.cpu["engine"] = 79.0
    watched.second()
    assert not lines(caplog)
    watched.processes.cpu["engine"] = 81.0
    for _ in range(BUSY_READINGS):
        watched.second()
    [line] = lines(caplog)
    assert line.startswith(f"engine has used 81 % of a core for {BUSY_READINGS} s")


def test_missing_realtime_priority_is_reported_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.desk.ledger["realtime"] = -1
    watched.second()
    watched.second()
    [line] = lines(caplog)
    assert "rtprio" in line


def test_stats_are_logged_at_their_interval_and_off_at_zero(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for interval, expected in ((3.0, 3), (0.0, 0)):
        watched = Watched(monkeypatch, interval)
        for _ in range(10):
            watched.second()
        found = [line for line in lines(caplog, logging.INFO) if line.startswith("[STATS]")]
        assert len(found) == expected
        for line in found:
            assert "voices 3" in line
            assert "memory 1 of 2 MB" in line
        watched.desk.close()


def test_readings_of_a_desk_that_has_rendered() -> None:
    desk = Desk.create(0)
    desk.header["block_frames"] = 441
    desk.clock["latency"] = 0.02
    assert engine_readings(desk)["render_p99_ms"] == 0.0
    for number in range(100):
        begin_block(desk.address, 441, 1_000_000_000 + number * 10_000_000, number == 60)
        end_block(desk.address, 441, 12_000_000 if number == 50 else 100_000)
    now = engine_readings(desk)
    assert now["budget_ms"] == pytest.approx(10.0)
    assert now["latency_ms"] == pytest.approx(20.0)
    assert now["render_max_ms"] == 12.0
    assert now["render_p50_ms"] == pytest.approx(0.1, rel=0.25)
    assert now["over_budget"] == 1
    assert now["underruns"] == now["underruns_device"] == 1
    desk.close()


def test_percentiles_are_the_upper_edges_of_their_bins() -> None:
    edges = bin_edges_ns()
    assert len(edges) == HISTOGRAM
    for nanoseconds in (1, 1024, 1500, 10_000, 123_456, 5_000_000, 25_000_000):
        histogram = np.zeros(HISTOGRAM, np.int64)
        histogram[_bin(nanoseconds)] = 10
        assert nanoseconds <= percentile_ms(histogram, 99) * 1e6
        assert percentile_ms(histogram, 50) * 1e6 <= max(1280, 1.25 * nanoseconds)
    histogram = np.zeros(HISTOGRAM, np.int64)
    histogram[0], histogram[8] = 98, 2
    assert percentile_ms(histogram, 50) == edges[0] / 1e6
    assert percentile_ms(histogram, 99) == edges[8] / 1e6


def test_dead_processes_raise_no_error() -> None:
    import os

    processes = Processes({"me": os.getpid(), "gone": 2**22 + 1})
    processes.read()
    processes.read()
    assert "gone" not in processes.cpu
    assert processes.total >= 0.0


def test_cpu_time_and_memory_of_a_process_are_those_that_psutil_reports() -> None:
    usage, known = ProcessUsage(os.getpid()), psutil.Process()
    begin = sum(known.cpu_times()[:2])
    while sum(known.cpu_times()[:2]) < begin + 0.1:
        pass
    assert 0.0 < usage.percent() <= 110.0
    assert usage.resident_bytes() == pytest.approx(known.memory_info().rss, rel=0.1)
    usage.close()
    with pytest.raises(OSError):
        ProcessUsage(2**22 + 1)


def test_a_stalled_device_and_its_recovery_are_reported_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        watched.second()
    assert lines(caplog) == [] and watched.notified == []
    for _ in range(3):
        watched.second(blocks=0)
    notified = lines(caplog)
    assert len(notified) == 1 and "no longer requests audio" in notified[0]
    watched.second(blocks=1)
    assert len(lines(caplog)) == 1


def test_load_shedding_and_its_end_are_reported_with_advice(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    quality = watched.desk.quality
    watched.second()
    assert lines(caplog, logging.INFO) == []
    quality["lowered"], quality["level"] = 2, 2
    watched.second()
    [line] = lines(caplog)
    assert "optional effects and keylock bypassed" in line
    assert "--buffer-size" in line and "interpolation" not in line
    quality["lowered"], quality["level"] = 3, 3
    watched.second()
    assert "half of the interpolation" in lines(caplog)[-1]
    quality["level"] = 1
    watched.second()
    assert lines(caplog, logging.INFO) == []
    quality["level"] = 0
    watched.second()
    assert lines(caplog, logging.INFO) == ["nothing is bypassed any more"]
    watched.second()
    assert lines(caplog, logging.INFO) == []


@pytest.mark.parametrize(("level", "held", "end"), [(0, 0, False), (2, 0, True), (2, 3, False)])
def test_load_shedding_that_an_earlier_control_process_reported_is_not_reported_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    level: int, held: int, end: bool,
) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk.create(0)
    desk.quality["lowered"], desk.quality["level"], desk.quality["held"] = 2, level, held
    watched = Watched(monkeypatch, desk=desk)
    watched.second()
    assert lines(caplog, logging.INFO) == []
    desk.quality["level"], desk.quality["held"] = 0, 0
    watched.second()
    assert lines(caplog, logging.INFO) == (["nothing is bypassed any more"] if end else [])
    desk.close()


def test_a_quality_level_set_by_a_user_is_not_reported(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for level in (3, 0):
        watched.desk.quality["level"] = level
        watched.second()
        assert lines(caplog, logging.INFO) == []


def test_replaced_processes_are_read_and_removed_ones_are_not() -> None:
    processes = Processes({"engine": os.getpid(), "standby": os.getpid()})
    processes.read()
    assert processes.cpu.keys() == {"engine", "standby"}
    processes.replace(("engine", "standby"), {"engine": os.getppid()})
    processes.read()
    assert processes.pids == {"engine": os.getppid()}
    assert processes.cpu.keys() == {"engine"}
