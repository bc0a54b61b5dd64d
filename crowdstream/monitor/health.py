"""Health of ledger, processes and device, in units that people use."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import HISTOGRAM, VOICES
from crowdstream.desk.opcodes import CAUSES, PLAYING

PERCENTILES = (50, 99)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 1024  # of /proc/PID/stat, at least


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


class ProcessUsage:
    """CPU time and memory of a process. Raises `OSError` if there is no such process.

    The file with its CPU time stays open: opening it each second, as psutil does, costs ten times
    as much as reading it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        self._ticks = self._read_ticks()
        self._read_at = time.monotonic()

    def percent(self) -> float:
        """Return the CPU time since the previous call, in percent of one core, to one decimal.

        Raises `OSError` if the process has ended.
        """
        now, ticks = time.monotonic(), self._read_ticks()
        passed, used = now - self._read_at, ticks - self._ticks
        self._read_at, self._ticks = now, ticks
        return round(100.0 * used / (_TICKS_PER_SECOND * passed), 1) if passed > 0.0 else 0.0

    def resident_bytes(self) -> int:
        """Return the resident memory of the process. Raises `OSError` if it has ended."""
        with open(f"/proc/{self.pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _read_ticks(self) -> int:
        # proc_pid_stat(5): utime and stime are fields 14 and 15; the name before them, field 2 in
        # parentheses, may contain anything.
        fields = os.pread(self._fd, _STAT_BYTES, 0).rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])


@dataclass
class Processes:
    """CPU and memory of the server's processes, by name."""

    pids: dict[str, int]
    cpu: dict[str, float] = field(default_factory=dict)
    peak: float = 0.0
    _known: dict[str, ProcessUsage] = field(default_factory=dict)

    def replace(self, names: Sequence[str], pids: dict[str, int]) -> None:
        """Update the process IDs of `names`; those missing from `pids` are not running."""
        for name in names:
            if name in pids:
                self.pids[name] = pids[name]
            else:
                self.pids.pop(name, None)
                self.cpu.pop(name, None)

    def read(self) -> None:
        """Measure CPU, in percent of one core since the previous call; 0 in the first one."""
        for name, pid in self.pids.items():
            known = self._known.get(name)
            with contextlib.suppress(OSError):
                if known is None or known.pid != pid:
                    if known is not None:
                        self._known.pop(name).close()
                    self._known[name] = ProcessUsage(pid)
                    self.cpu[name] = 0.0
                else:
                    self.cpu[name] = known.percent()
        self.peak = max(self.peak, sum(self.cpu.values()))

    def memory_mb(self, name: str) -> float:
        """Resident memory of a process in MB, 0 if it is not running."""
        known = self._known.get(name)
        try:
            return known.resident_bytes() / 1e6 if known else 0.0
        except OSError:
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
