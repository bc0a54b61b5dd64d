"""Who goes where: gains from decks and buses to buses and the master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crowdstream.commands.errors import BadArgument
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import BUSES, DECKS
from crowdstream.desk.ramps import patch_ramp

SOURCES = (*"ABCD"[:DECKS], *(f"bus{number}" for number in range(1, BUSES + 1)))
DESTINATIONS = (*(f"bus{number}" for number in range(1, BUSES + 1)), "master")


@dataclass
class _Way:
    """From one bus to another one: when it opened last, and when it has closed since."""

    opened: int = -1
    closed: int = -1

    def is_open(self, frame: int) -> bool:
        """Whether it may be open at `frame` or later."""
        return self.opened >= 0 and not self.opened <= self.closed <= frame


class Routing:
    """Keeps the buses from feeding each other in a circle."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ways: dict[tuple[int, int], _Way] = {}

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [[*key, way.opened, way.closed] for key, way in self._ways.items()]

    def restore(self, note: list[Any]) -> None:
        """Know of the ways that were noted."""
        self._ways = {
            (bus, destination): _Way(opened, closed) for bus, destination, opened, closed in note
        }

    def change(
        self, source: int, destination: int, gain: float, frame: int, seconds: float
    ) -> int:
        """Take note of a gain that is set at `frame`; the row of its ramp.

        Raises `BadArgument` for one that would close a circle.
        """
        bus = source - DECKS
        if bus >= 0 and destination < BUSES:
            if bus == destination:
                raise BadArgument(f"source: {SOURCES[source]} can't be sent to itself")
            if gain > 0.0:
                self._refuse_circle(bus, destination, frame)
            way = self._ways.setdefault((bus, destination), _Way())
            if gain > 0.0:
                way.opened = max(way.opened, frame)
            elif frame >= way.opened:
                way.closed = frame + round(seconds * self._desk.sample_rate) + 1
        return patch_ramp(source, destination)

    def _refuse_circle(self, bus: int, destination: int, frame: int) -> None:
        back = self._ways.get((destination, bus), _Way())
        if not back.is_open(frame):
            return
        here, there = DESTINATIONS[bus], DESTINATIONS[destination]
        way = f"{here} to {there} would close a circle: {there} goes to {here}"
        if back.closed >= back.opened:
            left = (back.closed - frame) / self._desk.sample_rate
            raise BadArgument(f"destination: {way} for another {left:.2f} s, while it fades out")
        raise BadArgument(f"destination: {way}; set that to 0 first")
