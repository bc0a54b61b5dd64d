"""Kill or stop processes of the server, and observe the effect on the music."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from benchmarks.long_night.log import Log
from benchmarks.long_night.processes import Family, Member
from benchmarks.long_night.readings import moment
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import PLAYING

KINDS = ("engine", "hang", "standby", "loader", "control", "recorder", "web", "fork-server")
"""Kinds of kills: the active engine is killed or stopped (SIGSTOP), the others are killed."""

CLOSE_SECONDS = 3.0  # of close observation, for the length of the gap
PATIENCE_SECONDS = 30.0  # a process that is not replaced by then counts as lost
_LOOK_SECONDS = 0.001
_CPU_SECONDS = 0.25  # over which the rendering engine uses more CPU time than a standby
_ROLES = {"engine": "engine", "hang": "engine", "standby": "engine"}


def leader(desk: Desk, engines: list[Member]) -> Member:
    """Return the engine that renders: it holds the lease, or uses more CPU than the others.

    A standby uses almost no CPU. `engines` must not be empty.
    """
    if len(engines) == 1:
        return engines[0]
    holder = getattr(desk, "lease", None)
    if holder is not None and "pid" in (holder.dtype.names or ()):
        for engine in engines:
            if engine.pid == int(holder["pid"]):
                return engine
    before = [engine.process.cpu_times() for engine in engines]
    time.sleep(_CPU_SECONDS)
    used = []
    for engine, times in zip(engines, before, strict=True):
        now = engine.process.cpu_times()
        used.append(now.user + now.system - times.user - times.system)
    return engines[int(np.argmax(used))]


@dataclass
class _Watch:
    kind: str
    victim: Member
    number: int
    at: float
    asked_ns: int  # time of the latest block before the kill
    frame: int
    gap_count: int
    count: int  # processes of the victim's role
    playing: int
    positions: np.ndarray
    seen: tuple[int, int] = (0, 0)
    worst_ns: int = 0
    answered: float = -1.0  # seconds until the server replied
    replaced: float = -1.0  # until another process had taken over
    ended: float = -1.0  # until the victim had ended
    moved: float = -1.0  # until the engine requested blocks again
    next_look: float = 0.0
    on: int = -1  # voices that still play
    entry: dict[str, Any] = field(default_factory=dict)


class Killer:
    """Kills and observes: call `strike`, then `tick` and `mark_alive` until `busy` is false."""

    def __init__(self, family: Family, log: Log) -> None:
        self._family = family
        self._log = log
        self._watch: _Watch | None = None
        self._number = 0
        self.struck = self.latest = -1e9  # monotonic times of the latest kill and of its end
        self._times: list[tuple[float, float]] = []

    @property
    def busy(self) -> bool:
        """Whether a kill is being observed."""
        return self._watch is not None

    @property
    def close(self) -> bool:
        """Whether observation every millisecond is required."""
        return self._watch is not None and time.monotonic() < self._watch.at + CLOSE_SECONDS

    def strike(self, kind: str, desk: Desk | None) -> None:
        """Kill a process of this kind, unless another kill is still being observed."""
        if desk is None or self._watch is not None:
            self._log.write("kill skipped", kind=kind, reason="another one is watched")
            return
        role = _ROLES.get(kind, kind)
        found = [member for member in self._family.members() if member.role == role]
        victim, count = self._victim(kind, desk, found), len(found)
        if victim is None:
            self._log.write("kill skipped", kind=kind, reason="no such process")
            return
        playing = np.flatnonzero(desk.voices["state"] == PLAYING)
        asked, frame = moment(desk)
        self._number += 1
        self._watch = _Watch(
            kind, victim, self._number, time.monotonic(), asked, frame,
            int(desk.ledger["gap_count"]), count, len(playing), desk.voices["position"].copy(),
            seen=(asked, frame),
        )  # fmt: skip
        self.struck = self._watch.at
        self._log.write("kill", kind=kind, pid=victim.pid, number=self._number)
        os.kill(victim.pid, signal.SIGSTOP if kind == "hang" else signal.SIGKILL)

    @staticmethod
    def _victim(kind: str, desk: Desk, found: list[Member]) -> Member | None:
        if found and found[0].role == "engine":
            first = leader(desk, found)
            if kind == "standby":
                return next((one for one in found if one.pid != first.pid), None)
            return first
        return found[0] if found else None

    def covers(self, moment: float, margin: float) -> bool:
        """Return whether something at that time may have been lost to a kill."""
        if self._watch is not None and moment > self._watch.at - margin:
            return True
        return any(begin - margin < moment < end + margin for begin, end in self._times)

    def mark_alive(self) -> None:
        """Register the first reply to a request that was sent after the kill."""
        watch = self._watch
        if watch is not None and watch.answered < 0.0:
            watch.answered = time.monotonic() - watch.at

    def tick(self, desk: Desk | None) -> None:
        """Observe the recovery."""
        watch = self._watch
        if watch is None or desk is None:
            return
        now = time.monotonic()
        since = now - watch.at
        found = moment(desk)
        if found != watch.seen:
            # Time without frames, also across several blocks.
            frames = found[1] - watch.seen[1]
            passed = found[0] - watch.seen[0] - frames / desk.sample_rate * 1e9
            watch.worst_ns = max(watch.worst_ns, round(passed))
            watch.seen = found
            if watch.moved < 0.0 and found[0] / 1e9 > watch.at:
                watch.moved = found[0] / 1e9 - watch.at
        if self.close or now < watch.next_look:
            return
        watch.next_look = now + 0.5
        self._processes(watch, since)
        whole = watch.ended >= 0.0 and watch.replaced >= 0.0 and watch.answered >= 0.0
        if (whole and watch.moved >= 0.0) or since > PATIENCE_SECONDS:
            self._end(watch, desk)

    def _processes(self, watch: _Watch, since: float) -> None:
        members = self._family.members()
        alive = watch.victim.process.is_running()
        if alive and watch.victim.process.status() == psutil.STATUS_ZOMBIE:
            alive = False
        if watch.ended < 0.0 and not alive:
            watch.ended = since
        role = watch.victim.role
        others = [one for one in members if one.role == role and one.pid != watch.victim.pid]
        # A recorder is started with the next recording.
        if watch.replaced < 0.0 and (len(others) >= watch.count or role == "recorder"):
            watch.replaced = since

    def _end(self, watch: _Watch, desk: Desk) -> None:
        states = desk.voices["state"] == PLAYING
        moved = states & (desk.voices["position"] != watch.positions)
        if watch.kind == "hang" and watch.ended < 0.0:
            os.kill(watch.victim.pid, signal.SIGKILL)  # do not leave it behind
        self._log.write(
            "killed", kind=watch.kind, number=watch.number,
            gap_ms=round(watch.worst_ns / 1e6, 2),
            answered=round(watch.answered, 3), ended=round(watch.ended, 2),
            replaced=round(watch.replaced, 2), moved=round(watch.moved, 4),
            playing=watch.playing, on=int(np.count_nonzero(moved)),
            noted=int(desk.ledger["gap_count"]) - watch.gap_count,
            frames=watch.seen[1] - watch.frame,
            seconds=(watch.seen[0] - watch.asked_ns) / 1e9,
        )  # fmt: skip
        self._watch = None
        self.latest = time.monotonic()
        self._times.append((self.struck, self.latest))
