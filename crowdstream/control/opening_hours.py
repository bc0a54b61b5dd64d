"""Follow a schedule: open and close, set the DJ's energy and music, announce, limit the loudness.

The wall clock may jump: a machine without a battery-backed clock starts in the past and learns the
time once there is a network. Until the time is credible, the music plays, at the lowest loudness
limits of the schedule. After a jump everything is decided again for the new time; announcements
that it skips are not made up for, and those that were made are not repeated when the clock is set
back.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from crowdstream.commands.errors import CommandError, Refused
from crowdstream.control.clock.clock import FrameClock
from crowdstream.control.decks.announcer import Announcer, Ducking
from crowdstream.control.decks.channel_strip import decibel_gain
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.control.decks.live_inputs import LiveInputs
from crowdstream.control.decks.loudness_limit import LoudnessLimit
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.dj_client import DjClient
from crowdstream.control.engine_queue.request import Request
from crowdstream.control.publish.meters import Meters
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import METER_HOPS, METER_OUTPUTS
from crowdstream.desk.ramps import RAMP_HOUSE
from crowdstream.opening_hours import Change, Hours, Schedule

log = logging.getLogger(__name__)

CREDIBLE = 1_767_225_600.0  # Unix time, the beginning of 2026: no clock that is set is earlier
LOOK_SECONDS = 1.0  # between two looks at the schedule
MEASURE_SECONDS = 0.25  # between two readings of the meters, whose ring holds 0.64 s
NO_CHANGE_SECONDS = 86400.0  # between two searches if no change was found
JUMP_SECONDS = 5.0  # difference of wall and monotonic clock that counts as a jump
REPEAT_SECONDS = 10.0  # a DJ reports its state every 5 s
MAX_MADE = 64  # latest announcements, which a clock that is set back does not repeat
ENERGY_STEP = 0.02  # smallest change that is sent to the DJ
GAIN_SECONDS = 0.5  # ramp of the loudness limit's gain
MIN_GAIN = 1e-3  # below it, nothing is known of the mix before the gain


class Host(Protocol):
    """The parts of the server that the schedule acts on, as `Dispatcher` provides them."""

    desk: Desk
    clock: FrameClock
    dj: DjClient
    announcer: Announcer
    deck_manager: DeckManager
    voice_allocator: VoiceAllocator
    live_inputs: LiveInputs
    meters: Meters
    monotonic: Callable[[], float]
    notify: Callable[..., None]


@dataclass(frozen=True)
class Override:
    """A person's decision, which holds until Unix time `until` (None: until it is taken back)."""

    is_open: bool
    until: float | None


class OpeningHours:
    """Follows a schedule. For the control thread; call `tick` about every 10 ms.

    `schedule`: None leaves everything to people. `request`: makes the request with which it acts.
    """

    def __init__(
        self, core: Host, schedule: Schedule | None, request: Callable[[], Request]
    ) -> None:
        self._core = core
        self._schedule = schedule
        self._request = request
        self._limit = LoudnessLimit()
        self._override: Override | None = None
        self._look_at = 0.0
        self._seen: tuple[float, float] | None = None  # wall and monotonic time of the latest look
        self._made: deque[tuple[float, str]] = deque(maxlen=MAX_MADE)  # moment and file
        self._hours: Hours | None = None
        self._next: tuple[Change | None, float] = None, -math.inf  # next change; valid until
        self._held_since: float | None = None  # beginning of the part in which a person set energy
        self._sent: dict[str, tuple[Any, ...]] = {}  # what was sent to the DJ, by word
        self._registration = 0  # number of the DJ to which it was sent
        self._repeat_at = 0.0  # when opening or closing is sent again if the DJ did not follow
        self._fading_in = False
        self._fade_gain = 1.0
        self._head = 0  # of the meters
        self._measure_at = 0.0
        self._house = 1.0  # gain at the latest reading
        # Mean squares of the hops of the second that is being measured: of the output, and of the
        # mix before the gain.
        self._output: list[float] = []
        self._mix: list[float] = []

    # Commands ----------------------------------------------------------------------------

    @property
    def schedule(self) -> Schedule | None:
        """The schedule that is followed."""
        return self._schedule

    def set_schedule(self, schedule: Schedule | None) -> None:
        """Follow another schedule from now on; None leaves everything to people."""
        self._schedule = schedule
        self._override = self._held_since = None
        self._look_at, self._next = 0.0, (None, -math.inf)
        if schedule is None:
            self._release()

    def _release(self) -> None:
        # As without a schedule: open, any music, no limit.
        was_open = self._hours is None or self._hours.is_open
        if self._core.dj.connected and self._sent:
            self._notify_dj(Hours(True))
        self._hours, self._sent = None, {}
        self._limit = LoudnessLimit()
        self._core.meters.set_loudness_limit(False)
        self._fading_in, self._fade_gain = False, 1.0
        self._set_house(GAIN_SECONDS)
        if not was_open:
            self._core.notify("/schedule", "open")

    def override(self, is_open: bool | None) -> None:
        """Open or close until the schedule's next change; None follows the schedule again.

        Raises `Refused` without a schedule.
        """
        if self._schedule is None:
            raise Refused("there is no schedule: start the server with --schedule FILE")
        self._override = None
        if is_open is not None:
            change = self._next_change(self._schedule, self._core.clock.wall())
            self._override = Override(is_open, change.at if change else None)
        self._look_at = 0.0

    def hold_energy(self, energy: float | str) -> None:
        """Note that a person has set the DJ's energy: the schedule leaves it alone for a while.

        It holds until the next part of the opening begins; "auto" releases it at once.
        """
        if self._schedule is None or self._hours is None:
            return
        if isinstance(energy, str):
            self._release_energy()
        else:
            self._held_since = self._hours.since

    def _release_energy(self) -> None:
        self._held_since = None
        self._sent["energy"] = ("held",)  # which differs from everything that is sent next
        self._look_at = 0.0

    # Periodic work -----------------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due."""
        if self._schedule is None:
            return
        now = self._core.monotonic()
        if now >= self._measure_at:
            self._measure_at = now + MEASURE_SECONDS
            self._measure()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        wall = self._core.clock.wall()
        self._announce(self._schedule, wall, now)
        before, self._hours = self._hours, self._hours_at(self._schedule, wall)
        self._limit.short_term, self._limit.average = self._hours.short_term, self._hours.average
        if before is None or before.is_open != self._hours.is_open:
            self._change(self._hours, before)
        self._notify_dj(self._hours)
        self._fade_in(self._hours)

    def _hours_at(self, schedule: Schedule, wall: float) -> Hours:
        if wall < CREDIBLE:
            return Hours(True, None, (), 0.0, *schedule.strictest())
        found = schedule.hours(wall)
        override = self._override
        if override is not None and override.until is not None and wall >= override.until:
            self._override = override = None
        if override is None or override.is_open == found.is_open:
            return found
        return replace(found, is_open=override.is_open)

    def _next_change(self, schedule: Schedule, wall: float) -> Change | None:
        change, until = self._next
        if not until - NO_CHANGE_SECONDS <= wall < until:
            change = schedule.next_change(wall)
            until = wall + NO_CHANGE_SECONDS
            if change is not None:
                until = min(until, change.at)
            self._next = change, until
        return change

    def _change(self, hours: Hours, before: Hours | None) -> None:
        word = "open" if hours.is_open else "closed"
        log.info("opening hours: %s", word)
        self._core.notify("/schedule", word)
        # Without a DJ there may be no first track: nothing would end the silence before it.
        silent = not self._core.voice_allocator.sounding() and (
            self._core.dj.connected or not self._core.live_inputs.is_open()
        )
        if hours.is_open and before is not None and silent and hours.fade_in > 0.0:
            # The first track starts from silence.
            self._fading_in, self._fade_gain = True, 0.0
            self._set_house(0.0)
        elif self._fading_in:
            # Nothing was heard since it opened: what is played while it is closed must be.
            self._fading_in, self._fade_gain = False, 1.0
            self._set_house(GAIN_SECONDS)

    def _fade_in(self, hours: Hours) -> None:
        if self._fading_in and self._core.voice_allocator.sounding():
            self._fading_in, self._fade_gain = False, 1.0
            self._set_house(hours.fade_in)

    def _set_house(self, seconds: float) -> None:
        gain = self._fade_gain * decibel_gain(self._limit.gain_db)
        if gain != self._core.deck_manager.target(RAMP_HOUSE):
            self._core.deck_manager.ramp(self._request(), RAMP_HOUSE, gain, seconds)

    def _notify_dj(self, hours: Hours) -> None:
        if self._registration != self._core.dj.registrations:
            # A DJ that has crashed may be replaced before it counts as disconnected.
            self._registration, self._sent = self._core.dj.registrations, {}
        if not self._core.dj.connected:
            self._sent = {}
            return
        self._send("folders", *hours.folders)
        if hours.tags or "tags" in self._sent:
            self._send("tags", *hours.tags)
        if self._held_since is not None and self._held_since != hours.since:
            self._release_energy()
        if self._held_since is None and (hours.energy is not None or "energy" in self._sent):
            energy = "auto" if hours.energy is None else round(hours.energy, 3)
            sent = self._sent.get("energy", (None,))[0]
            near = isinstance(energy, float) and isinstance(sent, float)
            if not (near and abs(energy - sent) < ENERGY_STEP):
                self._send("energy", energy)
        # A request can be lost, or refused while the DJ is busy: its reports show that.
        now, reported = self._core.monotonic(), self._core.dj.state.get("closed")
        if reported == int(hours.is_open) and now > self._repeat_at:
            self._sent.pop("hours", None)
        if self._send("hours", int(hours.is_open)):
            self._repeat_at = now + REPEAT_SECONDS

    def _send(self, word: str, *arguments: Any) -> bool:
        # Returns whether it was sent: not what the DJ has received already.
        if self._sent.get(word) == arguments:
            return False
        try:
            self._core.dj.forward(self._request(), word, *arguments)
        except CommandError as error:
            log.warning("opening hours: %s was not sent to the DJ: %s", word, error)
        self._sent[word] = arguments
        return True

    def _announce(self, schedule: Schedule, wall: float, now: float) -> None:
        seen, self._seen = self._seen, (wall, now)
        if seen is None or wall < CREDIBLE:
            return
        if abs((wall - seen[0]) - (now - seen[1])) > JUMP_SECONDS:
            log.warning("the clock has jumped by %.0f s", (wall - seen[0]) - (now - seen[1]))
            self._next = None, -math.inf
            return
        for at, one in schedule.due_announcements(seen[0], wall):
            if (at, one.file) in self._made:
                log.info("opening hours: the announcement at %s was made before the clock was set "
                         "back", one.at)
                continue
            self._made.append((at, one.file))
            depth, *times = one.options
            try:
                ducking = Ducking(decibel_gain(-depth), *times)
                self._core.announcer.announce(self._request(), one.file, ducking)
            except CommandError as error:
                log.error("opening hours: no announcement at %s: %s", one.at, error)

    # Loudness ----------------------------------------------------------------------------

    def _measure(self) -> None:
        # Read the master's meter; whenever a second is complete, adapt the gain.
        limited = self._limit.short_term is not None or self._limit.average is not None
        self._core.meters.set_loudness_limit(limited)
        if not limited:
            if self._limit.gain_db:
                self._limit.gain_db = 0.0
                self._set_house(GAIN_SECONDS)
            return
        desk = self._core.desk
        head = int(desk.metering["head"])
        fresh = min(head - self._head, METER_HOPS - 1)
        self._head = head
        if fresh <= 0:
            return
        hop = int(desk.metering["hop"])
        rows = desk.meter_ring[np.arange(head - fresh, head) % METER_HOPS, METER_OUTPUTS, 2, :2]
        powers = (rows.sum(axis=1) / hop).tolist()
        before, self._house = self._house, float(desk.ramps["value"][RAMP_HOUSE])
        gain = 0.5 * (before + self._house)
        self._output += powers
        self._mix += [power / gain**2 if gain > MIN_GAIN else 0.0 for power in powers]
        if len(self._output) < round(desk.sample_rate / hop):
            return
        means = [sum(hops) / len(hops) for hops in (self._output, self._mix)]
        self._output, self._mix = [], []
        gain_db = self._limit.gain_db
        if self._limit.second(*means) != gain_db and not self._fading_in:
            self._set_house(GAIN_SECONDS)

    # Reports -----------------------------------------------------------------------------

    def value(self) -> dict[str, Any]:
        """Return the state for pages: JSON values."""
        if self._schedule is None:
            return {"there": 0}
        wall = self._core.clock.wall()
        change = self._next_change(self._schedule, wall) if wall >= CREDIBLE else None
        hours = self._hours
        return {
            "there": 1,
            "open": int(hours.is_open) if hours else 1,
            "known": int(wall >= CREDIBLE),
            "override": int(self._override is not None),
            "next": change.at if change else 0.0,
            "opens": int(change.opens) if change else 0,
            "energy": hours.energy if hours else None,
            "energy_held": int(self._held_since is not None),
            "folders": list(hours.folders) if hours else [],
            "tags": list(hours.tags) if hours else [],
            "short_term": self._limit.short_term,
            "average": self._limit.average,
        }

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        is_open = self._hours.is_open if self._hours else True
        there = self._schedule is not None
        return {"open": int(is_open) if there else -1, **self._limit.readings()}

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the state as JSON-compatible values; see `restore`."""
        override = self._override
        return {
            "override": [override.is_open, override.until] if override else None,
            "open": self._hours.is_open if self._hours else None,
            "held_since": self._held_since,
            "seen": self._seen,
            "made": list(self._made),
            "gain_db": self._limit.gain_db,
            "fading_in": self._fading_in,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of an earlier control process."""
        if state["override"]:
            self._override = Override(*state["override"])
        if state["open"] is not None:
            self._hours = Hours(state["open"])
        self._held_since = state["held_since"]
        # Announcements that became due while there was no control are made up for.
        if state["seen"]:
            self._seen = (state["seen"][0], state["seen"][1])
        self._made.extend((at, file) for at, file in state["made"])
        self._limit.gain_db = state["gain_db"]
        self._fading_in = state["fading_in"]
        self._fade_gain = 0.0 if self._fading_in else 1.0
