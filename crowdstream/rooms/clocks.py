"""Estimates of other clocks: that of another machine, and that of a sound card.

Both are known from events that can only be late. A packet's delay varies by tens of milliseconds,
but it is never negative, and neither is the delay with which a callback is run. So the latest
readings bound the clock from one side, and the line that touches the bounds is the clock itself:
nothing is averaged, and a hundred late readings weigh nothing.

A line needs its slope, too: two crystals differ by tens of ppm, which is a millisecond within half
a minute. The slope is the one that leaves most room between the bounds. Compare V. Paxson, "On
calibrating measurements of packet transit times" (SIGMETRICS 1998), and S. Moon et al., "Estimation
and removal of clock skew from network delay measurements" (INFOCOM 1999).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

MAX_SKEW = 300e-6  # of two crystals
SEARCH_STEPS = 40  # of a golden-section search: to 1e-12
GOLDEN = 0.381966011250105
# Of readings, before which the slope that is known already is used: a callback is late by a tenth
# of what a packet is.
MIN_SLOPE_SECONDS, MIN_CARD_SLOPE_SECONDS = 6.0, 1.5


class Reading(NamedTuple):
    """Another clock's time minus the own time, `difference` (s), at own time `at` (s).

    It changes by `skew` seconds per second. `error`: the bounds allow for this much (s), if the
    network delays both directions equally at its quickest.
    """

    at: float
    difference: float
    skew: float
    error: float

    def theirs(self, own: float) -> float:
        """Return the other clock's time at an instant of the own clock."""
        return own + self.difference + self.skew * (own - self.at)

    def own(self, theirs: float) -> float:
        """Return the own time at an instant of the other clock."""
        since = theirs - self.at - self.difference
        return self.at + since / (1.0 + self.skew)


class _Window:
    """The latest rows of numbers, oldest first: the first column is a time that rises."""

    def __init__(self, rows: int, columns: int) -> None:
        self._held = np.zeros((2 * rows, columns))
        self._rows = rows
        self._end = 0

    def add(self, *row: float) -> None:
        if self._end == len(self._held):
            self._held[: self._rows] = self._held[self._rows :]
            self._end = self._rows
        self._held[self._end] = row
        self._end += 1

    def since(self, earliest: float) -> np.ndarray:
        """Rows that are not older than a time."""
        first = max(0, self._end - self._rows)
        rows = self._held[first : self._end]
        found: np.ndarray = rows[np.searchsorted(rows[:, 0], earliest) :]
        return found

    def clear(self) -> None:
        self._end = 0


class RemoteClock:
    """The clock of another machine, from exchanges of packets. For one thread.

    All times are seconds of monotonic clocks; the two may differ by any amount.
    """

    def __init__(self, seconds: float = 60.0, rows: int = 4096) -> None:
        """`seconds`: age of the oldest exchange that counts; `rows`: number of them at most."""
        self._seconds = seconds
        self._window = _Window(rows, 3)
        self._origin = 0.0
        self._skew = 0.0
        self.exchanges = 0
        self.contradictions = 0
        """Times that the other clock was set, or is not the one it was: all was forgotten."""

    def add(self, sent: float, received: float, replied: float, returned: float) -> bool:
        """Add an exchange: own time, their time, their time, own time.

        Returns False, and ignores it, if it is impossible.
        """
        stay = replied - received
        trip = returned - sent - stay
        if not math.isfinite(trip) or trip < 0.0 or stay < 0.0:
            return False
        middle = 0.5 * (sent + returned)
        if not self.exchanges:
            self._origin = received - sent
        upper = received - sent - self._origin
        lower = replied - returned - self._origin
        rows = self._window.since(middle - self._seconds)
        if len(rows):
            # Bounds that no skew reconciles: the other machine has restarted, or was suspended.
            drift = MAX_SKEW * (middle - rows[:, 0]) + 1e-3
            if ((rows[:, 1] + drift < lower) | (rows[:, 2] - drift > upper)).any():
                self.contradictions += 1
                self._window.clear()
                self._origin = received - sent
                upper, lower = 0.0, replied - returned - self._origin
        self._window.add(middle, upper, lower)
        self.exchanges += 1
        return True

    def read(self, now: float) -> Reading | None:
        """Return the difference of the clocks at own time `now`; None before any exchange."""
        rows = self._window.since(now - self._seconds)
        if not len(rows):
            return None
        times, upper, lower = rows[:, 0] - now, rows[:, 1], rows[:, 2]
        if times[-1] - times[0] >= MIN_SLOPE_SECONDS:
            self._skew = _widest(times, upper, lower)
        highest = float((upper - self._skew * times).min())
        lowest = float((lower - self._skew * times).max())
        return Reading(
            now, self._origin + 0.5 * (highest + lowest), self._skew,
            max(0.0, 0.5 * (highest - lowest)),
        )


def _widest(times: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> float:
    # The slope for which the distance between both bounds is largest: that is concave in the slope.
    def distance(slope: float) -> float:
        return float((upper - slope * times).min() - (lower - slope * times).max())

    left, right = -MAX_SKEW, MAX_SKEW
    first = left + GOLDEN * (right - left)
    second = right - GOLDEN * (right - left)
    at_first, at_second = distance(first), distance(second)
    for _ in range(SEARCH_STEPS):
        if at_first < at_second:
            left, first, at_first = first, second, at_second
            second = right - GOLDEN * (right - left)
            at_second = distance(second)
        else:
            right, second, at_second = second, first, at_first
            first = left + GOLDEN * (right - left)
            at_first = distance(first)
    return 0.5 * (left + right)


class CardReading(NamedTuple):
    """A sound card requests frame `out` at own time `at` (s), then `rate` frames a second."""

    at: float
    out: float
    rate: float

    def out_at(self, at: float) -> float:
        """Return the (fractional) frame that the card requests at an instant."""
        return self.out + (at - self.at) * self.rate


JUMP_SECONDS = 0.02  # a callback that is this early, or late for long: the stream was interrupted
SLOPE_SECONDS = 0.5  # between two computations of a slope, which takes a millisecond
PATIENCE = 25  # late callbacks in a row, before that is believed


class CardClock:
    """The clock of a sound card, from the times of its callbacks. For one thread."""

    def __init__(self, rate: float, seconds: float = 30.0, rows: int = 2048) -> None:
        """`rate`: the nominal rate in Hz."""
        self._nominal = rate
        self._rate = rate
        self._seconds = seconds
        self._window = _Window(rows, 2)
        self._late = 0
        self._latest = -1.0
        self._slope_at = 0.0
        self.interruptions = 0

    def add(self, at: float, out: int) -> None:
        """A callback ran at `at` (s, monotonic) and requested the frames from `out` on."""
        if at <= self._latest:
            return
        self._latest = at
        reading = self.read(at)
        if reading is not None:
            error = (reading.out_at(at) - out) / self._nominal  # positive: it was late
            self._late = self._late + 1 if error > JUMP_SECONDS else 0
            if error < -JUMP_SECONDS or self._late > PATIENCE:
                self.interruptions += 1
                self._late = 0
                self._window.clear()
        self._window.add(at, float(out))

    def read(self, now: float) -> CardReading | None:
        """Return the clock; None before the first callback."""
        rows = self._window.since(now - self._seconds)
        if not len(rows):
            return None
        # Time at which each frame was requested, less what it takes at the nominal rate: a callback
        # that is late makes it larger, so the clock touches these from below.
        origin = rows[-1]
        times = rows[:, 0] - origin[0]
        excess = times - (rows[:, 1] - origin[1]) / self._nominal
        # The slope is excess seconds per second of the card's own time.
        if -times[0] >= MIN_CARD_SLOPE_SECONDS and origin[0] >= self._slope_at:
            self._slope_at = float(origin[0]) + SLOPE_SECONDS
            skew = _touching(times, excess)
            self._rate = self._nominal / (1.0 + skew)
        skew = self._nominal / self._rate - 1.0
        bound = float((excess - skew * times).min())
        # At own time `origin + bound` the card has requested the frame `origin[1]`.
        return CardReading(float(origin[0]) + bound, float(origin[1]), self._rate)


def _touching(times: np.ndarray, values: np.ndarray) -> float:
    # Slope of the line below all points whose distance from them is smallest in total: the edge of
    # their lower convex hull around the mean time.
    middle = float(times.mean())
    hull: list[tuple[float, float]] = []
    for x, y in zip(times.tolist(), values.tolist(), strict=True):
        while len(hull) >= 2:
            (a, b), (c, d) = hull[-2], hull[-1]
            if (c - a) * (y - b) > (x - a) * (d - b):
                break
            hull.pop()
        hull.append((x, y))
    for (a, b), (c, d) in itertools.pairwise(hull):
        if c >= middle:
            return min(max((d - b) / (c - a), -1e-3), 1e-3)
    return 0.0
