"""Ticks of the clock for subscribers, as near as can be to when the beat sounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crowdstream.control.context import Reply
from crowdstream.control.packets import Double

if TYPE_CHECKING:
    from crowdstream.control.core import Core

AT_ONCE = 256  # ticks that are caught up on in one go; after a longer pause they are left out
NEAR_TICK = 1e-9  # of a tick: so close to it is there


@dataclass
class _Listener:
    per_beat: int
    reply: Reply
    next: int  # number of the tick that comes next, counted from beat 0


class Ticks:
    """Who gets how many ticks a beat, and when the next one is due."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._listeners: dict[Any, _Listener] = {}

    def listen(self, sender: Any, per_beat: int, reply: Reply) -> None:
        """Send so many ticks a beat from the next one on; 0: none."""
        self.forget(sender)
        if per_beat:
            next_tick = math.floor(self._core.beats.beat(self._sounding()) * per_beat) + 1
            self._listeners[sender] = _Listener(per_beat, reply, next_tick)

    def noted(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [[sender, one.per_beat, one.next] for sender, one in self._listeners.items()]

    def restore(self, note: list[tuple[Any, int, int]]) -> None:
        """Go on sending to those that were noted."""
        for sender, per_beat, following in note:
            reply = self._core.reply_to(sender)
            self._listeners[sender] = _Listener(per_beat, reply, following)

    def forget(self, sender: Any) -> None:
        """Send this one no more."""
        self._listeners.pop(sender, None)

    def _sounding(self) -> float:
        # The frame that is heard now.
        core = self._core
        latency = float(core.desk.clock["latency"]) * core.desk.sample_rate
        return core.clock.frame_rendered(core.monotonic()) - latency

    def due(self) -> float | None:
        """The instant of the monotonic clock at which the next tick sounds; None without any."""
        if not self._listeners:
            return None
        core = self._core
        heard = self._sounding()
        rate = core.desk.sample_rate
        frames = [
            core.beats.frame_of(entry.next / entry.per_beat, heard)
            for entry in self._listeners.values()
        ]
        return core.monotonic() + (min(frames) - heard) / rate

    def send(self) -> None:
        """Send the ticks that sound by now."""
        if not self._listeners:
            return
        heard = self._sounding()
        beat = self._core.beats.beat(heard)
        for entry in self._listeners.values():
            latest = math.floor(beat * entry.per_beat + NEAR_TICK)
            if not -1 <= latest - entry.next < AT_ONCE:
                entry.next = latest  # the clock was set to another beat, or stood still for long
            while entry.next <= latest:
                self._send(entry, heard)
                entry.next += 1

    def _send(self, entry: _Listener, heard: float) -> None:
        core = self._core
        beats = core.beats
        beat = entry.next / entry.per_beat
        frame = beats.frame_passed(beat, heard)
        sounds = core.clock.wall() + (frame - heard) / core.desk.sample_rate
        if entry.per_beat > 1:
            entry.reply("/clock/tick", entry.next, beat, frame, Double(sounds))
            return
        bar, number = divmod(entry.next, beats.meter)
        entry.reply("/beat", bar + 1, number + 1, beats.bpm_at(frame), frame, Double(sounds))
