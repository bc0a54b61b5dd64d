"""The load of the benchmarks: four decks of four stems, EQ on, rates other than 1."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import BenchmarkError
from tests.support.server import Running

RATES = (1.06, 1.05, 1.07, 1.06)
# Percent; none is flat, so that no deck is bypassed.
EQ = ((35.0, 50.0, 42.0), (50.0, 38.0, 45.0), (30.0, 44.0, 50.0), (46.0, 36.0, 40.0))
LEVEL = 0.8
LOAD_SECONDS = 600.0
STILL_SECONDS = 3.0  # a streamed track's memory is full if it has not grown for this long
SETTLE_SECONDS = 1.0


def play_decks(server: Running, folders: Sequence[Path], rates: Sequence[float]) -> None:
    """Load a folder onto each deck, set EQ, level and rate, and start them looped."""
    for letter, folder in zip("ABCD", folders, strict=False):
        server.client.send(f"/deck/{letter}/load", str(folder))
    for _ in folders:
        server.client.receive_until("/done", 30.0)
    for letter, rate, bands in zip("ABCD", rates, EQ, strict=True):
        if "ABCD".index(letter) >= len(folders):
            break
        server.client.send("/deck_eq_all", letter, *bands)
        server.client.send(f"/deck/{letter}/level", LEVEL)
        server.client.send(f"/deck/{letter}/rate", rate)
        server.client.send(f"/deck/{letter}/play", 0.0, 1)
    server.client.request("/sync", 1, answer="/synced")


def wait_loaded(server: Running) -> None:
    """Wait until everything that fits is in memory, and a moment longer."""
    begin = still = time.monotonic()
    held = -1.0
    while True:
        status = server.client.status()
        used, wanted = float(status["pages_used_mb"]), float(status["pages_reserved_mb"])
        now = time.monotonic()
        if used != held:
            held, still = used, now
        if used >= wanted > 0.0 or now - still > STILL_SECONDS:
            break
        if now - begin > LOAD_SECONDS:
            raise BenchmarkError(f"the tracks were not loaded within {LOAD_SECONDS:g} s")
        time.sleep(0.2)
    time.sleep(SETTLE_SECONDS)


COUNTS = (
    "underruns", "underruns_late_callback", "underruns_slow_render", "underruns_device",
    "over_budget", "missing_pages", "missing_frames", "late_commands", "guarded",
    "messages", "failed", "malformed", "refused", "dropped",
)  # fmt: skip


class Window:
    """A server's counters and CPU usage between `begin` and `end`."""

    def __init__(self, server: Running) -> None:
        self._server = server

    def begin(self) -> None:
        """Start counting; reset the histograms."""
        with self._server.desk() as desk:
            desk.ledger["reset_serial"] += 1
        self._before = self._server.client.status()
        self._cpu = self._server.cpu_seconds()
        self._time = time.monotonic()

    def end(self) -> dict[str, Any]:
        """Return the changes of `COUNTS`, CPU in percent, `seconds`, and all other readings.

        `cpu_<process>` is in percent of one core.
        """
        took = time.monotonic() - self._time
        cpu = self._server.cpu_seconds()
        after = self._server.client.status()
        result = dict(after)
        for name in COUNTS:
            result[name] = int(after[name]) - int(self._before[name])
        for name, used in cpu.items():
            result[f"cpu_{name}"] = 100.0 * (used - self._cpu.get(name, used)) / took
        result["seconds"] = took
        return result
