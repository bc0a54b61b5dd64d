"""Known state of a server: latest status, meters, log, and whether it answers."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from crowdstream.system.text import printable

FLOOR = -70.0  # dB: level that the server sends for silence
HOLD_SECONDS = 1.5  # for which a peak is held, long enough to read it
FALL_DB = 20.0  # dB per second of decay after that
STALE_SECONDS = 8.0  # longer than the subscription interval, after which all meters are sent
LOG_LINES = 200
MAX_TEXT = 400  # characters of a received text that are shown

OK, WARN, BAD = "ok", "warn", "bad"


def plain(text: object) -> str:
    """Return a received text as one line without control characters."""
    return printable(str(text)[:MAX_TEXT])


@dataclass
class Meter:
    """Latest peak, RMS (dB below full scale) and LUFS, and the held peak."""

    peak: float = FLOOR
    rms: float = FLOOR
    lufs: float = FLOOR
    received_at: float = -math.inf
    _held: float = FLOOR
    _held_at: float = 0.0

    def update(self, peak: float, rms: float, lufs: float, now: float) -> None:
        """Store values received at `now` (monotonic seconds)."""
        held = self.held(now)
        self.peak, self.rms, self.lufs, self.received_at = peak, rms, lufs, now
        if peak >= held:
            self._held, self._held_at = peak, now

    def held(self, now: float) -> float:
        """Return the held peak in dB: it stays for a while, then decays."""
        fallen = FALL_DB * max(0.0, now - self._held_at - HOLD_SECONDS)
        return max(FLOOR, self._held - fallen)

    def silence(self) -> None:
        """Reset the levels, because no update has arrived for a long time."""
        self.peak = self.rms = self.lufs = FLOOR


@dataclass
class Entry:
    """A log line. `at`: Unix seconds of its latest occurrence, `count`: consecutive occurrences."""

    at: float
    grade: str
    text: str
    count: int = 1


@dataclass
class Readings:
    """All data of the view. Times are monotonic seconds, except in the log."""

    host: str
    port: int
    status: dict[str, Any] = field(default_factory=dict)
    answers: bool = False
    trouble: str = "no answer yet"
    since: float = 0.0  # when `answers` last changed
    osc_rate: float = 0.0  # messages per second, without those of this program
    gap_at: float = -math.inf  # when the latest underrun or missing page was seen
    meters: dict[str, Meter] = field(default_factory=dict)
    log: deque[Entry] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    chosen: str = ""  # deck that keys act on; empty without --control

    def number(self, name: str) -> float:
        """Return a number of the status, or 0 if it is missing."""
        value = self.status.get(name, 0.0)
        good = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if good else 0.0

    def count(self, name: str) -> int:
        """Return an integer of the status."""
        return int(self.number(name))

    def text(self, name: str) -> str:
        """Return a text of the status, as one line."""
        return plain(self.status.get(name, ""))

    def meter(self, name: str) -> Meter:
        """Return the meter with that name."""
        return self.meters.setdefault(name, Meter())

    def add_log(self, at: float, grade: str, text: str) -> None:
        """Add a line to the log, or count a repetition of the latest line."""
        text = plain(text)
        if self.log and self.log[-1].text == text:
            self.log[-1].at, self.log[-1].count = at, self.log[-1].count + 1
        else:
            self.log.append(Entry(at, grade, text))

    def add_earlier(self, at: float, grade: str, text: str) -> None:
        """Add a line from before the connection, at its place in time."""
        lines = sorted([*self.log, Entry(at, grade, plain(text))], key=lambda entry: entry.at)
        self.log = deque(lines, maxlen=LOG_LINES)

    def playing(self, deck: str) -> bool:
        """Whether a deck is playing."""
        return self.status.get(f"deck.{deck}.state") == "playing"


