"""Readings: the ledger, the processes and the device, in units people use."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import HISTOGRAM, VOICES
from crowdstream.desk.opcodes import CAUSES, PLAYING

PERCENTILES = (50, 99)


def bin_edges_ns() -> np.ndarray:
    """Upper edges of the ledger's histogram bins, nanoseconds; shape `(HISTOGRAM,)`."""
    number = np.arange(HISTOGRAM)
    edges: np.ndarray = 1024.0 * 2.0 ** (number // 4) * (1 + (number % 4 + 1) / 4)
    return edges


def percentile_ms(histogram: np.ndarray, percent: float) -> float:
    """The time below which `percent` of the entries lie, to the bin's upper edge, in ms."""
    total = int(histogram.sum())
    if total == 0:
        return 0.0
    place = int(np.searchsorted(np.cumsum(histogram), total * percent / 100.0))
    return float(bin_edges_ns()[min(place, HISTOGRAM - 1)]) / 1e6


@dataclass
class Processes:
    """CPU and memory of the server's processes, by name."""

    pids: dict[str, int]
    cpu: dict[str, float] = field(default_factory=dict)
    peak: float = 0.0
    _known: dict[str, psutil.Process] = field(default_factory=dict)

    def replace(self, names: Sequence[str], pids: dict[str, int]) -> None:
        """These processes are others now, or are not there."""
        for name in names:
            if name in pids:
                self.pids[name] = pids[name]
            else:
                self.pids.pop(name, None)
                self.cpu.pop(name, None)

    def read(self) -> None:
        """Take a reading; CPU is in percent of one core since the reading before."""
        for name, pid in self.pids.items():
            with contextlib.suppress(psutil.Error):
                known = self._known.get(name)
                if known is None or known.pid != pid:
                    known = self._known[name] = psutil.Process(pid)
                self.cpu[name] = known.cpu_percent(None)
        self.peak = max(self.peak, sum(self.cpu.values()))

    def memory_mb(self, name: str) -> float:
        """Resident memory of one of them in MB, 0 when it is not there."""
        known = self._known.get(name)
        try:
            return float(known.memory_info().rss) / 1e6 if known else 0.0
        except psutil.Error:
            return 0.0

    @property
    def total(self) -> float:
        """CPU of all of them, in percent of one core."""
        return sum(self.cpu.values())


def sounding(desk: Desk) -> int:
    """Number of voices that play; what is left of stopped ones does not count."""
    return int(np.count_nonzero(desk.voices["state"][:VOICES] == PLAYING))


def latency(desk: Desk) -> float:
    """Seconds from callback to sound: what the device reports and the limiter's look-ahead."""
    return float(desk.clock["latency"]) + int(desk.limiter["delay"]) / desk.sample_rate


def engine_readings(desk: Desk) -> dict[str, Any]:
    """What the engine wrote down, as names and numbers (ms, frames, counts)."""
    ledger = desk.ledger
    block = int(desk.header["block_frames"])
    gaps = [int(count) for count in ledger["gaps"]]
    readings: dict[str, Any] = {
        "sample_rate": desk.sample_rate,
        "buffer_size": block,
        "frame": desk.frame,
        "latency_ms": 1e3 * latency(desk),
        "budget_ms": block / desk.sample_rate * 1e3,
        "render_p50_ms": percentile_ms(ledger["render_hist"], 50),
        "render_p99_ms": percentile_ms(ledger["render_hist"], 99),
        "render_max_ms": int(ledger["render_max_ns"]) / 1e6,
        "interval_max_ms": int(ledger["interval_max_ns"]) / 1e6,
        "underruns": int(ledger["device_flags"]),
    }
    for cause, count in zip(CAUSES, gaps, strict=True):
        if cause != "missing_page":
            readings[f"underruns_{cause}"] = count
    for name in (
        "over_budget",
        "missing_pages",
        "missing_frames",
        "late_commands",
        "pending_refused",
        "events_lost",
        "hard_cuts",
        "nonfinite",
        "limited_frames",
        "guarded",
    ):
        readings[name] = int(ledger[name])
    return readings
