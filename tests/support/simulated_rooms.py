"""Rooms in virtual time: the real leader and followers, with simulated networks, clocks and cards.

An hour takes a minute or two. The network delays each packet by up to 40 ms and loses some; the
machines' clocks differ by years and drift; the sound cards drift, and their callbacks are late.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crowdstream.rooms.clocks import CardClock
from crowdstream.rooms.follower import Follower
from crowdstream.rooms.leader import Leader
from crowdstream.rooms.packets import read_key
from crowdstream.rooms.steering import Place, own_place
from crowdstream.timing.steering import OutputMark

RATE = 44100.0
BLOCK = 256
KEY = read_key(b"a secret that all rooms share")
ABOUT = {"base_bpm": 120.0, "sample_rate": RATE}
STEP_SECONDS = 0.005
MAX_SLEW = 0.004  # of the engine, per second
YEAR = 3.156e7


@dataclass
class Network:
    """What happens to packets. `delay`: the most by which one is late, s; `loss`: share."""

    delay: float = 0.04
    loss: float = 0.05
    least: float = 0.0005


class Card:
    """A sound card and its engine: where it truly is in the mix at a true time."""

    def __init__(self, ppm: float, latency: float, rng: random.Random, offset: float) -> None:
        self.hertz = RATE * (1.0 + ppm * 1e-6)
        self.latency = latency
        self._rng = rng
        self._offset = offset  # true time at which frame 0 is requested
        self.wanted = self.rate = 0.0
        self.out = 0
        self.place = float(rng.randrange(10**6))
        self.next_at = offset
        self.mark: tuple[float, int, float, float] | None = None

    def run(self, now: float) -> None:
        """Request blocks until true time `now`. A callback is late by up to 3 ms, seldom by 15."""
        while self.next_at <= now:
            late = self._rng.expovariate(3000.0)
            if self._rng.random() < 0.01:
                late += self._rng.uniform(0.0, 0.015)
            self.mark = (self.next_at + late, self.out, self.place, self.rate)
            self.out += BLOCK
            self.place += BLOCK * (1.0 + self.rate)
            step = MAX_SLEW * BLOCK / RATE
            self.rate += min(max(self.wanted - self.rate, -step), step)
            self.next_at = self._offset + self.out / self.hertz

    def interrupt(self, seconds: float) -> None:
        """The stream stops for a while, and goes on where it was."""
        self._offset += seconds
        self.next_at += seconds

    def audible(self, now: float) -> float:
        """The frame of the mix that is truly audible at true time `now`."""
        ahead = now - self.latency - (self.next_at - BLOCK / self.hertz)
        place = self.place - BLOCK * (1.0 + self.rate)
        return place + ahead * self.hertz * (1.0 + self.rate)


class Machine:
    """A clock that is wrong by `offset` seconds, and fast by `ppm`."""

    def __init__(self, world: World, offset: float, ppm: float) -> None:
        self._world = world
        self.offset, self.skew = offset, ppm * 1e-6

    def at(self, true: float) -> float:
        """Its time at a true time."""
        return self.offset + true * (1.0 + self.skew)

    def monotonic(self) -> float:
        """Its time now."""
        return self.at(self._world.now)


class SimulatedRoom:
    """A follower with its machine and its card."""

    def __init__(self, world: World, name: str, machine: Machine, card: Card) -> None:
        self.world, self.name, self.machine, self.card = world, name, machine, card
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[tuple[dict[str, Any], int]] = []
        self.due = 0.0
        self.start()

    def start(self) -> None:
        """Start the process, or start it again after it was killed."""
        self.follower: Follower | None = Follower(
            KEY, {**ABOUT, "name": self.name}, RATE,
            lambda data: self.world.post(
                lambda: self.world.leader.receive(
                    data, self.name, self.world.machine.monotonic()
                )
            ),
            self._steer, lambda message, shift: self.messages.append((message, shift)),
            lambda event, values: self.events.append((event, values)), self.machine.monotonic,
        )

    def kill(self) -> None:
        """End the process; the card plays on."""
        self.follower = None

    def _steer(self, rate: float) -> None:
        self.card.wanted = rate

    def receive(self, data: bytes) -> None:
        """A packet arrives."""
        if self.follower is not None:
            self.follower.receive(data, self.machine.monotonic())

    def turn(self) -> None:
        """Let card and process do their work."""
        self.card.run(self.world.now)
        if self.follower is None:
            return
        if self.card.mark is not None and self.card.mark[0] <= self.world.now:
            at, out, place, rate = self.card.mark
            mark = OutputMark(round(self.machine.at(at) * 1e9), out, place, rate)
            self.follower.mark(mark)
        now = self.machine.monotonic()
        if now >= self.due:
            self.due = self.follower.turn(now, self.card.latency)


class World:
    """A leader and its rooms. `run` lets time pass; `offsets` are the true deviations."""

    def __init__(
        self,
        cards: tuple[float, ...] = (0.0, 100.0, -100.0),
        network: Network | None = None,
        seed: int = 1,
    ) -> None:
        """`cards`: ppm of the leader's card and those of the rooms."""
        self.now = 0.0
        self.rng = random.Random(seed)
        self.network = network or Network()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.machine = Machine(self, 3.0 * YEAR, 0.0)
        self.card = Card(cards[0], 0.012, self.rng, 0.1)
        self._clock = CardClock(RATE)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.rooms: list[SimulatedRoom] = []
        self.start_leader()
        for number, ppm in enumerate(cards[1:]):
            machine = Machine(self, YEAR * 20.0 * number + self.rng.random(), 40.0 - 70.0 * number)
            card = Card(ppm, 0.02 + 0.015 * number, self.rng, 0.1 + self.rng.random())
            self.rooms.append(SimulatedRoom(self, f"room{number}", machine, card))

    def start_leader(self) -> None:
        """Start the leader's process, or start it again."""
        self._clock = CardClock(RATE)
        self.leader = Leader(
            KEY, ABOUT, self._to_room, self._place,
            lambda event, values: self.events.append((event, values)), self.machine.monotonic,
        )

    def post(self, arrive: Callable[[], None]) -> None:
        """Send a packet: it may be lost, late, and overtaken."""
        if self.rng.random() >= self.network.loss:
            at = self.now + self.network.least + self.rng.random() * self.network.delay
            heapq.heappush(self._queue, (at, next(self._order), arrive))

    def _to_room(self, data: bytes, name: str) -> None:
        room = next(one for one in self.rooms if one.name == name)
        self.post(lambda: room.receive(data))

    def _place(self, at: float) -> Place | None:
        card, mark = self._clock.read(at), self.card.mark
        if card is None or mark is None:
            return None
        return own_place(card, at, mark[1], mark[2], mark[3], self.card.latency)

    def run(self, seconds: float, watch: Callable[[], None] = lambda: None) -> None:
        """Let time pass; `watch` is called four times a second."""
        end, watch_at = self.now + seconds, self.now
        while self.now < end:
            step_end = self.now + STEP_SECONDS
            while self._queue and self._queue[0][0] <= step_end:
                at, _, arrive = heapq.heappop(self._queue)
                self.now = max(self.now, at)
                arrive()
            self.now = step_end
            self.card.run(self.now)
            mark = self.card.mark
            if mark is not None and mark[0] <= self.now:
                self._clock.add(self.machine.at(mark[0]), mark[1])
            self.leader.turn(self.machine.monotonic())
            for room in self.rooms:
                room.turn()
            if self.now >= watch_at:
                watch_at += 0.25
                watch()

    def offsets(self) -> list[float]:
        """Seconds by which the leader and each room are off the mean of all masters."""
        places = [self.card.audible(self.now)]
        for room in self.rooms:
            shift = room.follower.steering.shift if room.follower else None
            places.append(room.card.audible(self.now) + (shift or 0))
        mean = sum(places) / len(places)
        return [(place - mean) / RATE for place in places]

    def spread(self) -> float:
        """Seconds between the first and the last of all masters."""
        offsets = self.offsets()
        return max(offsets) - min(offsets)
