"""Apply changed settings while the server plays.

A reload reads the settings again from where they came from (command line, environment, file,
preset) and compares them with those in effect. Everything is read and checked before anything
changes: an invalid file changes nothing. Settings of the mixer become the commands that a person
would send, so pages, subscribers and the DJ notice them. Settings that are not `live` in the table
of settings stay as they are until the server is restarted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.control.decks.channel_strip import ChannelStrips
from crowdstream.control.engine_queue.request import Request, RequestReporter
from crowdstream.control.load_shedding import AUTO
from crowdstream.control.opening_hours import OpeningHours
from crowdstream.control.peers.broadcasts import Broadcasts, check_broadcasts
from crowdstream.control.peers.lights import Lights
from crowdstream.control.peers.midi import Midi, load_map
from crowdstream.control.publish.event_log import EventLog
from crowdstream.control.scheduler import Entry
from crowdstream.desk.load_shedding import FULL
from crowdstream.midi.mapping import ControllerMap
from crowdstream.movement.follower import MovementFollower, MovementMap
from crowdstream.movement.map_file import read_map
from crowdstream.opening_hours import Schedule, ScheduleError, read_schedule
from crowdstream.settings import SettingError, Settings
from crowdstream.settings.schema import NOT_IN_PRESETS, OPTIONS

log = logging.getLogger(__name__)

Commands = list[tuple[str, tuple[Any, ...]]]


class Host(RequestReporter, Protocol):
    """The parts of the server that settings act on, as `Dispatcher` provides them."""

    settings: Settings
    broadcasts: Broadcasts
    channel_strips: ChannelStrips
    events: EventLog
    follower: MovementFollower
    lights: Lights
    midi: Midi
    opening_hours: OpeningHours

    def perform(self, batch: Sequence[Entry], frame: int = 0, beat: float | None = None) -> None:
        """Carry out messages that belong together."""

    def allow_senders(self, networks: Sequence[str]) -> None:
        """Trust the senders of these networks from now on, and no others."""


@dataclass(frozen=True)
class Reloaded:
    """The outcome of a reload: names of settings.

    `applied`: they are in effect. `restart`: they differ, and take effect with a restart.
    """

    applied: tuple[str, ...]
    restart: tuple[str, ...]


class SettingsReload:
    """Reads the settings again and applies what has changed. For the control thread.

    `read` returns the settings as they would be at a start, and raises `SettingError`.
    """

    def __init__(self, core: Host, read: Callable[[], Settings]) -> None:
        self._core = core
        self._read = read
        self._actions: list[tuple[frozenset[str], Callable[[Settings], None]]] = []
        self.add_action(("osc_allow",), lambda new: core.allow_senders(new.osc_allow))
        self.add_action(
            ("broadcast_ca",), lambda new: core.broadcasts.set_authorities(new.broadcast_ca)
        )
        self.add_action(
            ("broadcast",), lambda new: core.broadcasts.set_configured(new.broadcast)
        )
        self.add_action(("lights",), lambda new: core.lights.set_targets(new.lights))
        self.add_action(("lights_lead",), lambda new: core.lights.set_lead(new.lights_lead))
        self.add_action(
            ("midi_clock",), lambda new: core.midi.configure(clock=new.midi_clock or "")
        )
        self.add_action(
            ("midi_follow",), lambda new: core.midi.configure(follow=new.midi_follow or "")
        )

        self.add_action(("midi_api",), lambda new: core.midi.configure(api=new.midi_api))

    def add_action(self, names: Iterable[str], apply: Callable[[Settings], None]) -> None:
        """Call `apply` with the new settings when any of these has changed. It must not raise."""
        self._actions.append((frozenset(names), apply))

    def run(self, request: Request) -> Reloaded:
        """Reload.

        Raises `CommandError`, and then has changed nothing, if a setting, the movement map, the
        schedule or a MIDI mapping is invalid.
        """
        before = self._core.settings
        try:
            new = self._read()
            chart = read_map(new.movement_map, before.base_bpm) if new.movement_map else None
            schedule = read_schedule(new.schedule) if new.schedule else None
            check_broadcasts(new.broadcast)
            maps = self._read_midi_maps(before, new)
        except (SettingError, ScheduleError) as error:
            self._core.events.report("settings", f"changed settings were refused: {error}")
            raise CommandError(str(error)) from error
        changed = [
            name for name in OPTIONS
            if name not in NOT_IN_PRESETS and getattr(new, name) != getattr(before, name)
        ]
        live = {name for name in changed if OPTIONS[name].live}
        failed = self._send_commands(before, new, live)
        live -= failed
        settings = replace(before, **{name: getattr(new, name) for name in live})
        self._core.settings = settings
        live |= self._set_files(chart, schedule)
        if self._core.midi.set_configured(before.midi_map, maps):
            live.add("midi_map")
        if "target_lufs" in live:
            self._core.channel_strips.set_target(request, settings.target_lufs)
        for names, apply in self._actions:
            if names & live:
                apply(settings)
        reloaded = Reloaded(
            tuple(name for name in OPTIONS if name in live),
            tuple(name for name in changed if not OPTIONS[name].live),
        )
        _log(reloaded)
        return reloaded

    def _send_commands(self, before: Settings, new: Settings, live: set[str]) -> set[str]:
        # Returns the settings whose commands were refused, such as a tempo out of a track's range.
        refused: set[str] = set()

        def entries(name: str, commands: Commands) -> Iterator[Entry]:
            def reply(address: str, *_values: Any) -> None:
                if address == "/fail":
                    refused.add(name)

            return ((address, values, reply, None) for address, values in commands)

        batch = [
            entry for name in OPTIONS if name in live
            for entry in entries(name, _commands(name, before, new))
        ]
        self._core.perform(batch)
        return refused

    def _read_midi_maps(self, before: Settings, new: Settings) -> dict[str, ControllerMap]:
        # One that was removed by a command, or could not be read at the start, stays away.
        used = self._core.midi.settings.maps
        names = [one for one in new.midi_map if one in used or one not in before.midi_map]
        try:
            return {name: load_map(name) for name in names}
        except CommandError as error:
            raise SettingError(f"midi_map: {error}") from None

    def _set_files(self, chart: MovementMap | None, schedule: Schedule | None) -> set[str]:
        # The contents of a file may have changed, and its name not.
        changed = set()
        if chart != self._core.follower.map:
            self._core.follower.set_map(chart)
            changed.add("movement_map")
        if schedule != self._core.opening_hours.schedule:
            self._core.opening_hours.set_schedule(schedule)
            changed.add("schedule")
        return changed


def _commands(name: str, before: Settings, new: Settings) -> Commands:
    # The commands that set a setting's new value.
    match name:
        case "bpm":
            return [("/clock/tempo", (new.bpm,))]
        case "meter":
            return [("/clock/meter", (new.meter,))]
        case "limiter_ceiling":
            return [("/mix/ceiling", (new.limiter_ceiling,))]
        case "load_shedding":
            return [("/quality", (FULL if new.load_shedding == "full" else AUTO,))]
        case "print_beats":
            return [("/print_clock", (int(new.print_beats),))]
        case "levels":
            # A fader whose setting is unchanged stays where people have moved it.
            levels = zip(DECK_LETTERS, before.levels, new.levels, strict=True)
            return [(f"/deck/{deck}/level", (to,)) for deck, old, to in levels if old != to]
    return []


def _log(reloaded: Reloaded) -> None:
    if reloaded.applied:
        log.info("settings: changed %s", ", ".join(reloaded.applied))
    else:
        log.info("settings: nothing that can be changed while the server runs has changed")
    if reloaded.restart:
        log.warning(
            "settings: %s need%s a restart of the server to take effect",
            ", ".join(reloaded.restart), "s" if len(reloaded.restart) == 1 else "",
        )
