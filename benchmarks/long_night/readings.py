"""Readings of a running server every second and every ten seconds: desk, ledger, processes."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.long_night.log import Log
from benchmarks.long_night.processes import (
    Family,
    Member,
    shared_with_others,
    stolen,
    taken,
    waited,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import CAUSES, PLAYING
from crowdstream.monitor.health import percentile_ms

SECONDS = 1.0
FAMILY_SECONDS = 10.0
COUNTS = (
    "blocks", "device_flags", "over_budget", "missing_pages", "missing_frames", "late_commands",
    "pending_refused", "events_lost", "hard_cuts", "nonfinite", "guarded", "gap_count",
)  # fmt: skip
_TRIES = 100


def moment(desk: Desk) -> tuple[int, int]:
    """Return when the latest block was requested (monotonic ns), and its first frame."""
    clock = desk.clock
    for _ in range(_TRIES):
        stamp = int(clock["stamp"])
        found = int(clock["callback_ns"]), int(clock["callback_frame"])
        if stamp % 2 == 0 and int(clock["stamp"]) == stamp:
            return found
    return found


class Reader:
    """Writes readings to the log. Call `tick` regularly."""

    def __init__(self, family: Family, log: Log, card_pids: list[int]) -> None:
        self._family = family
        self._log = log
        self._card_pids = card_pids
        self.desk: Desk | None = None
        self.members: list[Member] = []
        self._next = self._next_family = 0.0
        self._shared: dict[int, int] = {}  # bytes of each process that count for others
        self._histogram = np.zeros(0, np.int64)
        self._gaps = 0
        self._waited: dict[int, float] = {}
        self._stolen = stolen()
        self._self = psutil.Process()

    def close(self) -> None:
        """Detach from the desk."""
        if self.desk is not None:
            self.desk.close()
            self.desk = None

    def tick(self) -> None:
        """Take readings that are due."""
        now = time.monotonic()
        if now >= self._next_family:
            self._next_family = now + FAMILY_SECONDS
            self.family()
        if now >= self._next:
            self._next = now + SECONDS
            if self.desk is not None:
                self._second(self.desk)

    def due(self) -> float:
        """Return the monotonic time of the next reading."""
        return min(self._next, self._next_family)

    def family(self, whole: bool = False) -> None:
        """Read the processes; attach to the desk if it is a new one.

        `whole`: also their PSS, see `taken`.
        """
        self.members = self._family.members()
        if self.desk is None or not self._family.desk_is_current():
            self.close()
            self.desk = self._family.open_desk()
            if self.desk is not None:
                self._gaps = int(self.desk.ledger["gap_count"])
                self._histogram = self.desk.ledger["render_hist"].copy()
                self._log.write(
                    "desk", rate=self.desk.sample_rate, block=int(self.desk.header["block_frames"]),
                    pages=int(self.desk.header["arena_pages"]),
                )
        rows = []
        for member in self.members:
            row = taken(member, whole)
            if row is not None:
                row["counted_elsewhere"] = self._counted_elsewhere(member)
                rows.append(row)
        own = self._self.cpu_times()
        shared = os.fstat(self.desk.fd).st_blocks * 512 if self.desk is not None else 0
        self._log.write(
            "family", members=rows, shared=shared, own_cpu=round(own.user + own.system, 3),
            load=os.getloadavg()[0],
        )

    def _counted_elsewhere(self, member: Member) -> int:
        # Of an engine, what was read before it played.
        playing = int(self.desk.lease["pid"]) if self.desk is not None else 0
        if member.role != "engine" or (member.pid != playing and member.pid not in self._shared):
            self._shared[member.pid] = shared_with_others(member.pid)
        return self._shared.get(member.pid, 0)

    def _second(self, desk: Desk) -> None:
        ledger = desk.ledger
        asked_ns, frame = moment(desk)
        histogram = ledger["render_hist"].copy()
        new = histogram - self._histogram
        self._histogram = histogram
        if (new < 0).any():  # the histogram was reset
            new = histogram
        engines = [member.pid for member in self.members if member.role == "engine"]
        waits = waited(engines + self._card_pids)
        lost = {pid: value - self._waited.get(pid, value) for pid, value in waits.items()}
        self._waited = waits
        steal = stolen()
        values: dict[str, Any] = {name: int(ledger[name]) for name in COUNTS}
        self._log.write(
            "second", asked_ns=asked_ns, frame=frame, **values,
            gaps=[int(count) for count in ledger["gaps"]],
            p50=percentile_ms(new, 50), p99=percentile_ms(new, 99), p100=percentile_ms(new, 100),
            engine_waited=round(sum(lost[pid] for pid in engines), 5),
            card_waited=round(sum(lost[pid] for pid in self._card_pids), 5),
            stolen=round(steal - self._stolen, 3),
            playing=int(np.count_nonzero(desk.voices["state"] == PLAYING)),
        )
        self._stolen = steal
        self._new_gaps(desk)

    def _new_gaps(self, desk: Desk) -> None:
        count = int(desk.ledger["gap_count"])
        begin = max(self._gaps, count - len(desk.gaps))
        for number in range(begin, count):
            gap = desk.gaps[number % len(desk.gaps)]
            cause = int(gap["cause"])
            self._log.write(
                "gap", number=number, frame=int(gap["frame"]),
                excess_ms=int(gap["excess_ns"]) / 1e6,
                cause=CAUSES[cause] if 0 <= cause < len(CAUSES) else f"unknown {cause}",
                at=int(gap["time_ns"]) / 1e9 - self._log.begin,
            )
        self._gaps = count


def card_processes(env: dict[str, str]) -> list[int]:
    """Return the sound server that a card of `contrib.soundcard` has started as a child."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name() in ("jackd", "pulseaudio") and env:
                    found.append(child.pid)
    return found


def shared_memory(pids: Sequence[int]) -> list[str]:
    """Return the names in the shared-memory folder that contain one of these process IDs."""
    folder = Path("/dev/shm")  # nosec B108  # only names are read
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    words = {str(pid) for pid in pids}
    return sorted(name for name in names if words & set(re.split(r"\D+", name)))
