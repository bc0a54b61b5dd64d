"""Helpers for all benchmarks: describe the machine, show progress, write results."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

BAR = 30  # characters of a progress bar


class BenchmarkError(RuntimeError):
    """A benchmark cannot run. The message gives the reason and the remedy."""


def cpu_model() -> str:
    """Return the name of the processor, or of the board (ARM)."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(errors="replace").strip("\0\n ")
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Return processor, cores, memory (GB), kernel, Python version and current load."""
    return {
        "processor": cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def machine_text() -> str:
    """Describe the machine in one line."""
    is_ = machine()
    return (
        f"{is_['processor']} ({is_['architecture']}), {is_['cores']} cores, "
        f"{is_['memory_gb']} GB, {is_['system']}, Python {is_['python']}, "
        f"load {is_['load']} at the start"
    )


def print_heading(title: str) -> None:
    """Print title, command line and machine, to judge and repeat the figures."""
    print(title)
    print(f"command: python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip())
    print(f"machine: {machine_text()}", flush=True)


@contextlib.contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Drop log lines below `level`: where the server must refuse, they would fill the screen."""
    log = logging.getLogger("crowdstream")
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


def write_json(path: Path | None, value: object) -> None:
    """Write a result as JSON, if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1) + "\n")


def median(values: Sequence[float]) -> float:
    """Return the middle value; for an even count, the mean of the two middle values."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    place = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(place) - 1)]


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Format rows with the same keys as aligned columns under a heading."""
    heads = list(rows[0])
    lines = [heads, *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in lines
    )


class Progress:
    """A progress bar on a terminal, else one line per step, on standard error."""

    def __init__(self, total: float) -> None:
        self._total = max(total, 1e-9)
        self._done = 0.0
        self._shown = ""
        self._live = sys.stderr.isatty()

    def add(self, amount: float, what: str = "") -> None:
        """Advance by `amount`; `what` describes the current step."""
        self._done = min(self._total, self._done + amount)
        share = self._done / self._total
        if self._live:
            full = round(BAR * share)
            bar = "#" * full + "." * (BAR - full)
            print(f"\r[{bar}] {share:4.0%} {what[:40]:40}", end="", file=sys.stderr, flush=True)
        elif what != self._shown:
            print(f"{share:4.0%} {what}", file=sys.stderr, flush=True)
        self._shown = what

    def wait(self, seconds: float, what: str, amount: float | None = None) -> None:
        """Sleep for `seconds` while the bar advances by `amount` (default: the seconds)."""
        begin = time.monotonic()
        share = (seconds if amount is None else amount) / max(seconds, 1e-9)
        shown = 0.0
        while shown < seconds:
            time.sleep(min(0.5, seconds - shown))
            now = min(seconds, time.monotonic() - begin)
            self.add((now - shown) * share, what)
            shown = now

    def close(self) -> None:
        """Clear the bar."""
        if self._live:
            print("\r" + " " * (BAR + 50) + "\r", end="", file=sys.stderr, flush=True)
