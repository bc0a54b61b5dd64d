"""`crowdstream simulate-crowd`: sends movement as a crowd would, for trying out what follows it.

People come, dance as the music asks them to, jump when a drop comes, and get tired. All of it
comes from one seed.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from crowdstream.osc.codec import Malformed, build, parse
from crowdstream.settings.arguments import Parser

RATE = 10.0  # reports a second, as from a camera
ARRIVAL_SECONDS = 600.0  # in which two thirds of them have come
TIRED_SECONDS = 2700.0  # of dancing at full, after which a break is needed
REST_SECONDS = 240.0  # that such a break takes to help
REACTION_SECONDS = 4.0  # that a crowd needs to go along with what is heard
NOISE = 0.04  # of what a camera sees
LOUD_LUFS, QUIET_LUFS = -10.0, -26.0  # of the master: full energy, and none


class Crowd:
    """Movement, step by step. `size`: share of the floor that fills in the end, 0 to 1."""

    def __init__(self, seed: int, size: float = 0.8) -> None:
        self._dice = random.Random(seed)
        self._size = size
        self._seconds = 0.0
        self._joined = 0.0  # how far they go along with the music
        self._tired = 0.0
        self._heard = 0.0
        self._drop = 0.0
        self._wave = self._dice.uniform(0.0, math.tau)

    def step(self, energy: float, seconds: float) -> float:
        """The movement, 0 to 1, `seconds` later. `energy`: of what plays, 0 to 1."""
        self._seconds += seconds
        here = self._size * (1.0 - math.exp(-self._seconds / ARRIVAL_SECONDS))
        if energy - self._heard > 0.25:  # a drop: all at once
            self._drop = 1.0
        self._heard += (energy - self._heard) * min(1.0, seconds / REACTION_SECONDS)
        self._drop *= math.exp(-seconds / 8.0)
        self._joined += (self._heard - self._joined) * min(1.0, seconds / REACTION_SECONDS)
        strain = self._joined - 0.35
        self._tired += seconds * (strain / TIRED_SECONDS if strain > 0 else -1.0 / REST_SECONDS)
        self._tired = min(1.0, max(0.0, self._tired))
        # Groups come from and go to the bar, in minutes.
        self._wave += seconds * math.tau / 180.0
        moods = 1.0 + 0.12 * math.sin(self._wave)
        dancing = self._joined * (1.0 - 0.7 * self._tired) * moods + 0.3 * self._drop
        return min(1.0, max(0.0, here * dancing + self._dice.gauss(0.0, NOISE) * here))


def build_parser() -> argparse.ArgumentParser:
    """The options of this subcommand."""
    parser = Parser(
        prog="crowdstream simulate-crowd",
        description="Send a crowd's movement to a running server, whose master it listens to.",
        epilog="See docs/concepts/the-dj.md.",
    )  # fmt: skip
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the server (%(default)s)")
    add("--port", type=int, default=57120, help="its OSC port (%(default)s)")
    add("--seed", type=int, default=1, help="the same seed is the same crowd (%(default)s)")
    add("--size", type=float, default=0.8, help="how full the floor gets, 0 to 1 (%(default)s)")
    add("--speed", type=float, default=1.0, help="so many times as fast (%(default)s)")
    add("--seconds", type=float, help="end after this time")
    add("--address", default="/dance/total_movement", help="send this message (%(default)s)")
    return parser


def simulate(arguments: Sequence[str]) -> int:
    """`crowdstream simulate-crowd ...`; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.size <= 1:
        parser.error(f"--size is 0 to 1, not {options.size:g}")
    if not 0 < options.speed <= 1000:
        parser.error(f"--speed is above 0, up to 1000, not {options.speed:g}")
    ended = threading.Event()

    def end(_number: int, _frame: Any) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    crowd = Crowd(options.seed, options.size)
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        print(f"crowdstream simulate-crowd: {options.host}: {error.strerror}")
        return 1
    deadline = time.monotonic() + (options.seconds or math.inf)
    with socket.socket(found[0], found[1]) as way:
        way.connect(found[4])
        way.setblocking(False)
        energy, asked = 0.0, -math.inf
        while time.monotonic() < deadline and not ended.is_set():
            if time.monotonic() - asked > 5.0:
                asked = time.monotonic()
                _send(way, "/meters", RATE)
            for loudness in _loudness(way):
                energy = (loudness - QUIET_LUFS) / (LOUD_LUFS - QUIET_LUFS)
            movement = crowd.step(min(1.0, max(0.0, energy)), options.speed / RATE)
            _send(way, options.address, movement)
            ended.wait(1.0 / RATE)
        _send(way, "/meters", 0.0)
    return 0


def _send(way: socket.socket, address: str, *arguments: Any) -> None:
    with contextlib.suppress(OSError):  # a server that is away comes back
        way.send(build(address, arguments))


def _loudness(way: socket.socket) -> Iterator[float]:
    while True:
        try:
            packet = way.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue
        with contextlib.suppress(Malformed):
            for _tag, message in parse(packet):
                if message.address == "/meter" and message.params[:1] == ("master",):
                    yield float(message.params[3])
