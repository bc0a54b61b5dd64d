"""Meters for subscribers: peak, RMS and momentary loudness, at their rate, when they change."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crowdstream.control.context import MOST_SUBSCRIBERS, Context
from crowdstream.control.errors import Refused
from crowdstream.control.table import DECK_LETTERS
from crowdstream.desk.block import Desk
from crowdstream.desk.codes import METERS_MIX, METERS_STEMS
from crowdstream.desk.sizes import (
    DECKS,
    METER_DECKS,
    METER_HOPS,
    METER_OUTPUTS,
    METER_STEMS,
    PAIRS,
    STEMS,
    TAP_STEM,
)
from crowdstream.desk.taps import CONTROL, hold_tap, release_tap
from crowdstream.library.loudness import OFFSET

FLOOR = -70.0  # dB: nothing is shown as softer
STEP = 0.1  # dB: a change smaller than that is none
MOMENTARY_HOPS = 40  # 400 ms


def decibels(power: float, offset: float = 0.0) -> float:
    """A mean square in dB, rounded to `STEP`, at least `FLOOR`."""
    if power <= 0.0:
        return FLOOR
    return max(FLOOR, round((offset + 10.0 * math.log10(power)) / STEP) * STEP)


def _places() -> dict[str, tuple[int, int]]:
    # Group and pair of lanes of each meter.
    found = {"master": (METER_OUTPUTS, 0), "cue": (METER_OUTPUTS, 1)}
    for deck in range(DECKS):
        found[DECK_LETTERS[deck]] = (METER_DECKS, deck)
        for stem in range(STEMS):
            group, pair = divmod(STEMS * deck + stem, PAIRS)
            found[f"{DECK_LETTERS[deck]}/{stem + 1}"] = (METER_STEMS + group, pair)
    return found


PLACES = _places()


@dataclass
class _Subscriber:
    context: Context
    rate: float
    stems: bool
    due: float
    seen: int
    shown: dict[str, tuple[float, float, float]] = field(default_factory=dict)


class Meters:
    """Reads the engine's meters and sends them out. For the control thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._subscribers: dict[Any, _Subscriber] = {}

    def subscribe(self, context: Context, rate: float, stems: bool, now: float) -> None:
        """Send meters to a command's sender so many times a second; 0: no more.

        Raises `Refused` when too many are subscribed.
        """
        if rate == 0:
            self._subscribers.pop(context.sender, None)
        else:
            others = self._subscribers.keys() - {context.sender}
            if len(others) >= MOST_SUBSCRIBERS:
                raise Refused(f"{MOST_SUBSCRIBERS} clients have meters already")
            self._subscribers[context.sender] = _Subscriber(
                context, rate, stems, now, int(self._desk.metering["head"])
            )
        self._switch()

    def noted(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [[one.context.noted(), one.rate, one.stems] for one in self._subscribers.values()]

    def restore(self, context: Context, rate: float, stems: bool, now: float) -> None:
        """Go on sending to one that was noted. The engine measures for it already."""
        head = int(self._desk.metering["head"])
        self._subscribers[context.sender] = _Subscriber(context, rate, stems, now, head)

    def held_taps(self) -> list[int]:
        """The taps that are held so that stems can be measured."""
        stems = any(subscriber.stems for subscriber in self._subscribers.values())
        return list(range(TAP_STEM, TAP_STEM + STEMS * DECKS)) if stems else []

    def _switch(self) -> None:
        # The engine measures what somebody wants. Stems are heard alone only where a tap is on.
        was = bool(int(self._desk.metering["on"]) & METERS_STEMS)
        stems = any(subscriber.stems for subscriber in self._subscribers.values())
        if stems != was:
            for tap in range(TAP_STEM, TAP_STEM + STEMS * DECKS):
                (hold_tap if stems else release_tap)(self._desk, tap, CONTROL)
        on = METERS_MIX if self._subscribers else 0
        self._desk.metering["on"] = on | METERS_STEMS if stems else on

    def tick(self, now: float) -> None:
        """Send what is due at `now` (monotonic seconds)."""
        for subscriber in self._subscribers.values():
            if now >= subscriber.due:
                late = now - subscriber.due
                subscriber.due = now + max(0.0, 1.0 / subscriber.rate - late)
                self._send(subscriber)

    def _send(self, subscriber: _Subscriber) -> None:
        head = int(self._desk.metering["head"])
        # A hop is being written: the ring holds one less.
        fresh = min(head - subscriber.seen, METER_HOPS - 1)
        if fresh <= 0:
            return
        subscriber.seen = head
        ring = self._desk.meter_ring
        hop = int(self._desk.metering["hop"])
        new = ring[np.arange(head - fresh, head) % METER_HOPS].astype(np.float64)
        count = min(head, MOMENTARY_HOPS)
        past = ring[np.arange(head - count, head) % METER_HOPS, :, 2].astype(np.float64)
        peaks = new[:, :, 0].max(axis=0)
        squares = new[:, :, 1].sum(axis=0) / (fresh * hop)
        weighted = past.sum(axis=0) / (MOMENTARY_HOPS * hop)
        for name, (group, pair) in PLACES.items():
            if "/" in name and not subscriber.stems:
                continue
            lanes = slice(2 * pair, 2 * pair + 2)
            values = (
                decibels(float(peaks[group, lanes].max()) ** 2),
                decibels(float(squares[group, lanes].mean())),
                decibels(float(weighted[group, lanes].sum()), OFFSET),
            )
            if subscriber.shown.get(name, (FLOOR, FLOOR, FLOOR)) != values:
                subscriber.shown[name] = values
                subscriber.context.reply("/meter", name, *values)
