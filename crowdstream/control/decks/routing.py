"""Routing from decks and buses to buses and the master."""

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
class _Route:
    """A route from one bus to another: the frames at which it last opened and closed, or -1."""

    opened: int = -1
    closed: int = -1

    def is_open(self, frame: int) -> bool:
        """Whether the route may be open at `frame` or later."""
        return self.opened >= 0 and not self.opened <= self.closed <= frame


class Routing:
    """Keeps track of open routes between buses, and refuses those that would close a loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._routes: dict[tuple[int, int], _Route] = {}

    def to_state(self) -> list[Any]:
        """Return the routes between buses as JSON-compatible state; see `restore`."""
        return [[*key, route.opened, route.closed] for key, route in self._routes.items()]

    def restore(self, state: list[Any]) -> None:
        """Restore the routes from `to_state`."""
        self._routes = {
            (bus, destination): _Route(opened, closed)
            for bus, destination, opened, closed in state
        }

    def change(
        self, source: int, destination: int, gain: float, frame: int, seconds: float
    ) -> int:
        """Register a gain that ramps from `frame` on for `seconds`; return the row of its ramp.

        `source` and `destination` are indices of `SOURCES` and `DESTINATIONS`. Raises
        `BadArgument` for a route that would close a loop.
        """
        bus = source - DECKS
        if bus >= 0 and destination < BUSES:
            if bus == destination:
                raise BadArgument(f"source: {SOURCES[source]} can't be sent to itself")
            if gain > 0.0:
                self._refuse_loop(bus, destination, frame)
            route = self._routes.setdefault((bus, destination), _Route())
            if gain > 0.0:
                route.opened = max(route.opened, frame)
            elif frame >= route.opened:
                route.closed = frame + round(seconds * self._desk.sample_rate) + 1
        return patch_ramp(source, destination)

    def _refuse_loop(self, bus: int, destination: int, frame: int) -> None:
        back = self._routes.get((destination, bus), _Route())
        if not back.is_open(frame):
            return
        here, there = DESTINATIONS[bus], DESTINATIONS[destination]
        loop = f"{here} to {there} would close a feedback loop: {there} feeds {here}"
        if back.closed >= back.opened:
            left = (back.closed - frame) / self._desk.sample_rate
            raise BadArgument(f"destination: {loop} for another {left:.2f} s, while it fades out")
        raise BadArgument(f"destination: {loop}; set that route to 0 first")
