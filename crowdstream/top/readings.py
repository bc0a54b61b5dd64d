"""What is known of a server: its latest status, its meters, what happened, whether it answers."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from crowdstream.system.text import printable

FLOOR = -70.0  # dB: what the server sends for silence
HOLD_SECONDS = 1.5  # that the highest peak stays, long enough to be read
FALL_DB = 20.0  # a second, after that
STALE_SECONDS = 8.0  # longer than between two subscriptions, after which each meter is told anew
LOG_LINES = 200
MAX_TEXT = 400  # characters of a text from outside that are looked at

OK, WARN, BAD = "ok", "warn", "bad"


def plain(text: object) -> str:
    """A text from outside as one line without control characters."""
    return printable(str(text)[:MAX_TEXT])


@dataclass
class Meter:
    """Peak, RMS (dB below full scale) and LUFS as told latest, and the peak that is held."""

    peak: float = FLOOR
    rms: float = FLOOR
    lufs: float = FLOOR
    heard: float = -math.inf
    _held: float = FLOOR
    _held_at: float = 0.0

    def take(self, peak: float, rms: float, lufs: float, now: float) -> None:
        """What was told at `now` (monotonic seconds)."""
        held = self.held(now)
        self.peak, self.rms, self.lufs, self.heard = peak, rms, lufs, now
        if peak >= held:
            self._held, self._held_at = peak, now

    def held(self, now: float) -> float:
        """The highest peak of late, dB: it stays for a while, then falls."""
        fallen = FALL_DB * max(0.0, now - self._held_at - HOLD_SECONDS)
        return max(FLOOR, self._held - fallen)

    def silence(self) -> None:
        """Nothing was told for so long that there is nothing."""
        self.peak = self.rms = self.lufs = FLOOR


@dataclass
class Entry:
    """A line of the log. `at`: Unix seconds of the latest, `count`: how often in a row."""

    at: float
    grade: str
    text: str
    count: int = 1


@dataclass
class Readings:
    """All that the picture is made of. Times are monotonic seconds but those of the log."""

    host: str
    port: int
    status: dict[str, Any] = field(default_factory=dict)
    answers: bool = False
    trouble: str = "asked, no answer yet"
    since: float = 0.0  # when `answers` became what it is
    osc_rate: float = 0.0  # messages a second, without those of this program
    gap_at: float = -math.inf  # when the latest underrun or missing page was seen
    meters: dict[str, Meter] = field(default_factory=dict)
    log: deque[Entry] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    chosen: str = ""  # deck that keys act on; empty where they may not

    def number(self, name: str) -> float:
        """A number of the status; 0 where it does not say."""
        value = self.status.get(name, 0.0)
        good = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if good else 0.0

    def count(self, name: str) -> int:
        """A whole number of the status."""
        return int(self.number(name))

    def text(self, name: str) -> str:
        """A text of the status, fit for one line."""
        return plain(self.status.get(name, ""))

    def meter(self, name: str) -> Meter:
        """The meter of that name."""
        return self.meters.setdefault(name, Meter())

    def say(self, at: float, grade: str, text: str) -> None:
        """Add a line to the log; what was just said is counted."""
        text = plain(text)
        if self.log and self.log[-1].text == text:
            self.log[-1].at, self.log[-1].count = at, self.log[-1].count + 1
        else:
            self.log.append(Entry(at, grade, text))

    def playing(self, deck: str) -> bool:
        """Whether a deck plays."""
        return self.status.get(f"deck.{deck}.state") == "playing"


