"""Meters for subscribers: peak, RMS and momentary loudness, at their rate, when they change."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS, Request
from crowdstream.control.publish.subscribers import SILENT_SECONDS
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, STEMS, TAP_STEM
from crowdstream.desk.opcodes import METERS_MIX, METERS_STEMS
from crowdstream.desk.taps import CONTROL, release_tap, request_tap
from crowdstream.monitor.meters import FLOOR, MeterReader, Reading

log = logging.getLogger(__name__)


@dataclass
class _Subscriber:
    request: Request
    rate: float
    stems: bool
    due: float
    last_message: float
    reader: MeterReader
    shown: dict[str, Reading] = field(default_factory=dict)


class Meters:
    """Reads the engine's meters and sends them to subscribers. For the control thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._subscribers: dict[Any, _Subscriber] = {}
        self._shown = False
        self._limited = False

    def set_desk_readers(self, on: bool) -> None:
        """Switch metering on or off for readers of the desk, such as the web process."""
        if on != self._shown:
            self._shown = on
            self._switch()

    def set_loudness_limit(self, on: bool) -> None:
        """Switch metering on or off for the loudness limit."""
        if on != self._limited:
            self._limited = on
            self._switch()

    def subscribe(self, request: Request, rate: float, stems: bool, now: float) -> None:
        """Send meters to a command's sender `rate` times per second; 0 unsubscribes it.

        When there are too many subscribers, the one that was silent longest is removed; see
        `subscribers.SILENT_SECONDS`. Raises `Refused` if there is none.
        """
        if rate == 0:
            self.unsubscribe(request.sender)
        else:
            others = self._subscribers.keys() - {request.sender}
            if len(others) >= MAX_SUBSCRIBERS:
                self._remove_silent(now)
            self._subscribers[request.sender] = _Subscriber(
                request, rate, stems, now, now, MeterReader(self._desk)
            )
        self._switch()

    def mark_alive(self, sender: Any, now: float) -> None:
        """Note that `sender` has sent a message and is not silent."""
        subscriber = self._subscribers.get(sender)
        if subscriber is not None:
            subscriber.last_message = now

    def _remove_silent(self, now: float) -> None:
        silent = min(self._subscribers, key=lambda one: self._subscribers[one].last_message)
        if now < self._subscribers[silent].last_message + SILENT_SECONDS:
            raise Refused(f"{MAX_SUBSCRIBERS} clients are subscribed to meters already")
        log.info("%s was silent for a long time: its meters go to another client", silent)
        del self._subscribers[silent]

    def unsubscribe(self, sender: Any) -> None:
        """Stop sending meters to `sender`."""
        if self._subscribers.pop(sender, None) is not None:
            self._switch()

    def senders(self) -> list[Any]:
        """Return the subscribed senders."""
        return list(self._subscribers)

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [[one.request.to_state(), one.rate, one.stems] for one in self._subscribers.values()]

    def restore(self, request: Request, rate: float, stems: bool, now: float) -> None:
        """Resume a saved subscription. The engine is measuring for it already."""
        reader = MeterReader(self._desk)
        self._subscribers[request.sender] = _Subscriber(request, rate, stems, now, now, reader)

    def held_taps(self) -> list[int]:
        """Taps held in order to measure stems."""
        stems = any(subscriber.stems for subscriber in self._subscribers.values())
        return list(range(TAP_STEM, TAP_STEM + STEMS * DECKS)) if stems else []

    def _switch(self) -> None:
        # Measure only what is subscribed. The signal of a stem alone exists only while a tap is on.
        was = bool(int(self._desk.metering["on"]) & METERS_STEMS)
        stems = any(subscriber.stems for subscriber in self._subscribers.values())
        if stems != was:
            for tap in range(TAP_STEM, TAP_STEM + STEMS * DECKS):
                (request_tap if stems else release_tap)(self._desk, tap, CONTROL)
        on = METERS_MIX if self._subscribers or self._shown or self._limited else 0
        self._desk.metering["on"] = on | METERS_STEMS if stems else on

    def tick(self, now: float) -> None:
        """Send the meters that are due at `now` (monotonic seconds)."""
        for subscriber in self._subscribers.values():
            if now >= subscriber.due:
                late = now - subscriber.due
                subscriber.due = now + max(0.0, 1.0 / subscriber.rate - late)
                self._send(subscriber)

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity without subscribers."""
        return min((one.due for one in self._subscribers.values()), default=math.inf)

    def _send(self, subscriber: _Subscriber) -> None:
        silence = FLOOR, FLOOR, FLOOR
        for name, values in subscriber.reader.read(subscriber.stems).items():
            if subscriber.shown.get(name, silence) != values:
                subscriber.shown[name] = values
                subscriber.request.reply("/meter", name, *values)
