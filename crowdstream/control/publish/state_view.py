"""State for pages that is not in the desk: keys with JSON values.

Pages read from the desk what moves by itself: playheads, beats, meters and the ledger. This module
adds the rest: values set by commands, loaded tracks and control's counters. A value is shown as
it was set; a ramp is shown by its target, from the frame at which it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from crowdstream.commands.registry import BANDS, DECK_LETTERS
from crowdstream.control.clock.clock import FrameClock
from crowdstream.control.decks.announcer import Announcer
from crowdstream.control.decks.effects import MIX, ON
from crowdstream.control.decks.live_inputs import LiveInputs
from crowdstream.control.decks.routing import DESTINATIONS, SOURCES
from crowdstream.control.decks.sampler import Sampler
from crowdstream.control.dj_client import DjClient
from crowdstream.control.publish.deck_view import (
    DeckView,
    DeckViewSource,
    chain_fingerprint,
    chain_value,
    state_of,
)
from crowdstream.control.publish.status import StatusPart, StatusSource
from crowdstream.desk.constants import BUSES, CHAIN_BUS, CHAIN_INPUT, CHAIN_MASTER
from crowdstream.desk.effects import Module, Parameter
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_ANNOUNCEMENTS,
    RAMP_CEILING,
    RAMP_CROSSFADER,
    RAMP_CUE,
    RAMP_CURVE,
    RAMP_INPUT_FILTER,
    RAMP_INPUT_GAIN,
    RAMP_INPUT_LEVEL,
    RAMP_INPUT_PFL,
    RAMP_INPUT_RESONANCE,
    RAMP_MASTER,
    RAMP_SAMPLES,
    RAMP_VOICE,
    input_eq_ramp,
    patch_ramp,
)
from crowdstream.effects import MODULES
from crowdstream.system.text import mask_passwords, printable

MAX_SHOWN_EVENTS = 100
MAX_SHOWN_CHARS = 80  # of a scheduled message's arguments
HEALTH_SECONDS = 1.0  # between two updates of values that change all the time
CURVES = {CURVE_ADDITIVE: "additive", CURVE_POWER: "constant-power", CURVE_CUT: "cut"}

Targets = list[float]
_NOTHING: Any = object()


class RecordingState(StatusPart, Protocol):
    """Recordings in progress (see `Recordings`)."""

    @property
    def began(self) -> int | None:
        """First frame of the latest recording; None until it is known."""

    def paths(self) -> list[str]:
        """Files being recorded."""


class StateViewPart(StatusPart, Protocol):
    """A component with a part of its own in the state view."""

    def value(self) -> Any:
        """JSON values."""


class RevisedPart(StateViewPart, Protocol):
    """One whose values are compared only when `revision` has changed."""

    revision: int


class StateViewSource(StatusSource, DeckViewSource, Protocol):
    """Source of the state view (see `Dispatcher`)."""

    clock: FrameClock
    dj: DjClient
    monotonic: Callable[[], float]
    watch: bool

    @property
    def recordings(self) -> RecordingState:
        """Recordings in progress."""

    @property
    def broadcasts(self) -> StateViewPart:
        """The broadcasts."""

    @property
    def sampler(self) -> Sampler:
        """The sample pads."""

    @property
    def announcer(self) -> Announcer:
        """The queue of announcements."""

    @property
    def live_inputs(self) -> LiveInputs:
        """The live inputs."""

    @property
    def link(self) -> StateViewPart:
        """The Link session."""

    @property
    def rooms(self) -> RevisedPart:
        """The rooms in step."""

    @property
    def lights(self) -> RevisedPart:
        """The lights."""

    @property
    def midi(self) -> RevisedPart:
        """MIDI."""

    @property
    def opening_hours(self) -> StateViewPart:
        """The opening hours."""


class StateView:
    """Collects the state of a server. For the control thread.

    Each part has a fingerprint, which is cheap and differs whenever the part does; only parts
    whose fingerprint has changed are built again.
    """

    def __init__(self, core: StateViewSource) -> None:
        self._core = core
        decks = {
            f"deck.{letter}": DeckView(core, deck) for deck, letter in enumerate(DECK_LETTERS)
        }
        self._parts: dict[str, tuple[Callable[[Targets], Any], Callable[[Targets], Any]]] = {
            **{key: (deck.fingerprint, deck.value) for key, deck in decks.items()},
            "mixer": (self._mixer_mark, self._mixer),
            "buses": (self._buses_mark, self._buses),
            "patches": (self._patches, self._patches),
            "samples": (self._samples, self._samples),
            "announcements": (self._announcements, self._announcements),
            "inputs": (self._inputs, self._inputs),
            "link": (self._link, self._link),
            "lights": (lambda _: core.lights.revision, lambda _: core.lights.value()),
            "rooms": (lambda _: core.rooms.value(), lambda _: core.rooms.value()),
            "midi": (lambda _: core.midi.revision, lambda _: core.midi.value()),
            "schedule": (self._schedule, self._schedule),
            "buffers": (self._buffers, self._buffers),
            "clock": (self._clock, self._clock),
            "quality": (self._quality, self._quality),
            "dj": (lambda _: core.dj.revision, lambda _: core.dj.value()),
            "recording": (self._recording, self._recording),
            "broadcasts": (lambda _: core.broadcasts.value(), lambda _: core.broadcasts.value()),
            "waiting": (lambda _: core.scheduler.revision, self._waiting),
            "events": (lambda _: core.events.revision, self._events),
            "effects": (lambda _: None, lambda _: modules()),
        }
        self.reset()

    def reset(self) -> None:
        """Make the next `changes` return all keys."""
        self._fingerprints: dict[str, Any] = {}
        self._last_values: dict[str, Any] = {}
        self._health_at = self._core.monotonic()

    def values(self) -> dict[str, Any]:
        """All keys with their values."""
        targets = self._targets()
        made = {key: value(targets) for key, (_, value) in self._parts.items()}
        return {**made, "health": self._health()}

    def changes(self) -> dict[str, Any]:
        """Keys whose value has changed since the last call; None for a key that was removed."""
        targets = self._targets()
        changed: dict[str, Any] = {}
        for key, (fingerprint, make) in self._parts.items():
            mark = fingerprint(targets)
            if mark != self._fingerprints.get(key, _NOTHING):
                self._fingerprints[key] = mark
                self._add_if_changed(key, make(targets), changed)
        now = self._core.monotonic()
        if now >= self._health_at:
            self._health_at = now + HEALTH_SECONDS
            self._add_if_changed("health", self._health(), changed)
        return changed

    def _add_if_changed(self, key: str, value: Any, changed: dict[str, Any]) -> None:
        if value != self._last_values.get(key, _NOTHING):
            self._last_values[key] = changed[key] = value

    def _targets(self) -> Targets:
        found: Targets = self._core.desk.ramps["target"][:RAMP_VOICE].tolist()
        for row, value in self._core.engine_queue.unread_ramp_targets().items():
            found[row] = value
        return found

    # The parts -------------------------------------------------------------------------------

    def _mixer_mark(self, targets: Targets) -> Any:
        chain = chain_fingerprint(self._core.effects, CHAIN_MASTER, targets)
        levels = targets[: RAMP_ANNOUNCEMENTS + 1]
        return levels, targets[RAMP_CURVE : RAMP_CEILING + 1], chain

    def _mixer(self, targets: Targets) -> dict[str, Any]:
        curve = max(CURVES, key=lambda number: targets[RAMP_CURVE + number])
        return {
            "crossfader": targets[RAMP_CROSSFADER],
            "curve": CURVES[curve],
            "master_level": targets[RAMP_MASTER],
            "samples_level": targets[RAMP_SAMPLES],
            "announcements_level": targets[RAMP_ANNOUNCEMENTS],
            "cue_level": targets[RAMP_CUE],
            "ceiling": targets[RAMP_CEILING],
            "fx": chain_value(self._core.effects, CHAIN_MASTER, targets),
        }

    def _buses_mark(self, targets: Targets) -> Any:
        return [
            chain_fingerprint(self._core.effects, CHAIN_BUS + bus, targets) for bus in range(BUSES)
        ]

    def _buses(self, targets: Targets) -> list[dict[str, Any]]:
        return [
            {"bus": bus + 1, "fx": chain_value(self._core.effects, CHAIN_BUS + bus, targets)}
            for bus in range(BUSES)
        ]

    def _patches(self, targets: Targets) -> list[dict[str, Any]]:
        return [
            {"source": source, "destination": destination, "gain": targets[row]}
            for source, destination, row in _PATCHES
            if targets[row]
        ]

    def _buffers(self, _targets: Targets) -> dict[str, Any]:
        # Tracks not shown by a deck: existing sequencers load a whole set into buffers.
        core = self._core
        shown = {core.status.track_of(deck) for deck in range(len(DECK_LETTERS))}
        return {
            str(buffer): {
                "deck": DECK_LETTERS[track.deck], "number": track.number, "track": track.name,
                "state": state_of(track), "rate": track.rate, "gain": track.gain,
            }
            for buffer, track in core.track_table.current.items()
            if track.on_deck and track not in shown
        }  # fmt: skip

    def _samples(self, _targets: Targets) -> list[dict[str, Any]]:
        core = self._core
        found = []
        for number, pad in enumerate(core.sampler.pads):
            track = core.sampler.track(number)
            found.append(
                {
                    "state": state_of(track),
                    "number": track.number if track else 0,
                    "track": track.name if track else "",
                    "seconds": track.frames / core.desk.sample_rate if track else 0.0,
                    "level": pad.level,
                    "loop": int(pad.loop),
                    "quantize": core.quantize.samples[number],
                    "output": pad.output,
                }
            )
        return found

    def _announcements(self, _targets: Targets) -> dict[str, Any]:
        announcer = self._core.announcer
        return {
            "playing": announcer.current.name if announcer.current else "",
            "waiting": [track.name for track in announcer.waiting()],
        }

    def _inputs(self, targets: Targets) -> list[dict[str, Any]]:
        core = self._core
        found = []
        for number, one in enumerate(core.live_inputs.inputs):
            talkover = one.talkover
            rows = [input_eq_ramp(number, band) for band in range(len(BANDS))]
            killed = [
                None if targets[row] else core.channel_strips.killed(row) for row in rows
            ]
            found.append(
                {
                    "state": core.live_inputs.state_of(number),
                    "device": one.device,
                    "reason": one.reason,
                    "gain": targets[RAMP_INPUT_GAIN + number],
                    "eq": [
                        targets[row] if gain is None else gain
                        for row, gain in zip(rows, killed, strict=True)
                    ],
                    "kill": [int(gain is not None) for gain in killed],
                    "filter": targets[RAMP_INPUT_FILTER + number],
                    "resonance": targets[RAMP_INPUT_RESONANCE + number],
                    "level": targets[RAMP_INPUT_LEVEL + number],
                    "mute": int(one.muted),
                    "listen": targets[RAMP_INPUT_PFL + number],
                    "guard": int(one.guard),
                    "talkover": {**asdict(talkover), "on": int(talkover.on)},
                    "talking": int(core.desk.inputs[number]["talking"]),
                    "fx": chain_value(core.effects, CHAIN_INPUT + number, targets),
                }
            )
        return found

    def _link(self, _targets: Targets) -> Any:
        return self._core.link.value()

    def _schedule(self, _targets: Targets) -> Any:
        return self._core.opening_hours.value()

    def _clock(self, _targets: Targets) -> dict[str, Any]:
        core = self._core
        beats = core.beat_clock
        return {
            "bpm": round(beats.bpm_at(core.desk.frame), 1),
            "target": beats.bpm,
            "meter": beats.meter,
            "base_bpm": core.base_bpm,
            "zero": beats.zero,
            "quantize": core.quantize.common,
            "print_clock": int(core.watch),
        }

    def _quality(self, _targets: Targets) -> dict[str, Any]:
        readings = self._core.load_shedding.readings()
        return {"level": readings["quality"], "asked": readings["quality_asked"]}

    def _recording(self, _targets: Targets) -> dict[str, Any]:
        recordings = self._core.recordings
        return {
            "files": recordings.paths(),
            "began": recordings.began,
            "lost": recordings.readings()["record_lost"],
        }

    def _waiting(self, _targets: Targets) -> dict[str, Any]:
        # `due` is on the server's monotonic clock; a change of tempo moves messages due on a beat.
        core = self._core
        now = core.monotonic()
        return {
            "count": len(core.scheduler),
            "messages": [
                {
                    "number": held.number,
                    "due": round(now + held.seconds, 2),
                    "at": round(core.clock.wall() + held.seconds, 2),
                    "address": printable(held.entry[0]),
                    "arguments": _shown_arguments(held.entry[1]),
                    "sender": held.entry[3][0] if held.entry[3] else "",
                }
                for held in core.scheduler.listed()
            ],
        }

    def _events(self, _targets: Targets) -> list[dict[str, Any]]:
        return [event.to_json() for event in self._core.events.latest(MAX_SHOWN_EVENTS)]

    def _health(self) -> dict[str, Any]:
        core = self._core
        return {
            "driver": core.info.driver,
            "device": core.info.device,
            "cue_outputs": int(core.info.cue),
            **core.engine_readings(),
            **core.load_shedding.readings(),
            **{f"cpu_{name}": value for name, value in core.processes.cpu.items()},
            **core.status.control_readings(),
        }


def _shown_arguments(arguments: Sequence[Any]) -> str:
    return mask_passwords(printable(" ".join(map(str, arguments))))[:MAX_SHOWN_CHARS]


_PATCHES = [
    (source, destination, patch_ramp(number, place))
    for number, source in enumerate(SOURCES)
    for place, destination in enumerate(DESTINATIONS)
]


def modules() -> list[dict[str, Any]]:
    """Catalogue of effects: names, descriptions and parameters."""
    return [_module(module) for module in MODULES.values()]


def _module(module: Module) -> dict[str, Any]:
    return {
        "name": module.name,
        "help": module.help,
        "mix": module.mix,
        "on": int(module.starts_on),
        "optional": int(module.optional),
        "parameters": [_parameter(one) for one in (MIX, ON, *module.parameters)],
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "help": parameter.help,
        "unit": parameter.unit,
        "low": parameter.low,
        "high": parameter.high,
        "default": parameter.default,
        "whole": int(parameter.whole),
    }
