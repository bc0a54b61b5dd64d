"""One server of a fleet: its client, its latest status, its clock, and its health."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from crowdstream.client import AsyncClient, ClientError
from crowdstream.client.results import RestartDetector, Status, parse_status, parse_version
from crowdstream.fleet.clock_offset import ClockUnusable, Offset, measure
from crowdstream.fleet.members import Member
from crowdstream.system.text import printable

OK, WARN, BAD = "ok", "warn", "bad"
POLL_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 15.0
REPLY_SECONDS = 2.0  # for a status, after which a server counts as away
CLOCK_SECONDS = 15.0  # between two measurements of a clock: crystals drift by 1 ms in 20 s at most
RECENT_SECONDS = 30.0  # for which a gap in the music counts against the health
UNDERRUN_SECONDS = 60.0
MAX_UNDERRUNS = 5  # within these seconds: busy machines miss a block now and then, as in `/events`
MACHINE_CAUSES = ("late_callback", "device")  # of underruns: the engine itself was in time
CLOCK_OFF_SECONDS = 1.0  # from which a difference of clocks is shown as a fault of the machine
REOPEN_FAILURES = 3  # consecutive ones, after which the host name is resolved again
MAX_TEXT = 200  # characters of a text from a server
GAPS = {
    "underruns_engine": "gaps of the engine", "missing_pages": "missing pages",
    "nonfinite": "frames that were not finite", "guarded": "failed callbacks",
}  # fmt: skip
"""Counters of `/status` that rise only by a fault of the program or its files, and their names.

Underruns are judged by their rate instead: busy machines cause single ones.
"""
_STATE = re.compile(r"deck\.([A-Z])\.state")

Report = Callable[[str, str, str], None]
"""`report(grade, server, text)` writes a line of the log."""


class Underruns(NamedTuple):
    """Numbers of underruns: all, and those of them that the machine caused."""

    all: int
    machine: int


class Track(NamedTuple):
    """What a deck plays or has loaded; times in seconds."""

    deck: str
    state: str
    name: str
    position: float
    length: float


def plain(value: object) -> str:
    """Return a received value as one line without control characters."""
    return printable(str(value)[:MAX_TEXT])


class Watched:
    """A server that is polled by `run`. For one event loop; call `close` at the end."""

    def __init__(
        self, member: Member, report: Report, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.member = member
        self.status: Status = {}
        self.version = ""
        self.answers = False
        self.trouble = "no answer yet"
        self.failures = 0
        """Polls without an answer, in total."""
        self.restarts = 0
        self.offset: Offset | None = None
        self.clock_trouble = "not measured yet"
        self.gap_at = -math.inf
        self.gap = ""
        self._underruns: deque[tuple[float, Underruns]] = deque()
        self.polled = asyncio.Event()
        """Set after the first poll, successful or not."""
        self._report = report
        self._monotonic = monotonic
        self._client: AsyncClient | None = None
        self._users = 0
        self._in_a_row = 0
        self._measured_at = -math.inf
        self._restart = RestartDetector()

    # The client ------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        """Lend the client for an `async with` block. Raises `OSError` for an unknown host."""
        if self._client is None:
            # Here and not in the client, where a slow name server would stop the event loop.
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self.member.host, self.member.port)
            if self._client is None:
                made = AsyncClient(str(found[0][4][0]), self.member.port)
                self._client = await made.__aenter__()
        self._users += 1
        try:
            yield self._client
        finally:
            self._users -= 1

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # Polling ---------------------------------------------------------------------------------

    async def run(self, every: float = POLL_SECONDS) -> None:
        """Poll until cancelled, with back-off while the server does not answer."""
        while True:
            await self.poll()
            wait = every * 2 ** min(self._in_a_row, 10)
            await asyncio.sleep(every if self.answers else min(wait, MAX_BACKOFF_SECONDS))

    async def poll(self) -> None:
        """Query status, version and clock once. Faults are stored, and reported when they begin."""
        try:
            async with self.client() as client:
                asked_at = self._monotonic()
                reply = await client.call("/status", timeout=REPLY_SECONDS)
                self.take_status(parse_status(reply), asked_at)
                if not self.version:
                    reply = await client.call("/version", timeout=REPLY_SECONDS)
                    _name, major, minor, patch = parse_version(reply)
                    branch = " ".join(map(plain, reply[4:6])).strip()
                    self.version = plain(f"{major}.{minor}.{patch} {branch}").strip()
                if self._monotonic() - self._measured_at >= CLOCK_SECONDS:
                    await self.measure_clock(client)
        except (ClientError, OSError, ValueError, TypeError) as error:
            self._fail(error)
        finally:
            self.polled.set()

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self._in_a_row += 1
        text = plain(error) or type(error).__name__
        if self.answers or self.trouble == "no answer yet":
            self._report(BAD, self.member.name, f"does not answer: {text}")
        self.answers, self.trouble = False, text
        if self._in_a_row >= REOPEN_FAILURES and self._users == 0:
            self.close()  # calls under way would never end, so only while there are none

    def take_status(self, status: Status, asked_at: float = math.inf) -> None:
        """Take a status, and report what has happened since the one before.

        `asked_at`: when it was requested, in monotonic seconds.
        """
        now, before = self._monotonic(), self.status
        restarted = self._restart.update(status, now, asked_at)
        if not self.answers:
            self._report(OK, self.member.name, "answers" + (" again" if before else ""))
            self.version = ""  # it may have been upgraded meanwhile
        self.answers, self.trouble, self._in_a_row = True, "", 0
        self.status = status
        if restarted:
            self.restarts += 1
            self.version, self._measured_at = "", -math.inf
            self._report(WARN, self.member.name, "was restarted")
        elif before:
            self._count_underruns(before, status, now)
            risen = gaps_since(before, status)
            if risen:
                if now - self.gap_at >= RECENT_SECONDS:  # a row of gaps is reported once
                    self._report(BAD, self.member.name, risen)
                self.gap_at, self.gap = now, risen

    def _count_underruns(self, before: Status, after: Status, now: float) -> None:
        found = Underruns(
            _risen("underruns", before, after),
            sum(_risen(f"underruns_{cause}", before, after) for cause in MACHINE_CAUSES),
        )
        if not found.all:
            return
        was = self.recent_underruns().all
        self._underruns.append((now, found))
        total = self.recent_underruns().all
        if was <= MAX_UNDERRUNS < total:
            self._report(BAD, self.member.name, describe_underruns(total))
        elif not was:
            self._report(WARN, self.member.name, describe_underruns(total))

    async def measure_clock(self, client: AsyncClient) -> None:
        """Measure the clock now; `offset` is None and `clock_trouble` set if it is not usable."""
        self._measured_at = self._monotonic()
        trouble = ""
        try:
            self.offset = await measure(client)
        except ClockUnusable as error:
            trouble = str(error)
        except ClientError as error:
            trouble = f"its clock cannot be measured: {plain(error)}"
        if trouble:
            self.offset = None
        else:
            ahead = self.clock_difference()
            if abs(ahead) >= CLOCK_OFF_SECONDS:
                trouble = f"its clock is {describe_difference(ahead)}"
        # The amount varies from one measurement to the next: a fault is reported when it begins.
        if trouble and self.clock_trouble in ("", "not measured yet"):
            self._report(WARN, self.member.name, trouble)
        self.clock_trouble = trouble

    # Values ----------------------------------------------------------------------------------

    def number(self, name: str) -> float:
        """Return a finite number of the status, or 0."""
        value = self.status.get(name, 0.0)
        good = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if good else 0.0

    def recent_underruns(self, since: float = -math.inf) -> Underruns:
        """Return the underruns of the last minute, and after `since` (monotonic)."""
        seen, oldest = self._underruns, self._monotonic() - UNDERRUN_SECONDS
        while seen and seen[0][0] < oldest:
            seen.popleft()
        counted = [one for at, one in seen if at > since]
        return Underruns(sum(one.all for one in counted), sum(one.machine for one in counted))

    def usual_machine_underruns(self) -> float:
        """Return the mean number per minute, since its start, of those caused by the machine."""
        minutes = self.number("frame") / (self.number("sample_rate") or 44100.0) / 60.0
        count = sum(self.number(f"underruns_{cause}") for cause in MACHINE_CAUSES)
        return count / max(1.0, minutes)

    def clock_difference(self) -> float:
        """Return by how many seconds its clock is ahead of this machine's; 0 if not known."""
        if self.offset is None:
            return 0.0
        return self.offset.difference(time.time(), time.monotonic())

    def output_delay(self) -> float:
        """Return the seconds from the time of a command until its frame is audible."""
        rate = self.number("sample_rate") or 44100.0
        return self.number("buffer_size") / rate + self.number("latency_ms") / 1000.0

    def tracks(self) -> list[Track]:
        """Return the decks that are not empty."""
        found = []
        for key in self.status:
            deck = _STATE.fullmatch(key)
            state = plain(self.status[key]) if deck else "empty"
            if deck and state != "empty":
                prefix = f"deck.{deck[1]}."
                found.append(Track(
                    deck[1], state, plain(self.status.get(prefix + "track", "")),
                    self.number(prefix + "position"), self.number(prefix + "length"),
                ))  # fmt: skip
        return sorted(found)

    def broken(self) -> list[str]:
        """Return all faults except underruns, the worst first."""
        if not self.answers:
            return [self.trouble]
        bad = []
        if self.number("device_lost"):
            bad.append("the sound device is gone")
        if self._monotonic() - self.gap_at < RECENT_SECONDS:
            bad.append(self.gap)
        return bad + [f"deck {one.deck} is broken" for one in self.tracks()
                      if one.state == "broken"]  # fmt: skip

    def health(self) -> tuple[str, list[str]]:
        """Return the grade and its reasons, the worst first."""
        bad, warn = self.broken(), list[str]()
        if not self.answers:
            return BAD, bad
        if underruns := self.recent_underruns().all:
            reasons = bad if underruns > MAX_UNDERRUNS else warn
            reasons.append(describe_underruns(underruns))
        if self.number("stalled_s"):
            warn.append(f"the medium stalls for {self.number('stalled_s'):.0f} s")
        if self.number("quality"):
            warn.append(f"quality lowered to level {self.number('quality'):.0f}")
        if self.clock_trouble and self.clock_trouble != "not measured yet":
            warn.append(self.clock_trouble)
        return (BAD if bad else WARN if warn else OK), [*bad, *warn]

    def describe(self) -> dict[str, Any]:
        """Return what the page shows, JSON-compatible."""
        grade, reasons = self.health()
        offset = self.offset
        return {
            "name": self.member.name, "place": self.member.place,
            "groups": sorted(self.member.groups), "answers": self.answers, "grade": grade,
            "reasons": reasons, "version": self.version, "failures": self.failures,
            "restarts": self.restarts, "load": self.number("load_percent"),
            "latency_ms": self.number("latency_ms"), "underruns": self.number("underruns"),
            "bpm": self.number("bpm"),
            "clock_ms": None if offset is None else self.clock_difference() * 1000.0,
            "clock_error_ms": None if offset is None else offset.error * 1000.0,
            "tracks": [one._asdict() for one in self.tracks()],
        }  # fmt: skip


def gaps_since(before: Status, after: Status) -> str:
    """Return which counters of gaps have risen between two statuses, or an empty text."""
    found = []
    for name, words in GAPS.items():
        if more := _risen(name, before, after):
            found.append(f"{more} more {words}")
    return ", ".join(found)


def _risen(name: str, before: Status, after: Status) -> int:
    old, new = before.get(name, 0), after.get(name, 0)
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return 0
    return int(max(0.0, new - old)) if math.isfinite(new - old) else 0


def describe_underruns(count: int) -> str:
    """Return how many underruns there were within a minute, as a reason."""
    return f"{count} underrun{'s' if count != 1 else ''} within {UNDERRUN_SECONDS:.0f} s"


def describe_difference(seconds: float) -> str:
    """Return a difference of clocks in a suitable unit: `3.2 years ahead`."""
    size = abs(seconds)
    for unit, length in (("years", 31557600.0), ("days", 86400.0), ("hours", 3600.0), ("s", 1.0)):
        if size >= length:
            return f"{size / length:.1f} {unit} {'ahead' if seconds > 0 else 'behind'}"
    return f"{size * 1000.0:.1f} ms {'ahead' if seconds > 0 else 'behind'}"
