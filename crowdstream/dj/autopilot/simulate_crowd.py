"""`crowdstream simulate-crowd`: send the movement of a simulated crowd to a server, for testing.

People arrive, dance according to the energy of the music, jump on a drop, and get tired. A seed
determines all of it.
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from crowdstream.client.poller import ServerPoller, connect
from crowdstream.settings.cli import add_duration, duration_of
from crowdstream.settings.errors import Parser

RATE = 10.0  # reports per second, as from a camera
ARRIVAL_SECONDS = 600.0  # time constant: two thirds of the people have arrived by then
TIRED_SECONDS = 2700.0  # of dancing at full energy until a break is needed
REST_SECONDS = 240.0  # length of such a break
REACTION_SECONDS = 4.0  # of the crowd to a change in the music
NOISE = 0.04  # standard deviation of the camera's readings
LOUD_LUFS, QUIET_LUFS = -10.0, -26.0  # of the master, for energies of 1 and 0


class Crowd:
    """The movement, step by step. `size`: share of the dance floor that fills up, 0 to 1."""

    def __init__(self, seed: int, size: float = 0.8) -> None:
        self._dice = random.Random(seed)
        self._size = size
        self._seconds = 0.0
        self._engagement = 0.0  # how far the crowd follows the music
        self._tired = 0.0
        self._energy = 0.0
        self._drop = 0.0
        self._wave = self._dice.uniform(0.0, math.tau)

    def step(self, energy: float, seconds: float) -> float:
        """Advance by `seconds`; return the movement, 0 to 1. `energy`: of the music, 0 to 1."""
        self._seconds += seconds
        here = self._size * (1.0 - math.exp(-self._seconds / ARRIVAL_SECONDS))
        if energy - self._energy > 0.25:  # a drop: everyone jumps at once
            self._drop = 1.0
        self._energy += (energy - self._energy) * min(1.0, seconds / REACTION_SECONDS)
        self._drop *= math.exp(-seconds / 8.0)
        self._engagement += (self._energy - self._engagement) * min(1.0, seconds / REACTION_SECONDS)
        strain = self._engagement - 0.35
        self._tired += seconds * (strain / TIRED_SECONDS if strain > 0 else -1.0 / REST_SECONDS)
        self._tired = min(1.0, max(0.0, self._tired))
        # Groups leave for the bar and return, in a cycle of minutes.
        self._wave += seconds * math.tau / 180.0
        moods = 1.0 + 0.12 * math.sin(self._wave)
        dancing = self._engagement * (1.0 - 0.7 * self._tired) * moods + 0.3 * self._drop
        return min(1.0, max(0.0, here * dancing + self._dice.gauss(0.0, NOISE) * here))


def build_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream simulate-crowd`."""
    parser = Parser(
        prog="crowdstream simulate-crowd",
        description="Send a simulated crowd's movement, driven by the master level, to a server.",
        epilog="See docs/concepts/the-dj.md.",
    )  # fmt: skip
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="host of the server (%(default)s)")
    add("--port", type=int, default=57120, help="OSC port of the server (%(default)s)")
    add("--seed", type=int, default=1, help="the same seed gives the same crowd (%(default)s)")
    add("--size", type=float, default=0.8, help="how full the floor gets, 0 to 1 (%(default)s)")
    add("--speed", type=float, default=1.0, help="speed of the simulation (%(default)s)")
    add_duration(parser, "end after this time")
    add("--address", default="/dance/total_movement", help="OSC address to send (%(default)s)")
    return parser


def run_simulation(arguments: Sequence[str]) -> int:
    """Run `crowdstream simulate-crowd` and return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    duration = duration_of(parser, options) or math.inf
    if not 0 <= options.size <= 1:
        parser.error(f"--size must be from 0 to 1, not {options.size:g}")
    if not 0 < options.speed <= 1000:
        parser.error(f"--speed must be above 0 and at most 1000, not {options.speed:g}")
    ended = threading.Event()

    def end(_number: int, _frame: Any) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    crowd = Crowd(options.seed, options.size)
    try:
        server = ServerPoller(connect(options.host, options.port), 5.0)
    except OSError as error:
        print(f"crowdstream simulate-crowd: {options.host}: {error.strerror}")
        return 1
    deadline = time.monotonic() + duration
    energy, requested_at = 0.0, -math.inf
    while time.monotonic() < deadline and not ended.is_set():
        now = time.monotonic()
        if now - requested_at > 5.0:
            requested_at = now
            server.send("/meters", RATE)
        for address, values in server.receive(now):
            if address == "/meter" and values[:1] == ("master",):
                energy = (float(values[3]) - QUIET_LUFS) / (LOUD_LUFS - QUIET_LUFS)
        movement = crowd.step(min(1.0, max(0.0, energy)), options.speed / RATE)
        server.send(options.address, movement)
        ended.wait(1.0 / RATE)
    server.send("/meters", 0.0)
    server.close()
    return 0
