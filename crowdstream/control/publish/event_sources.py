"""The sources of the event log: notifications to subscribers, and what nobody notifies.

Most events are notifications already, and are translated here. Repeated underruns become one
event per burst, and a silence while a DJ is registered is noticed by looking every second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.dj_client import DjClient
from crowdstream.control.publish.event_log import EventLog
from crowdstream.desk.block import Desk
from crowdstream.desk.ramps import RAMP_MASTER, deck_level_ramp

UNDERRUNS = 5  # within the following time are reported
UNDERRUN_SECONDS = 60.0  # also the time without underruns after which a burst has ended
SILENCE_SECONDS = 30.0  # a DJ starts the next track after 2.5 s
LOOK_SECONDS = 1.0

_PROCESSES = {
    "loader": "the loader process died and was restarted; what is in memory plays on",
    "control": "the control process died and was replaced; the sound was not interrupted",
    "web": "the web process died and is being restarted; the page reconnects by itself",
}


class EventSource(Protocol):
    """The part of the server that is watched (see `Dispatcher`)."""

    desk: Desk
    dj: DjClient
    voice_allocator: VoiceAllocator
    events: EventLog
    monotonic: Callable[[], float]


class EventSources:
    """Reports what happens to the event log. For the control thread."""

    def __init__(self, core: EventSource) -> None:
        self._core = core
        self._underruns: deque[tuple[float, int]] = deque()
        self._in_burst = False
        self._look_at = 0.0
        self._dj_there = False
        self._audible_at: float | None = None  # monotonic seconds; None: no DJ is registered
        self._silence_reported = False

    def on_notification(self, address: str, arguments: tuple[Any, ...]) -> None:
        """Report a notification to subscribers if it is an event for the log."""
        report = self._core.events.report
        match address, arguments:
            case "/engine", ("died" | "hung" as why, gap, _driver, device):
                what = "died" if why == "died" else "hung and was killed"
                report(
                    "engine",
                    f"the engine {what}: another one plays on {device}; {gap:.1f} ms were lost",
                )
            case "/device", (0,):
                report("device_lost", "the sound device is gone; the server searches for it")
            case "/device", (1,):
                report("device_found", "the sound device is back")
            case "/restarted", (str(process),) if process in _PROCESSES:
                report(process, _PROCESSES[process])
            case "/stall", (path, seconds):
                report("stall", f"the medium stalled for {seconds:.1f} s while reading {path}")
            case "/broken", (_buffer, reason):
                report("broken_file", f"the rest of a file can't be read: {reason}")
            case "/record/lost", (path, frames):
                report("recording", f"the disk is too slow: {frames} frames of {path} were lost")
            case "/underrun", (cause, count, _worst):
                self._count_underruns(str(cause), int(count))

    def _count_underruns(self, cause: str, count: int) -> None:
        now, seen = self._core.monotonic(), self._underruns
        if seen and now - seen[-1][0] > UNDERRUN_SECONDS:
            self._in_burst = False
        seen.append((now, count))
        while now - seen[0][0] > UNDERRUN_SECONDS:
            seen.popleft()
        total = sum(number for _, number in seen)
        if total >= UNDERRUNS and not self._in_burst:
            self._in_burst = True
            self._core.events.report(
                "underruns",
                f"{total} underruns within a minute, the latest because of {cause} "
                "(see Troubleshooting, gaps and clicks)",
            )

    def tick(self) -> None:
        """Look for a silence and for a DJ that is gone; call this about every 10 ms."""
        now = self._core.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        dj = self._core.dj
        if self._dj_there and not dj.connected and dj.timed_out:
            self._core.events.report("dj", "the DJ no longer responds: see its log")
        self._dj_there = dj.connected
        if not dj.connected:
            self._audible_at = None
        elif self._audible_at is None or self._audible():
            self._audible_at, self._silence_reported = now, False
        elif now - self._audible_at >= SILENCE_SECONDS and not self._silence_reported:
            self._silence_reported = True
            note = dj.state.get("note")
            reason = f": {note}" if isinstance(note, str) and note else ""
            self._core.events.report(
                "nothing_plays",
                f"a DJ is registered, but nothing was audible for {SILENCE_SECONDS:.0f} s{reason}",
            )

    def _audible(self) -> bool:
        # Whether anything plays at a level above 0. What a file contains is not examined.
        levels = self._core.desk.ramps["value"]
        if not levels[RAMP_MASTER]:
            return False
        return any(
            not track.on_deck or levels[deck_level_ramp(track.deck)] > 0.0
            for track in self._core.voice_allocator.sounding()
        )
