"""The rings between real processes; the writer is stopped and killed at any point."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, EVENT_RING, PENDING
from crowdstream.desk.opcodes import EV_MARK, EV_REFUSED
from crowdstream.desk.rings import COMMAND_HEAD, COMMAND_TAIL, pop_events, push_commands
from tests.fuzz.registry import Fault, Target
from tests.fuzz.ring_child import batch
from tests.support.byte_source import ByteSource
from tests.support.environment import child_environment

MAX_ACTIONS = 12
MAX_PAUSE_SECONDS = 0.003  # seconds between two actions
PATIENCE = 60.0  # seconds on a busy machine; a hundredth of it is usual
ROOT = Path(__file__).parents[3]


class Writers:
    """A desk, and a process that forks writers to it."""

    def __init__(self) -> None:
        self.desk = Desk.create(0)
        descriptor = os.dup(self.desk.fd)
        os.set_inheritable(descriptor, True)
        self._forker = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.fuzz.ring_child", str(descriptor)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            pass_fds=[descriptor], env=child_environment(),
        )  # fmt: skip
        os.close(descriptor)
        self._running: int | None = None

    def close(self) -> None:
        """End all processes."""
        self.kill()
        self._forker.communicate()
        self.desk.close()

    def start(self, what: str) -> None:
        """Start a writer process."""
        assert self._forker.stdin and self._forker.stdout
        self._forker.stdin.write(what + "\n")
        self._forker.stdin.flush()
        self._running = int(self._forker.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the writer process."""
        if self._running is not None:
            os.kill(self._running, number)

    def kill(self) -> None:
        """Kill the writer and wait until it is gone."""
        if self._running is None:
            return
        os.kill(self._running, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while Path(f"/proc/{self._running}").exists():
            if time.monotonic() > until:
                raise Fault("a killed writer does not exit")
            time.sleep(0.0002)
        self._running = None


def take_commands(desk: Desk, most: int) -> int:
    """Read commands as the engine does; raise `Fault` for one that was not published."""
    tail = load_acquire(desk.address + COMMAND_TAIL)
    head = load_acquire(desk.address + COMMAND_HEAD)
    if not 0 <= head - tail <= COMMAND_RING:
        raise Fault(f"the ring holds {head - tail} of {COMMAND_RING} commands")
    whole = desk.commands[np.arange(tail, head) % COMMAND_RING]
    begins = np.flatnonzero(whole["index"])
    ends = begins + whole["index"][begins]
    if len(whole) and len(begins) and ends[-1] != len(whole):
        raise Fault(f"part of a batch is visible: {len(whole)} commands, to end at {ends[-1]}")
    part = whole[:most]
    wanted = batch(tail + 1, len(part)) if len(part) else part.copy()
    wanted["index"] = part["index"]
    if part.tobytes() != wanted.tobytes():
        raise Fault(f"a torn command among numbers {tail + 1} to {tail + len(part)}")
    store_release(desk.address + COMMAND_TAIL, tail + len(part))
    return len(part)


class EventReader:
    """Reads the engine's events: marks that were reached, and commands it had no room for.

    The engine reports a refused command on arrival, a mark when it is due: each kind is in order.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.count = 0
        self._last = dict.fromkeys((EV_MARK, EV_REFUSED), 0)

    def take(self, most: int = EVENT_RING) -> None:
        """Read events as control does; raise `Fault` for one that was not published."""
        events = pop_events(self._desk, most)
        self.count += len(events)
        if not np.isin(events["kind"], list(self._last)).all():
            raise Fault("an event of an unexpected kind")
        if (events["target"] != events["serial"] % 30_000).any():
            raise Fault("a torn event")
        for kind, last in self._last.items():
            serials = events["serial"][events["kind"] == kind]
            if (np.diff(serials, prepend=last) <= 0).any():
                raise Fault(f"events of kind {kind} after {last} are out of order or repeated")
            self._last[kind] = int(serials[-1]) if len(serials) else last

    @property
    def lost(self) -> int:
        """The number of events that were dropped because the ring was full."""
        return int(self._desk.ledger["events_lost"])


def _against_commands(writers: Writers, source: ByteSource) -> None:
    writers.start(f"commands {source.byte()}")
    for _ in range(source.between(1, MAX_ACTIONS)):
        _disturb(writers, source)
        take_commands(writers.desk, source.pick((1, 50, 5000, COMMAND_RING)))
        if source.chance(40):
            writers.kill()  # the next writer continues from there
            writers.start(f"commands {source.byte()}")
    writers.kill()
    take_commands(writers.desk, COMMAND_RING)


def _against_events(writers: Writers, source: ByteSource) -> None:
    desk = writers.desk
    writers.start("engine")
    received, pushed = EventReader(desk), 0
    for _ in range(source.between(1, MAX_ACTIONS)):
        made = batch(pushed + 1, source.between(1, 1500))
        made["index"] = 0
        if push_commands(desk, made):
            pushed += len(made)
        _disturb(writers, source)
        received.take(source.pick((1, 50, EVENT_RING)))
        if source.chance(60):
            writers.kill()  # the next engine continues from there
            writers.start("engine")
    writers.signal(signal.SIGCONT)
    until = time.monotonic() + PATIENCE
    while received.count + received.lost < pushed:
        if time.monotonic() > until:
            raise Fault(f"{pushed} commands: {received.count} reported, {received.lost} lost")
        received.take()
        time.sleep(0.0002)
    if received.count + received.lost != pushed:
        raise Fault(f"{pushed} commands: {received.count} reported, {received.lost} lost")


def _disturb(writers: Writers, source: ByteSource) -> None:
    time.sleep(MAX_PAUSE_SECONDS * source.share())
    if source.chance(128):
        writers.signal(signal.SIGSTOP)
        time.sleep(MAX_PAUSE_SECONDS * source.share() / 4)
    if source.chance(160):
        writers.signal(signal.SIGCONT)


@functools.cache
def _writers() -> Writers:
    atexit.register(close)
    return Writers()


def _empty(desk: Desk) -> None:
    # A killed engine may have left a half-handled command; the next test must not see it.
    for name in ("command", "event"):
        desk.rings[f"{name}_head"] = desk.rings[f"{name}_tail"] = 0
    desk.undo_log["state"] = 0
    desk.ledger["events_lost"] = 0
    desk.master["pending"] = 0
    desk.spare[:] = np.arange(PENDING)[::-1]


def run(data: bytes) -> None:
    """Stop and kill writers of commands, then a writer of events, as the bytes direct."""
    source = ByteSource(data)
    writers = _writers()
    try:
        for go in (_against_commands, _against_events):
            _empty(writers.desk)
            go(writers, source)
    finally:
        writers.kill()


def close() -> None:
    """End the processes that `run` keeps for the next input."""
    if _writers.cache_info().currsize:
        _writers().close()
        _writers.cache_clear()


def seeds() -> Iterator[bytes]:
    """Undisturbed, stopped and killed writers."""
    yield bytes(8)
    yield bytes([1, 11, 128, 0, 255, 255, 0, 200, 3]) * 12
    yield bytes(range(0, 250, 3)) * 2


TARGET = Target(
    "rings",
    "wherever a process is stopped or killed, a batch is visible completely or not at all, and "
    "no record is torn, out of order, repeated, or lost without being counted",
    run,
    seeds,
    (),
    longest=256,
)
