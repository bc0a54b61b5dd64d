"""Follow another device's MIDI clock: a phase-locked loop, and the tempo that reduces the error.

Ticks jitter by milliseconds. The loop is a delay-locked loop of second order, as in F. Adriaensen,
*Using a DLL to filter time* (2005): it predicts the time of each tick, and corrects phase and
period by parts of the error. Its bandwidth falls from `FIRST_HERTZ` to `LAST_HERTZ`, so it locks
quickly and then averages over seconds. `benchmarks/midi.py` measures lock time and error.
"""

from __future__ import annotations

import math

from crowdstream.midi.clock_out import SIXTEENTHS, TICKS

FIRST_HERTZ, LAST_HERTZ = 1.0, 0.1  # bandwidth of the loop
NARROWING_SECONDS = 4.0  # in which the bandwidth falls to the last one
FIRST_TICKS = 12  # whose mean distance begins the loop
MIN_BPM, MAX_BPM = 20.0, 400.0  # those of the server's clock
GAP_SECONDS = 1.0  # without a tick: the device has stopped
LOCK_TICKS = 48  # two beats
LOCK_ERROR = 0.15  # mean distance of a tick from its prediction, in ticks, up to which it is locked
UNLOCK_ERROR = 0.5
ERROR_TICKS = 24  # over which that mean is taken

PULL_SECONDS = 2.0  # in which an error of the phase is removed
MAX_PULL = 0.03  # of the tempo: half a semitone, which keylock hides and others hardly notice
MIN_CHANGE = 0.01  # beats per minute; smaller changes are not sent


class ClockFollower:
    """Phase and tempo of a MIDI clock, from its messages with their times (monotonic seconds)."""

    def __init__(self) -> None:
        self.absurd = 0
        """Times that the tempo left the range of `MIN_BPM` to `MAX_BPM`."""
        self.running = False
        self._position: int | None = None  # tick number of the next tick; None: unknown
        self._reset()

    def _reset(self) -> None:
        self._first: list[float] = []
        self._period = 0.0
        self._predicted = 0.0  # time of the latest tick, smoothed
        self._count = 0
        self._error = 1.0
        self._last = -math.inf
        self.locked = False

    @property
    def bpm(self) -> float:
        """Beats per minute; 0 until there is an estimate."""
        return 60.0 / (TICKS * self._period) if self._period else 0.0

    @property
    def error(self) -> float:
        """Mean distance of the ticks from their predictions, seconds."""
        return self._error * self._period

    def beat(self, now: float) -> float | None:
        """Return the device's beat at an instant; None without a song position or a lock.

        Also None while the device is stopped: its ticks continue, but its position does not.
        """
        if not self.locked or self._position is None or not self.running:
            return None
        return (self._position - 1 + (now - self._predicted) / self._period) / TICKS

    def start(self) -> None:
        """Handle a start message: the next tick is the first of beat 0."""
        self._position, self.running = 0, True

    def resume(self) -> None:
        """Handle a continue message."""
        self.running = True

    def stop(self) -> None:
        """Handle a stop message."""
        self.running = False

    def song_position(self, sixteenths: int) -> None:
        """Handle a song position: that of the next tick after a continue message."""
        self._position = sixteenths * TICKS // SIXTEENTHS

    def check(self, now: float) -> None:
        """Give up the lock of a device that has stopped sending."""
        if now - self._last > GAP_SECONDS and (self.locked or self._first):
            self._reset()

    def tick(self, at: float) -> None:
        """Handle a clock tick."""
        if at - self._last > GAP_SECONDS:
            self._reset()
        self._last = at
        if not self._period:
            self._begin(at)
        else:
            self._update(at)
        if self._position is not None and self.running:
            self._position += 1

    def _begin(self, at: float) -> None:
        self._first.append(at)
        if len(self._first) > FIRST_TICKS:
            period = (self._first[-1] - self._first[0]) / FIRST_TICKS
            if self._in_range(period):
                self._period, self._predicted = period, at
                self._count = 0
            else:
                self._reset()
                self._last = at

    def _in_range(self, period: float) -> bool:
        if 60.0 / MAX_BPM <= period * TICKS <= 60.0 / MIN_BPM:
            return True
        self.absurd += 1
        return False

    def _update(self, at: float) -> None:
        period = self._period
        predicted = self._predicted + period
        error = at - predicted
        if error > 0.75 * period:  # ticks were lost on the way: the position counts them
            lost = round(error / period)
            predicted += lost * period
            error = at - predicted
            if self._position is not None and self.running:
                self._position += lost
        self._count += 1
        self._error += (abs(error) / period - self._error) / min(self._count, ERROR_TICKS)
        passed = min(1.0, self._count * period / NARROWING_SECONDS)
        hertz = FIRST_HERTZ * (LAST_HERTZ / FIRST_HERTZ) ** passed
        omega = 2.0 * math.pi * hertz * period
        self._predicted = predicted + math.sqrt(2.0) * omega * error
        self._period += omega * omega * error
        if not self._in_range(self._period) or self._error > UNLOCK_ERROR:
            self._reset()
            self._last = at
        elif self._count >= LOCK_TICKS and self._error < LOCK_ERROR:
            self.locked = True


def shortest(error: float, meter: float) -> float:
    """Return an error in beats modulo a bar of `meter` beats: at most half a bar either way."""
    return (error + 0.5 * meter) % meter - 0.5 * meter


def steered_tempo(bpm: float, error: float, meter: float = 1.0) -> float:
    """Return the tempo that follows a clock of `bpm`, which is ahead by `error` beats.

    The error counts modulo a bar of `meter` beats.
    """
    near = shortest(error, meter)
    pull = max(-MAX_PULL, min(MAX_PULL, 60.0 * near / PULL_SECONDS / bpm))
    return min(MAX_BPM, max(MIN_BPM, bpm * (1.0 + pull)))
