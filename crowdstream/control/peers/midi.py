"""MIDI as seen by control: ports, mappings, learnt controls, and what the MIDI process reports.

The process reads the clock from the desk itself (`crowdstream/midi/`). Commands of controllers and
the tempo of a followed clock arrive here and are carried out like those of any other sender.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crowdstream.commands.errors import CommandError, Refused
from crowdstream.commands.registry import REQUIRED, TABLE, Arg
from crowdstream.control.peers.lights import OutputProcess
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import MIDI_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.midi.mapping import Control, ControllerMap, MappingError, map_lines, parse_map
from crowdstream.settings import SettingError, state_folder
from crowdstream.settings.toml import parse
from crowdstream.settings.types import READY_MAPS, ready_maps
from crowdstream.system.safe_open import open_to_read
from crowdstream.system.text import MAX_SIDECAR_BYTES, printable

log = logging.getLogger(__name__)

NAME = "midi"  # under which the process is kept for a successor of control

MIDI_SENDER = ("midi", 0)  # sender of the commands of controllers; see `osc.acl.LOCAL_SENDERS`
MAX_MAPS = 16
MAX_ATTACHED = 16  # controllers of other machines
LEARNED = "learned"  # beginning of the names of learnt mappings
APIS = ("auto", "alsa", "jack")


@dataclass
class MidiSettings:
    """Ports by parts of their names (empty: none), names or paths of mappings, and the API."""

    clock: str = ""
    follow: str = ""
    maps: tuple[str, ...] = ()
    api: str = "auto"


def load_map(name: str) -> ControllerMap:
    """Read a mapping by its name or path, and check its commands. Raises `Refused`."""
    try:
        path = READY_MAPS / f"{name}.toml" if name in ready_maps() else Path(name).expanduser()
    except RuntimeError:
        raise Refused(f"{name}: there is no such user") from None
    try:
        with open_to_read(path, ()) as file:
            made = parse_map(parse(file.read(MAX_SIDECAR_BYTES + 1), path, MAX_SIDECAR_BYTES))
    except OSError as error:
        known = ", ".join(ready_maps())
        raise Refused(
            f"{path} can't be read: {error.strerror}; mappings that are ready: {known}"
        ) from None
    except SettingError as error:
        raise Refused(str(error)) from None
    except MappingError as error:
        raise Refused(f"{path}: {error}") from None
    for number, control in enumerate(made.controls, 1):
        try:
            check_control(control)
        except CommandError as error:
            raise Refused(f"{path}: control {number}: {error}") from None
    return made


def check_control(control: Control) -> None:
    """Check that a control's commands exist and take its values. Raises `CommandError`."""
    command, _place = TABLE.find(control.address)
    if control.off_address:
        command.bind(control.arguments)
        TABLE.find(control.off_address)[0].bind(control.arguments)
        return
    samples: dict[str, list[tuple[Any, ...]]] = {
        "button": [control.values], "toggle": [(0,), (1,)], "hold": [(0,), (1,)],
    }  # fmt: skip
    for values in samples.get(control.kind, [(control.low,), (control.high,)]):
        command.bind((*control.arguments, *values))


class Midi:
    """MIDI of a server. For the control thread."""

    def __init__(
        self,
        perform: Callable[[str, tuple[Any, ...]], None],
        subscribe: Callable[[tuple[str, ...], Callable[..., None]], None],
        notify: Callable[..., None],
        report: Callable[[str, str], None],
        meter: Callable[[], int],
        jump: Callable[[float], None],
    ) -> None:
        """`perform` carries out a command of a controller.

        `meter` returns the beats of a bar. `jump` moves the clock forwards by so many beats, unless
        something plays. `subscribe` sends the values of addresses to a function, which replaces the
        subscription before. `notify` sends an event to all subscribers, `report` one to the event
        log.
        """
        self._perform = perform
        self._subscribe = subscribe
        self._notify = notify
        self._report = report
        self._meter = meter
        self._jump = jump
        self.settings = MidiSettings()
        self.process: OutputProcess | None = None
        self.revision = 0
        """Number of changes, by which observers detect them."""
        self._maps: dict[str, ControllerMap] = {}  # by name or path
        self._learned: dict[str, ControllerMap] = {}  # by port
        self._learning: dict[str, Any] | None = None
        self._names: dict[str, list[tuple[Any, ...]]] = {}  # names of values by address
        self._state: dict[str, Any] = {}
        self._attached: list[str] = []  # ports of other machines
        self._leds: dict[str, dict[str, int]] = {}  # of attached controllers, by mapped port
        self._lost: set[str] = set()  # roles whose port is missing, and was reported
        self._ended = dict.fromkeys(("lost", "absurd", "ticks"), 0)  # of earlier processes

    # The process -------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the process is needed."""
        one = self.settings
        return bool(one.clock or one.follow or self._maps or self._learned or self._learning)

    def process_started(self) -> None:
        """Send a new process what it must know."""
        self._leds = {}
        self._send_configuration()
        if self._learning is not None:
            self._send({"do": "learn", **self._learning})

    def _send(self, message: dict[str, Any]) -> None:
        if self.process is not None:
            self.process.send(message)

    def send_meter(self) -> None:
        """Send the process the number of beats in a bar."""
        self._send({"do": "meter", "beats": self._meter()})

    def _send_configuration(self) -> None:
        self.send_meter()
        maps = [one.to_json() for one in (*self._maps.values(), *self._learned.values())]
        one = self.settings
        self._send({
            "do": "configure", "clock": one.clock, "follow": one.follow, "api": one.api,
            "maps": maps,
        })  # fmt: skip
        for port in self._attached:
            self._send({"do": "attach", "port": port})
        self._names = {}
        for made in (*self._maps.values(), *self._learned.values()):
            for control in made.controls:
                names = self._names.setdefault(control.address, [])
                if control.name not in names:
                    names.append(control.name)
        self._subscribe(tuple(sorted(self._names)), self._on_value)

    def _on_value(self, address: str, *values: Any) -> None:
        arguments = (address, *values)
        found = [
            [list(name), arguments[len(name)]] for name in self._names.get(address, ())
            if arguments[: len(name)] == name and len(arguments) > len(name)
        ]
        if found:
            self._send({"do": "values", "values": found})

    def _changed(self) -> None:
        self.revision += 1
        if self.process is None:
            return
        self.process.enable(self.wanted)
        if self.wanted:
            self._send_configuration()
        else:
            self._subscribe((), self._on_value)
            self._state, self._lost = {}, set()

    def handle(self, message: dict[str, Any]) -> None:
        """Take a report of the process."""
        match message.get("event"):
            case "command":
                self._perform(str(message["address"]), tuple(message["arguments"]))
            case "tempo":
                self._perform("/clock/tempo", (float(message["bpm"]),))
            case "jump":
                self._jump(float(message["beats"]))
            case "learned":
                self._learn_control(str(message["port"]), Control.of_json(message["control"]))
            case "state":
                self._take_state(message)
            case "leds":
                shown = self._leds.setdefault(str(message["port"]), {})
                for status, number, value in message["messages"]:
                    shown[f"{status} {number}"] = value
                self.revision += 1

    def _take_state(self, message: dict[str, Any]) -> None:
        before, self._state = self._state, message
        for name in self._ended:  # a new process counts from 0
            if message[name] < before.get(name, 0):
                self._ended[name] += before[name]
        for role in message["roles"]:
            role["port"], role["reason"] = printable(role["port"]), printable(role["reason"])
            self._notice(role["role"], role["state"] == "connected", role["port"], role["reason"])
        if message["locked"] != before.get("locked", False):
            log.info(
                "MIDI clock: %s", f"locked at {message['bpm']:.2f} beats per minute"
                if message["locked"] else "no longer locked; the tempo stays",
            )  # fmt: skip
            self._notify("/midi", "follow", "locked" if message["locked"] else "unlocked", "")
        self.revision += 1

    def _notice(self, role: str, there: bool, port: str, reason: str) -> None:
        if not there and role not in self._lost:
            self._lost.add(role)
            log.warning("MIDI %s is not connected: %s", role, reason)
            self._notify("/midi", role, "lost", reason)
            self._report("midi_lost", f"MIDI {role} is not connected: {reason}")
        elif there and role in self._lost:
            self._lost.remove(role)
            log.info("MIDI %s: %s", role, port)
            self._notify("/midi", role, "found", port)
            self._report("midi_found", f"MIDI {role} is connected: {port}")

    def process_lost(self, reason: str) -> None:
        """The process does not run."""
        for role in self._state.get("roles", []):
            role["state"], role["port"], role["reason"] = "searching", "", reason
            self._notice(role["role"], False, "", reason)
        if not self._state:
            self._notice("process", False, "", reason)
        if self._state.get("locked"):
            self._state |= {"locked": False, "bpm": 0.0}
            self._notify("/midi", "follow", "unlocked", "")
        self.revision += 1

    # Commands ----------------------------------------------------------------------------

    def configure(self, **values: Any) -> None:
        """Change fields of the settings. Raises `Refused` for a mapping that can't be read."""
        new = replace(self.settings, **values)
        if len(new.maps) > MAX_MAPS:
            raise Refused(f"{MAX_MAPS} mappings are the maximum: remove one first")
        known = self._maps
        maps = {name: known.get(name) or load_map(name) for name in dict.fromkeys(new.maps)}
        self.settings, self._maps = new, maps
        self._changed()

    def set_configured(self, before: Sequence[str], maps: Mapping[str, ControllerMap]) -> bool:
        """Replace the mappings `before` by `maps`; return whether that changed anything.

        Mappings that commands have added stay, as far as there is room for them.
        """
        added = {name: made for name, made in self._maps.items() if name not in before}
        new = dict(list({**maps, **added, **maps}.items())[:MAX_MAPS])
        if new == self._maps:
            return False
        self.settings, self._maps = replace(self.settings, maps=tuple(new)), new
        self._changed()
        return True

    def add_map(self, name: str) -> None:
        """Add a mapping, or read it again. Raises `Refused`."""
        made = load_map(name)
        if name not in self._maps:
            self.configure(maps=(*self.settings.maps, name))
        self._maps[name] = made
        self._changed()

    def remove_map(self, name: str) -> None:
        """Remove a mapping, or what was learnt for a port. Raises `Refused` if there is none."""
        if name in self._learned:
            del self._learned[name]
            self._changed()
            return
        if name not in self._maps:
            known = ", ".join((*self._maps, *self._learned)) or "none"
            raise Refused(f"{name} is no mapping in use; in use: {known}")
        self.configure(maps=tuple(one for one in self.settings.maps if one != name))

    def learn(self, address: str, arguments: Sequence[Any]) -> None:
        """Map the next control that is moved to a command. Raises `CommandError`."""
        command, _place = TABLE.find(address)
        kind, low, high = "button", 0.0, 1.0
        if len(arguments) < len(command.args):
            arg = command.args[len(arguments)]
            kind, low, high = _kind_of(arg)
            if kind == "button" and not command.is_button:
                raise Refused(f"{address}: a control can't send {arg.name} ({command.usage()})")
        check_control(Control(
            0xB0, 0, address, tuple(arguments), kind, low, high  # type: ignore[arg-type]
        ))
        self._learning = {
            "address": address, "arguments": list(arguments), "low": low, "high": high,
            "kind": kind,
        }  # fmt: skip
        self._changed()
        self._send({"do": "learn", **self._learning})

    def attach(self, port: str) -> None:
        """Use a controller of another machine. Raises `Refused` without a mapping for its port."""
        self._check_port(port)
        self._attached = [*(one for one in self._attached if one != port), port][-MAX_ATTACHED:]
        self._send({"do": "attach", "port": port})

    def message(self, port: str, message: list[int]) -> None:
        """Handle a message of a controller of another machine. Raises `Refused` as `attach`."""
        if self._learning is None:
            self._check_port(port)
        self._send({"do": "message", "port": port, "message": message})

    def _check_port(self, port: str) -> None:
        maps = (*self._maps.values(), *self._learned.values())
        if not any(one.port.casefold() in port.casefold() for one in maps):
            raise Refused(f"no mapping is for the port {port}: add one with /midi/map/add")

    def end_learning(self) -> None:
        """Stop waiting for a control."""
        self._learning = None
        self._send({"do": "learn", "address": ""})
        self._changed()

    def _learn_control(self, port: str, control: Control) -> None:
        if self._learning is None or control.address != self._learning["address"]:
            return
        self._learning = None
        part = _port_part(port)
        made = self._learned.get(part) or ControllerMap(f"{LEARNED} {part}"[:200], part, ())
        place = (control.status, control.number)
        kept = [one for one in made.controls if (one.status, one.number) != place]
        made = self._learned[part] = replace(made, controls=(*kept, control))
        path = learned_path(part)
        threading.Thread(target=_write_map, args=(path, made), name="save map", daemon=True).start()
        what = "note" if control.status & 0xF0 == 0x90 else "cc"
        text = f"{what} {control.number} on channel {(control.status & 0x0F) + 1}"
        log.info("MIDI: %s of %s is mapped to %s (%s)", text, port, control.address, path)
        self._notify("/midi/learned", port, text, control.address, str(path))
        self._changed()

    # Reports -----------------------------------------------------------------------------

    def roles(self) -> list[dict[str, Any]]:
        """Return role, port, state and reason of each port that is wanted."""
        return list(self._state.get("roles", []))

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        roles, state = self.roles(), self._state
        return {
            "midi_ports": len(roles),
            "midi_connected": sum(one["state"] == "connected" for one in roles),
            "midi_locked": int(state.get("locked", False)),
            "midi_bpm": float(state.get("bpm", 0.0)),
            "midi_error_ms": float(state.get("error_ms", 0.0)),
            **{f"midi_{name}": before + int(state.get(name, 0))
               for name, before in self._ended.items()},
        }  # fmt: skip

    def value(self) -> list[dict[str, Any]]:
        """Return MIDI for the state view: one entry, or none while it is not used."""
        one = self.settings
        shown = {
            "clock": one.clock, "follow": one.follow, "maps": [*self._maps, *self._learned],
            "learning": self._learning["address"] if self._learning else "",
            "locked": int(self._state.get("locked", False)),
            "ports": [dict(one) for one in self.roles()],
            # Copies: the view compares them with later values.
            "leds": {port: dict(places) for port, places in self._leds.items()},
        }  # fmt: skip
        return [shown] if self.wanted else []

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return MIDI as JSON-compatible state; see `restore`."""
        one = self.settings
        return {
            "clock": one.clock, "follow": one.follow, "api": one.api,
            "maps": {name: made.to_json() for name, made in self._maps.items()},
            "learned": {port: made.to_json() for port, made in self._learned.items()},
            "lost": sorted(self._lost), "attached": self._attached,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Restore MIDI from `to_state`. A command that was to be learnt is forgotten."""
        self._maps = {name: ControllerMap.of_json(one) for name, one in state["maps"].items()}
        self._learned = {
            port: ControllerMap.of_json(one) for port, one in state["learned"].items()
        }
        self.settings = MidiSettings(
            state["clock"], state["follow"], tuple(self._maps), state["api"]
        )
        self._lost = set(state["lost"])
        self._attached = list(state.get("attached", []))  # an earlier version has saved none


def _kind_of(arg: Arg) -> tuple[str, float, float]:
    # What a control sends as this argument.
    if arg.type not in ("i", "f") or arg.low is None or arg.high is None:
        return "button", 0.0, 1.0
    if arg.type == "i" or arg.default is not REQUIRED:
        return ("toggle" if arg.switch else "button"), 0.0, 1.0
    # Above a gain of 1 a fader would be hard to use.
    return "fader", float(arg.low), min(1.0, arg.high) if arg.name == "gain" else float(arg.high)


def _port_part(port: str) -> str:
    # ALSA's names end in numbers that differ after each start: "nanoKONTROL2 CTRL 28:0".
    return re.sub(r"\s+\d+:\d+$", "", port) or port


def learned_path(port: str) -> Path:
    """Return the file of the controls that were learnt for a port."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", port).strip("-").lower()[:60] or "port"
    return state_folder(os.environ) / f"midi-{LEARNED}-{slug}.toml"


def _write_map(path: Path, made: ControllerMap) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text("\n".join(map_lines(made)) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        log.warning("the learnt control is not saved: %s: %s", path, error.strerror or error)


def start_midi(fork_server: ForkServer, desk: Desk) -> Child:
    """Start the MIDI process. Raises `ChildError`."""
    return Child(fork_server, MIDI_MODULE, json.dumps({"fd": desk.fd}), desk.fd, NAME)


def midi_process(
    midi: Midi, start: Callable[[], Process], monotonic: Callable[[], float] = time.monotonic
) -> SupervisedProcess:
    """Return the process of MIDI. `start` starts it."""
    process = SupervisedProcess(
        NAME, start, midi.handle, midi.process_lost, midi.process_started,
        enabled=midi.wanted, monotonic=monotonic,
    )  # fmt: skip
    midi.process = process
    return process
