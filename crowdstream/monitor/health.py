"""Health of ledger, processes and device, in units that people use."""

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
    """Upper edges of the ledger's histogram bins in nanoseconds; shape `(HISTOGRAM,)`."""
    number = np.arange(HISTOGRAM)
    edges: np.ndarray = 1024.0 * 2.0 ** (number // 4) * (1 + (number % 4 + 1) / 4)
    return edges


def percentile_ms(histogram: np.ndarray, percent: float) -> float:
    """A percentile of a duration histogram in ms, rounded up to the edge of its bin."""
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
        """Update the process IDs of `names`; those missing from `pids` are not running."""
        for name in names:
            if name in pids:
                self.pids[name] = pids[name]
            else:
                self.pids.pop(name, None)
                self.cpu.pop(name, None)

    def read(self) -> None:
        """Measure CPU, in percent of one core since the previous call."""
        for name, pid in self.pids.items():
            with contextlib.suppress(psutil.Error):
                known = self._known.get(name)
                if known is None or known.pid != pid:
                    known = self._known[name] = psutil.Process(pid)
                self.cpu[name] = known.cpu_percent(None)
        self.peak = max(self.peak, sum(self.cpu.values()))

    def memory_mb(self, name: str) -> float:
        """Resident memory of a process in MB, 0 if it is not running."""
        known = self._known.get(name)
        try:
            return float(known.memory_info().rss) / 1e6 if known else 0.0
        except psutil.Error:
            return 0.0

    @property
    def total(self) -> float:
        """CPU of all processes, in percent of one core."""
        return sum(self.cpu.values())


def playing_voices(desk: Desk) -> int:
    """Number of voices that play, without stopped voices that are fading out."""
    return int(np.count_nonzero(desk.voices["state"][:VOICES] == PLAYING))


def latency(desk: Desk) -> float:
    """Seconds from callback to output: the device's latency and the limiter's look-ahead."""
    return float(desk.clock["latency"]) + int(desk.limiter["delay"]) / desk.sample_rate


def engine_readings(desk: Desk) -> dict[str, Any]:
    """The engine's ledger as names and numbers (ms, frames, counts)."""
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
