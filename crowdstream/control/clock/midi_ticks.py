"""Ticks of the clock for subscribers, as near as can be to when the beat sounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crowdstream.control.clock.clock import BeatClock, FrameClock
from crowdstream.control.engine_queue.request import Reply
from crowdstream.desk.block import Desk
from crowdstream.osc.codec import Double

AT_ONCE = 256  # ticks that are caught up on in one go; after a longer pause they are left out
NEAR_TICK = 1e-9  # of a tick: so close to it is there


@dataclass
class _Listener:
    per_beat: int
    reply: Reply
    next: int  # number of the tick that comes next, counted from beat 0


class MidiTicks:
    """Who gets how many ticks a beat, and when the next one is due."""

    def __init__(
        self,
        desk: Desk,
        beats: BeatClock,
        clock: FrameClock,
        monotonic: Callable[[], float],
        reply_to: Callable[[Any], Reply],
    ) -> None:
        """`reply_to`: what sends answers to somebody."""
        self._desk = desk
        self._beats = beats
        self._clock = clock
        self._monotonic = monotonic
        self._reply_to = reply_to
        self._listeners: dict[Any, _Listener] = {}

    def listen(self, sender: Any, per_beat: int, reply: Reply) -> None:
        """Send so many ticks a beat from the next one on; 0: none."""
        self.forget(sender)
        if per_beat:
            next_tick = math.floor(self._beats.beat(self._sounding()) * per_beat) + 1
            self._listeners[sender] = _Listener(per_beat, reply, next_tick)

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [[sender, one.per_beat, one.next] for sender, one in self._listeners.items()]

    def restore(self, note: list[tuple[Any, int, int]]) -> None:
        """Go on sending to those that were noted."""
        for sender, per_beat, following in note:
            reply = self._reply_to(sender)
            self._listeners[sender] = _Listener(per_beat, reply, following)

    def forget(self, sender: Any) -> None:
        """Send this one no more."""
        self._listeners.pop(sender, None)

    def _sounding(self) -> float:
        # The frame that is heard now.
        latency = float(self._desk.clock["latency"]) * self._desk.sample_rate
        return self._clock.frame_rendered(self._monotonic()) - latency

    def due(self) -> float | None:
        """The instant of the monotonic clock at which the next tick sounds; None without any."""
        if not self._listeners:
            return None
        heard = self._sounding()
        rate = self._desk.sample_rate
        frames = [
            self._beats.frame_of(entry.next / entry.per_beat, heard)
            for entry in self._listeners.values()
        ]
        return self._monotonic() + (min(frames) - heard) / rate

    def send(self) -> None:
        """Send the ticks that sound by now."""
        if not self._listeners:
            return
        heard = self._sounding()
        beat = self._beats.beat(heard)
        for entry in self._listeners.values():
            latest = math.floor(beat * entry.per_beat + NEAR_TICK)
            if not -1 <= latest - entry.next < AT_ONCE:
                entry.next = latest  # the clock was set to another beat, or stood still for long
            while entry.next <= latest:
                self._send(entry, heard)
                entry.next += 1

    def _send(self, entry: _Listener, heard: float) -> None:
        beat = entry.next / entry.per_beat
        frame = self._beats.frame_passed(beat, heard)
        sounds = self._clock.wall() + (frame - heard) / self._desk.sample_rate
        if entry.per_beat > 1:
            entry.reply("/clock/tick", entry.next, beat, frame, Double(sounds))
            return
        bar, number = divmod(entry.next, self._beats.meter)
        entry.reply("/beat", bar + 1, number + 1, self._beats.bpm_at(frame), frame, Double(sounds))
