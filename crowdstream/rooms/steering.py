"""Where a room is in the mix, where it should be, and at which rate it gets there.

All rooms count frames of the same mix; their numbers differ by a whole number, the *shift* of a
room: the leader's frame is the room's frame plus the shift. Both sides know which frame of the mix
is audible at an instant of their own clock, so the difference of both is known at any time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from crowdstream.rooms.clocks import CardReading, Reading

# Time constants with which a deviation is corrected, and how much that may change the rate: at most
# 0.3 cents in step.
CORRECT_SECONDS, APPROACH_SECONDS = 5.0, 1.5
MAX_CORRECTION = 200e-6
# While not in step: what a room that has lost some milliseconds may do; 3.5 cents.
MAX_APPROACH = 2000e-6
IN_STEP_SECONDS, OUT_OF_STEP_SECONDS = 0.0003, 0.0007
# A deviation that is larger is not corrected by the rate: the room counts its frames again, and its
# decks jump, which is inaudible only on a beat.
RELOCK_SECONDS = 0.02


class Place(NamedTuple):
    """The frame of the mix that is audible at an instant: `frame` at `at` (s), `rate` frames/s."""

    at: float
    frame: float
    rate: float

    def frame_at(self, at: float) -> float:
        """Return the (fractional) frame that is audible at an instant."""
        return self.frame + (at - self.at) * self.rate


def own_place(
    card: CardReading, now: float, out: int, place: float, rate: float, latency: float
) -> Place:
    """Return what is audible here.

    The device has received `out` frames when it is at frame `place` of the mix; each further one
    advances by 1 + `rate` frames. `latency`: s from request to sound.
    """
    ahead = card.out_at(now - latency) - out
    return Place(now, place + ahead * (1.0 + rate), card.rate * (1.0 + rate))


def leaders_place(clock: Reading, theirs: Place, now: float) -> Place:
    """Return what is audible at the leader, by the own clock."""
    at = clock.theirs(now)
    return Place(now, theirs.frame_at(at), theirs.rate * (1.0 + clock.skew))


class Steering:
    """Computes the rate of the output from the deviation. For one thread."""

    def __init__(self, sample_rate: float) -> None:
        self._rate = sample_rate
        self.shift: int | None = None
        self.deviation = 0.0
        """Seconds by which this room is behind the leader."""
        self.in_step = False
        self.relocks = 0
        self.drift = 0.0
        """The rate without a correction: at which the deviation stays what it is."""

    def reset(self) -> None:
        """The leader is another one: forget the shift."""
        self.shift = None
        self.in_step = False
        self.deviation = 0.0

    def update(self, own: Place, leader: Place, card: CardReading) -> float:
        """Return the wanted rate, relative; sets `shift` if it is unknown or can't be kept."""
        behind = leader.frame - own.frame  # frames, with the shift
        if self.shift is not None:
            self.deviation = (behind - self.shift) / self._rate
            if abs(self.deviation) > RELOCK_SECONDS:
                self.relocks += 1
                self.shift = None
        if self.shift is None:
            self.shift = math.floor(behind + 0.5)
            self.deviation = (behind - self.shift) / self._rate
            self.in_step = True
        limit = IN_STEP_SECONDS if not self.in_step else OUT_OF_STEP_SECONDS
        self.in_step = abs(self.deviation) < limit
        most, seconds = MAX_APPROACH, APPROACH_SECONDS
        if self.in_step:
            most, seconds = MAX_CORRECTION, CORRECT_SECONDS
        correction = min(max(self.deviation / seconds, -most), most)
        self.drift = leader.rate / card.rate - 1.0
        return self.drift + correction
