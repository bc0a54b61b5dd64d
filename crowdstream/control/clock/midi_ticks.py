"""Clock ticks for subscribers, sent as closely as possible to the moment the beat is audible."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crowdstream.control.clock.clock import BeatClock, FrameClock
from crowdstream.control.engine_queue.request import Reply
from crowdstream.desk.block import Desk
from crowdstream.osc.codec import Double

MAX_CATCH_UP = 256  # missed ticks that are sent in one go; after a longer pause they are skipped
NEAR_TICK = 1e-9  # ticks: a position this close to a tick counts as on it


@dataclass
class _Listener:
    per_beat: int
    reply: Reply
    next: int  # number of the next tick, counted from beat 0


class MidiTicks:
    """Subscribers of ticks, each with its own resolution. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        beats: BeatClock,
        clock: FrameClock,
        monotonic: Callable[[], float],
        reply_to: Callable[[Any], Reply],
    ) -> None:
        """`reply_to` returns the reply function of a sender."""
        self._desk = desk
        self._beats = beats
        self._clock = clock
        self._monotonic = monotonic
        self._reply_to = reply_to
        self._listeners: dict[Any, _Listener] = {}

    def listen(self, sender: Any, per_beat: int, reply: Reply) -> None:
        """Send `per_beat` ticks a beat to a sender, starting with the next one; 0: none."""
        self.forget(sender)
        if per_beat:
            next_tick = math.floor(self._beats.beat(self._audible_frame()) * per_beat) + 1
            self._listeners[sender] = _Listener(per_beat, reply, next_tick)

    def to_state(self) -> list[Any]:
        """Return the subscriptions as JSON-compatible state; see `restore`."""
        return [[sender, one.per_beat, one.next] for sender, one in self._listeners.items()]

    def restore(self, state: list[tuple[Any, int, int]]) -> None:
        """Restore the subscriptions of an earlier control process."""
        for sender, per_beat, following in state:
            reply = self._reply_to(sender)
            self._listeners[sender] = _Listener(per_beat, reply, following)

    def senders(self) -> list[Any]:
        """Return the subscribed senders."""
        return list(self._listeners)

    def forget(self, sender: Any) -> None:
        """Remove a sender's subscription."""
        self._listeners.pop(sender, None)

    def _audible_frame(self) -> float:
        return self._clock.audible_frame(self._monotonic())

    def due(self) -> float:
        """Return the instant (monotonic seconds) of the next tick; infinity without subscribers."""
        if not self._listeners:
            return math.inf
        audible = self._audible_frame()
        rate = self._desk.sample_rate
        frames = [
            self._beats.frame_of(entry.next / entry.per_beat, audible)
            for entry in self._listeners.values()
        ]
        return self._monotonic() + (min(frames) - audible) / rate

    def send(self) -> None:
        """Send all ticks whose moment has come."""
        if not self._listeners:
            return
        audible = self._audible_frame()
        beat = self._beats.beat(audible)
        for entry in self._listeners.values():
            latest = math.floor(beat * entry.per_beat + NEAR_TICK)
            if not -1 <= latest - entry.next < MAX_CATCH_UP:
                entry.next = latest  # the clock was reset, or was interrupted for a long time
            while entry.next <= latest:
                self._send(entry, audible)
                entry.next += 1

    def _send(self, entry: _Listener, audible: float) -> None:
        beat = entry.next / entry.per_beat
        frame = self._beats.frame_passed(beat, audible)
        sounds = self._clock.wall() + (frame - audible) / self._desk.sample_rate
        if entry.per_beat > 1:
            entry.reply("/clock/tick", entry.next, beat, frame, Double(sounds))
            return
        bar, number = divmod(entry.next, self._beats.meter)
        entry.reply("/beat", bar + 1, number + 1, self._beats.bpm_at(frame), frame, Double(sounds))
