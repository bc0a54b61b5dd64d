"""Lights as seen by control: the targets, the lead, and what the lights process reports.

Control sends that process the targets and which tracks play. Beats, positions and levels are read
from the desk by the process itself (`crowdstream/lights/`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from crowdstream.commands.errors import Refused
from crowdstream.control.clock.clock import BeatClock
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import LIGHTS_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import LIGHTS, release_owner
from crowdstream.settings.light_target import MAX_TARGETS, parse_target
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

NAME = "lights"  # under which the process is kept for a successor of control

MAX_FILES = 32  # of a track that are sent: the library finds it by its stems


class OutputProcess(Protocol):
    """The process of an output (see `SupervisedProcess`)."""

    @property
    def runs(self) -> bool:
        """Whether the process runs."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message, if the process runs."""

    def enable(self, on: bool) -> None:
        """Start the process soon, or stop it now."""


class Lights:
    """The lights of a server. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        beat_clock: BeatClock,
        voice_allocator: VoiceAllocator,
        notify: Callable[..., None],
        report: Callable[[str, str], None],
    ) -> None:
        """`notify` sends an event to all subscribers, `report` one to the event log."""
        self._desk = desk
        self._beat_clock = beat_clock
        self._voice_allocator = voice_allocator
        self._notify = notify
        self._report = report
        self.targets: list[str] = []
        self.lead = 0.0  # seconds
        self.revision = 0
        """Number of changes, by which observers detect them."""
        self._outputs: dict[str, dict[str, Any]] = {}
        self._lost: set[str] = set()  # targets whose failure has been reported
        self._ended = dict.fromkeys(("sent", "lost", "failures"), 0)  # of earlier outputs
        self.process: OutputProcess | None = None
        self._music: Any = None  # what the process knows of the tracks; None: nothing at all

    # The process -------------------------------------------------------------------------

    def process_started(self) -> None:
        """Send a new process what it must know."""
        self._music = None
        self.tick()

    def _send_targets(self) -> None:
        if self.process is not None:
            self.process.send({"do": "targets", "targets": self.targets, "lead": self.lead})

    def tick(self) -> None:
        """Send the process the tracks that play, when they have changed."""
        if self.process is None or not self.process.runs:
            return
        if self._music is None:  # a new process, or one that an earlier control has left
            self._send_targets()
        playing = [
            (track.voice, track) for track in self._voice_allocator.sounding()
            if track.voice is not None and track.on_deck and track.files
        ]
        music = (
            self._beat_clock.meter, tuple((voice, track.number) for voice, track in playing)
        )
        if music != self._music:
            self._music = music
            tracks = [
                [voice, track.number, list(track.files[:MAX_FILES])] for voice, track in playing
            ]
            self.process.send({"do": "music", "meter": music[0], "tracks": tracks})

    def handle(self, message: dict[str, Any]) -> None:
        """Take a report of the process."""
        if message.get("event") != "outputs":
            return
        found = {one["target"]: one for one in message["outputs"] if one["target"] in self.targets}
        for text, one in found.items():
            before = self._outputs.get(text, {})
            for name in self._ended:  # a new process counts from 0
                if one[name] < before.get(name, 0):
                    self._ended[name] += before[name]
            one["reason"] = printable(str(one["reason"]))
            self._outputs[text] = one
            self._notice(text, one["state"], one["reason"])
        self.revision += 1

    def _notice(self, text: str, state: str, reason: str) -> None:
        if state == "failed" and text not in self._lost:
            self._lost.add(text)
            log.warning("lights: %s receives nothing: %s", text, reason)
            self._notify("/lights", text, "lost", reason)
            self._report("lights_lost", f"lights: {text} receives nothing: {reason}")
        elif state == "sending" and text in self._lost:
            self._lost.remove(text)
            log.info("lights: %s receives again", text)
            self._notify("/lights", text, "found", "")
            self._report("lights_found", f"lights: {text} receives again")

    def process_lost(self, reason: str) -> None:
        """The process does not run."""
        release_owner(self._desk, LIGHTS)
        for text in self.targets:
            one = self._outputs.get(text)
            if one is not None:
                one["state"], one["reason"] = "failed", reason
            self._notice(text, "failed", reason)
        self.revision += 1

    # Commands ----------------------------------------------------------------------------

    def set_targets(self, targets: Sequence[str]) -> None:
        """Replace all targets."""
        self._set(list(dict.fromkeys(targets)))

    def add(self, text: str) -> None:
        """Add a target. Raises `Refused` if it is invalid, or one too many."""
        try:
            parse_target(text)
        except ValueError as error:
            raise Refused(f"{text}: {error}") from None
        if text in self.targets:
            return
        if len(self.targets) >= MAX_TARGETS:
            raise Refused(f"{MAX_TARGETS} targets are the maximum: remove one first")
        self._set([*self.targets, text])

    def remove(self, text: str) -> None:
        """Remove a target, or with an empty text all. Raises `Refused` if there is none."""
        if text and text not in self.targets:
            raise Refused(f"{text} is no target; targets: {', '.join(self.targets) or 'none'}")
        self._set([one for one in self.targets if text and one != text])

    def set_lead(self, milliseconds: float) -> None:
        """Set by how much everything is sent ahead of the sound; negative: behind it."""
        self.lead = milliseconds / 1000.0
        self._changed()

    def _set(self, targets: list[str]) -> None:
        for text in self._outputs.keys() - set(targets):
            gone = self._outputs.pop(text)
            for name in self._ended:
                self._ended[name] += gone[name]
        self._lost &= set(targets)
        self.targets = targets
        self._changed()

    def _changed(self) -> None:
        self.revision += 1
        if self.process is not None:
            self.process.enable(bool(self.targets))
            if not self.targets:
                release_owner(self._desk, LIGHTS)
        self._send_targets()

    # Reports -----------------------------------------------------------------------------

    def outputs(self) -> list[dict[str, Any]]:
        """Return target, state, reason and counters of each output."""
        unknown = {"state": "searching", "reason": "", "sent": 0, "lost": 0, "failures": 0}
        return [
            {**unknown, **self._outputs.get(text, {}), "target": text} for text in self.targets
        ]

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        outputs = self.outputs()
        totals = {
            name: before + sum(one[name] for one in outputs) for name, before in self._ended.items()
        }
        return {
            "lights_outputs": len(outputs),
            "lights_sending": sum(one["state"] == "sending" for one in outputs),
            "lights_lead_ms": 1000.0 * self.lead,
            **{f"lights_{name}": count for name, count in totals.items()},
        }

    def value(self) -> list[dict[str, Any]]:
        """Return the lights for the state view: one entry, or none without a target."""
        names = ("target", "state", "reason")
        outputs = [{name: one[name] for name in names} for one in self.outputs()]
        return [{"lead_ms": round(1000.0 * self.lead, 3), "outputs": outputs}] if outputs else []

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the lights as JSON-compatible state; see `restore`."""
        return {"targets": self.targets, "lead": self.lead, "lost": sorted(self._lost)}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the lights from `to_state`."""
        self.targets, self.lead = list(state["targets"]), float(state["lead"])
        self._lost = set(state["lost"])


def start_lights(fork_server: ForkServer, desk: Desk) -> Child:
    """Start the lights process. Raises `ChildError`."""
    return Child(fork_server, LIGHTS_MODULE, json.dumps({"fd": desk.fd}), desk.fd, NAME)


def lights_process(
    lights: Lights, start: Callable[[], Process], monotonic: Callable[[], float] = time.monotonic
) -> SupervisedProcess:
    """Return the process of the lights. `start` starts it."""
    process = SupervisedProcess(
        NAME, start, lights.handle, lights.process_lost, lights.process_started,
        enabled=bool(lights.targets), monotonic=monotonic,
    )  # fmt: skip
    lights.process = process
    return process
