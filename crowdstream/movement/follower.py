"""Convert the crowd's movement into a tempo, by a map with attack and release times."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crowdstream.commands.errors import BadArgument

STEP_SECONDS = 0.1  # between two changes of tempo, and the ramp time of each
MOVEMENT = "/dance/total_movement"  # the map's senders replace this address
DETECTOR = "/dance/"  # prefix of the movement detector, which sends all of its readings
FRESH_SECONDS = 2.0  # a sender's reading counts for this long in the mean
MIN_CHANGE = 0.001  # beats per minute; smaller changes are not sent

Pairs = tuple[tuple[float, float], ...]
"""(movement, value) pairs; movement is 0 to 1 and ascending."""


def interpolate(pairs: Pairs, movement: float) -> float:
    """Interpolate linearly between pairs; outside them, the first or last value holds."""
    place = bisect_right(pairs, (movement, float("inf")))
    if place == 0:
        return pairs[0][1]
    if place == len(pairs):
        return pairs[-1][1]
    (low, less), (high, more) = pairs[place - 1 : place + 1]
    return less + (more - less) * (movement - low) / (high - low)


@dataclass(frozen=True)
class Sender:
    """A movement message of another program: the index of its argument (from 0) and its range."""

    argument: int
    low: float
    high: float

    def movement(self, arguments: Sequence[Any]) -> float:
        """Return the movement, 0 to 1, in a message. Raise `BadArgument`."""
        if self.argument >= len(arguments):
            raise BadArgument(f"movement is argument {self.argument + 1}, but there are fewer")
        value = arguments[self.argument]
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise BadArgument(f"movement: argument {self.argument + 1} is not a number")
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class MovementMap:
    """Tempo and energy by movement.

    `below`: pairs of a movement (0 to 1, ascending) and the tempo, in beats per minute, that
    applies under it. `steps`: above those movements, the tempo by linear interpolation.
    `attack_seconds`, `release_seconds`: time from the map's lowest to its highest tempo, and
    back. `lowest_bpm`, `highest_bpm`: limits of the tempo. `silent_seconds`: without a report for
    this long, movement no longer controls the tempo; with None the last report stays in effect.
    `energy`: energy for the DJ, 0 to 1, by movement, smoothed by the energy's own two times.
    `senders`: messages that report movement, by address; the mean of several counts. A map that
    names readings of the movement detector (`/dance/...`) ignores its `/dance/total_movement`,
    unless it names that as well.
    """

    steps: Pairs
    attack_seconds: float = 10.0
    release_seconds: float = 20.0
    below: Pairs = ()
    lowest_bpm: float = 20.0
    highest_bpm: float = 400.0
    silent_seconds: float | None = None
    energy: Pairs = ((0.0, 0.2), (0.6, 1.0))
    energy_attack_seconds: float = 10.0
    energy_release_seconds: float = 30.0
    senders: dict[str, Sender] = field(default_factory=dict)

    def bpm(self, movement: float) -> float:
        """Return the tempo in beats per minute for a movement of 0 to 1."""
        for threshold, tempo in self.below:
            if movement < threshold:
                return self._limited(tempo)
        return self._limited(interpolate(self.steps, movement))

    def _limited(self, bpm: float) -> float:
        return min(self.highest_bpm, max(self.lowest_bpm, bpm))

    def next_bpm(self, bpm: float, movement: float, seconds: float) -> float:
        """Return the tempo `seconds` later, on its way to the tempo for `movement`."""
        return self.towards(bpm, self.bpm(movement), seconds)

    def towards(self, bpm: float, target: float, seconds: float) -> float:
        """Return the tempo `seconds` later, on its way to `target`."""
        tempos = [self._limited(tempo) for _, tempo in (*self.below, *self.steps)]
        span = max(tempos) - min(tempos)
        if span == 0.0:
            span = abs(target - bpm)
        if target > bpm:
            return min(target, bpm + span * seconds / self.attack_seconds)
        return max(target, bpm - span * seconds / self.release_seconds)


class MovementFollower:
    """Computes the tempo that the crowd's movement leads to, at most ten times per second.

    The follower rests until movement is reported, and again from `rest` (a tempo set by hand)
    until the next report. Without a report for the map's `silent_seconds`, it returns to the
    tempo from before, and rests. Times are seconds on the caller's monotonic clock.
    """

    def __init__(self, movement_map: MovementMap | None) -> None:
        self._following = False
        self._last = 0.0
        self._reported_at = 0.0
        self._before: float | None = None
        self.movement = 0.0
        self.set_map(movement_map)

    def set_map(self, movement_map: MovementMap | None) -> None:
        """Follow another map from now on; None leaves the tempo alone."""
        self.map = movement_map
        self._senders: dict[str, Sender] = movement_map.senders if movement_map else {}
        self._readings: dict[str, tuple[float, float]] = {}
        self.ignores_total = MOVEMENT not in self._senders and any(
            address.startswith(DETECTOR) for address in self._senders
        )
        """Whether the map uses other readings of the detector instead of the total."""

    def reading(
        self, address: str, arguments: Sequence[Any], monotonic: Callable[[], float]
    ) -> float | None:
        """Return the movement, 0 to 1, after a message; None if its address is not in the map.

        The movement is the mean of all senders that have reported within `FRESH_SECONDS`. Raise
        `BadArgument`.
        """
        sender = self._senders.get(address)
        if sender is None:
            return None
        now = monotonic()
        self._readings[address] = (sender.movement(arguments), now)
        fresh = [value for value, at in self._readings.values() if now - at <= FRESH_SECONDS]
        return sum(fresh) / len(fresh)

    def to_state(self) -> list[Any]:
        """Return the state as JSON values; see `restore`."""
        # The time of the last report is left out: saving it would write the state on each report.
        return [self._following, self._last, self.movement, self._before]

    def from_state(self, note: list[Any]) -> None:
        """Resume from a saved state."""
        self._following, self._last, self.movement, self._before = note
        self._reported_at = self._last

    def report(self, movement: float, now: float) -> None:
        """Take a report of the crowd's movement, 0 to 1; `now`: monotonic seconds."""
        self.movement = movement
        self._reported_at = now
        if not self._following:
            self._following = True
            self._last = now

    def rest(self) -> None:
        """Leave the tempo alone until the next report of movement."""
        self._following = False
        self._before = None

    def next_tempo(self, bpm: float, now: float) -> float | None:
        """Return the tempo to reach within `STEP_SECONDS`, or None for no change."""
        passed = now - self._last
        if self.map is None or not self._following or passed < STEP_SECONDS:
            return None
        self._last = now
        if self._before is None:
            self._before = bpm
        target = self.map.bpm(self.movement)
        silent = self.map.silent_seconds
        if silent is not None and now - self._reported_at > silent:
            target = self._before
            if abs(target - bpm) < MIN_CHANGE:
                self.rest()
                return None
        wanted = self.map.towards(bpm, target, min(passed, 2 * STEP_SECONDS))
        return wanted if abs(wanted - bpm) >= MIN_CHANGE else None
