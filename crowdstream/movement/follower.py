"""How much the crowd moves, as a tempo: a map from a file, followed smoothly."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crowdstream.commands.errors import BadArgument

STEP_SECONDS = 0.1  # between two changes of the tempo, and how long each takes
MOVEMENT = "/dance/total_movement"  # what the map's senders are taken for
DETECTOR = "/dance/"  # the addresses of a movement detector, which sends all of its readings
FRESH_SECONDS = 2.0  # how long a sender's reading counts beside those of the others
MIN_CHANGE = 0.001  # beats a minute: less is not worth a command

Pairs = tuple[tuple[float, float], ...]
"""Movement, 0..1 and rising, and what belongs to it."""


def between(pairs: Pairs, movement: float) -> float:
    """What belongs to a movement: linear between pairs, the first and last go on outwards."""
    place = bisect_right(pairs, (movement, float("inf")))
    if place == 0:
        return pairs[0][1]
    if place == len(pairs):
        return pairs[-1][1]
    (low, less), (high, more) = pairs[place - 1 : place + 1]
    return less + (more - less) * (movement - low) / (high - low)


@dataclass(frozen=True)
class Sender:
    """Another program's message that tells movement: which argument (from 0), and its range."""

    argument: int
    low: float
    high: float

    def movement(self, arguments: Sequence[Any]) -> float:
        """The movement, 0..1, that a message tells. Raises `BadArgument`."""
        if self.argument >= len(arguments):
            raise BadArgument(f"movement is argument {self.argument + 1}, there are less")
        value = arguments[self.argument]
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise BadArgument(f"movement: argument {self.argument + 1} is not a number")
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class MovementMap:
    """Tempo and energy by movement.

    `below`: under each of these movements (0..1, rising) the tempo that stands beside it, beats
    a minute; above them `steps`, linear in between. `attack_seconds`, `release_seconds`: how long
    the tempo takes from the map's lowest to its highest, and back. `lowest_bpm`, `highest_bpm`:
    it never leaves these. `silent_seconds`: without a word for so long, movement counts no more;
    None: the last word holds. `energy`: what a DJ is to play, 0..1, by movement, taken over
    within the energy's own two times. `senders`: messages that report movement, by address; of
    several, the mean counts. A map that names readings of the movement detector (`/dance/...`)
    ignores its `/dance/total_movement`, unless it names that as well.
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
        """The tempo that belongs to a movement."""
        for threshold, tempo in self.below:
            if movement < threshold:
                return self._limited(tempo)
        return self._limited(between(self.steps, movement))

    def _limited(self, bpm: float) -> float:
        return min(self.highest_bpm, max(self.lowest_bpm, bpm))

    def next_bpm(self, bpm: float, movement: float, seconds: float) -> float:
        """Where the tempo is `seconds` later, on its way to what belongs to `movement`."""
        return self.towards(bpm, self.bpm(movement), seconds)

    def towards(self, bpm: float, target: float, seconds: float) -> float:
        """Where the tempo is `seconds` later, on its way to `target`."""
        tempos = [self._limited(tempo) for _, tempo in (*self.below, *self.steps)]
        span = max(tempos) - min(tempos)
        if span == 0.0:
            span = abs(target - bpm)
        if target > bpm:
            return min(target, bpm + span * seconds / self.attack_seconds)
        return max(target, bpm - span * seconds / self.release_seconds)


class Follower:
    """Says, ten times a second at most, to which tempo the crowd's movement leads.

    It rests until movement is reported, and again from `rest` on (a tempo set by hand) until
    the next report. When nobody has told of movement for the map's `silent_seconds`, it goes back
    to the tempo from before, and rests.
    """

    def __init__(self, chart: MovementMap | None) -> None:
        self.map = chart
        self._following = False
        self._last = 0.0
        self._heard = 0.0
        self._before: float | None = None
        self.movement = 0.0
        self._senders: dict[str, Sender] = chart.senders if chart else {}
        self._readings: dict[str, tuple[float, float]] = {}
        self.ignores_total = MOVEMENT not in self._senders and any(
            address.startswith(DETECTOR) for address in self._senders
        )
        """Whether the map takes the detector's other readings in place of the total."""

    def reading(
        self, address: str, arguments: Sequence[Any], monotonic: Callable[[], float]
    ) -> float | None:
        """The movement, 0..1, after a message of one of the map's senders; None: it is of none.

        It is the mean of the senders that have sent something within `FRESH_SECONDS`. Raises
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
        """As JSON holds it; see `restore`."""
        # When movement was told last is left out: that would be a note for each report.
        return [self._following, self._last, self.movement, self._before]

    def restore(self, note: list[Any]) -> None:
        """Go on as the follower did that was noted."""
        self._following, self._last, self.movement, self._before = note
        self._heard = self._last

    def moved(self, movement: float, now: float) -> None:
        """Take note of how much the crowd moves, 0..1; `now`: seconds of any clock."""
        self.movement = movement
        self._heard = now
        if not self._following:
            self._following = True
            self._last = now

    def rest(self) -> None:
        """Leave the tempo alone until movement is reported again."""
        self._following = False
        self._before = None

    def next_tempo(self, bpm: float, now: float) -> float | None:
        """The tempo to go to within `STEP_SECONDS`; None while it is to stay as it is."""
        passed = now - self._last
        if self.map is None or not self._following or passed < STEP_SECONDS:
            return None
        self._last = now
        if self._before is None:
            self._before = bpm
        target = self.map.bpm(self.movement)
        silent = self.map.silent_seconds
        if silent is not None and now - self._heard > silent:
            target = self._before
            if abs(target - bpm) < MIN_CHANGE:
                self.rest()
                return None
        wanted = self.map.towards(bpm, target, min(passed, 2 * STEP_SECONDS))
        return wanted if abs(wanted - bpm) >= MIN_CHANGE else None
