"""MIDI clock output: 24 ticks per beat of the server's clock, with start, stop and song position.

Ticks are sent when the beat is audible: the output latency is included. While something plays the
receivers run; they start at a beat, with its song position, so their bars agree.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from crowdstream.desk.block import Desk
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.timing.output_clock import OutputClock

TICKS = 24  # per beat
TICK, START, CONTINUE, STOP, SONG_POSITION = 0xF8, 0xFA, 0xFB, 0xFC, 0xF2
SIXTEENTHS = 4  # per beat; the unit of a song position
MAX_POSITION = 1 << 14
MAX_CATCH_UP = 3  # ticks that are sent at once; further behind, they are skipped
JUMP_TICKS = 12  # a position this far from the expected one means that the clock was reset
QUIET_SECONDS = 1.0  # without a voice until the receivers are stopped
NEAR = 2e-4  # s: a tick that is due within this time is sent now, because timers wake early
MIN_BPM = 1.0


class ClockSender:
    """Sends the clock with `send`, which takes the bytes of one message. For one thread."""

    def __init__(
        self, desk: Desk, send: Callable[[list[int]], None],
        clock: OutputClock, monotonic: Callable[[], float] = time.monotonic,
        meter: Callable[[], float] = lambda: 4.0,
    ) -> None:  # fmt: skip
        """`meter` returns the beats of a bar."""
        self._desk = desk
        self._send = send
        self._clock = clock
        self._monotonic = monotonic
        self._meter = meter
        self._next: int | None = None
        self._running = False
        self._heard_at = -math.inf
        self.sent = 0
        """Ticks sent."""

    def turn(self) -> float:
        """Send what is due; return when the next tick is due (monotonic seconds)."""
        now = self._monotonic()
        moment = read_snapshot(self._desk)
        if any(moment.playing):
            self._heard_at = now
        per_second = max(MIN_BPM, moment.bpm) / 60.0 * TICKS
        frames = self._clock.audible_frame(now) - moment.frame
        place = moment.beat * TICKS + frames / self._desk.sample_rate * per_second
        if self._next is None or abs(place - self._next) > JUMP_TICKS:
            self.stop()
            self._next = math.floor(place) + 1
        latest = math.floor(place + NEAR * per_second)
        if latest - self._next >= MAX_CATCH_UP:
            self.stop()  # receivers count ticks: they start again at the next beat
            self._next = latest
        while self._next <= latest:
            self._tick(self._next, now)
            self._next += 1
        return now + (self._next - place) / per_second

    def _tick(self, number: int, now: float) -> None:
        if number % TICKS == 0:
            plays = now - self._heard_at < QUIET_SECONDS
            if plays and not self._running and number >= 0:
                self._start(number // TICKS)
            elif not plays:
                self.stop()
        self._send([TICK])
        self.sent += 1

    def _start(self, beat: int) -> None:
        self._running = True
        if beat == 0:
            self._send([START])
            return
        bar = SIXTEENTHS * max(1, round(self._meter()))
        place = beat * SIXTEENTHS % (MAX_POSITION // bar * bar)  # at the same place in its bar
        self._send([SONG_POSITION, place & 0x7F, place >> 7])
        self._send([CONTINUE])

    def stop(self) -> None:
        """Stop the receivers, if they run."""
        if self._running:
            self._running = False
            self._send([STOP])
