"""Rooms in step as seen by control: the role, what is sent and carried out, and the reports.

The process of the rooms (`crowdstream/rooms/`) measures the clocks, steers the output and carries
the messages. Without it the server plays on at its own clock.
"""

from __future__ import annotations

import json
import logging
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.commands.registry import Command, Place
from crowdstream.control.decks.deck_manager import StartGate
from crowdstream.control.engine_queue.request import Request
from crowdstream.control.peers.lights import OutputProcess
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import ROOMS_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.control.rooms.following import Following
from crowdstream.control.rooms.leading import Leading
from crowdstream.control.rooms.shared import Host, MakeRequest
from crowdstream.desk.block import Desk
from crowdstream.logs.throttle import LineThrottle
from crowdstream.settings import SettingError, Settings
from crowdstream.system.text import printable
from crowdstream.timing.steering import release_steering

log = logging.getLogger(__name__)

NAME = "rooms"  # under which the process is kept for a successor of control

ROLES = ("off", "leader", "follower")
MIN_LEAD, MAX_LEAD = 0.02, 1.0  # s
SCENE_SECONDS = 1.0
BUSY_SECONDS = 0.02  # between two looks while a track waits to be resumed
STATES = ("off", "starting", "failed", "leading", "searching", "approaching", "in step")
"""States: off; starting (its process); failed (no key or no process); leading; searching (no answer
of the leader, or a refusal); approaching (on the way to its frame); in step (within 0.7 ms
of it)."""


def split_address(text: str, port: int) -> tuple[str, int]:
    """Return host and port of a leader's address; `port`: the default. Raises `ValueError`."""
    host, separator, number = text.rpartition(":")
    if not separator or (":" in host and not host.endswith("]")):
        host, number = text, ""  # a name, or an IPv6 address without brackets
    host = host.strip("[]")
    found = int(number) if number else port
    if not host or not host.isprintable() or " " in host or not 0 < found < 65536:
        raise ValueError(f"{text} is not an address such as 192.168.1.20 or leader.local:57130")
    return host, found


def _check(settings: Settings, text: str) -> None:
    if settings.rooms_key_file is None:
        raise SettingError("rooms: needs --rooms-key-file, a secret that all rooms share")
    if text != "leader":
        try:
            split_address(text, settings.rooms_port)
        except ValueError as error:
            raise SettingError(f"rooms: {error}") from None


class Rooms:
    """The rooms of a server. For the control thread. `core`: the server."""

    def __init__(
        self,
        core: Host,
        settings: Settings,
        view: Callable[[], dict[str, Any]],
        make_request: MakeRequest,
        notify: Callable[..., None],
        report: Callable[[str, str], None],
    ) -> None:
        """`view` returns the state view. `notify` and `report` send and log events."""
        self._core = core
        self._settings = settings
        self._notify = notify
        self._report = report
        self._quiet = LineThrottle(core.monotonic)
        self.process: OutputProcess | None = None
        self.role = "off"
        self.address = ""
        self.revision = 0
        self.leading = Leading(core, view, self._send)
        self.following = Following(core, view, make_request, self._repaired)
        self.repairs = self.faults = 0
        self._scene_at = 0.0
        self._process_state: dict[str, Any] = {}
        self._forged = 0
        self._counted = dict.fromkeys(("forged", "repeated", "relocks", "losses", "missing"), 0)
        self._told: Any = None
        text = settings.rooms
        if text is not None:
            _check(settings, text)
        if text == "leader":
            self.role = "leader"
        elif text is not None:
            self.role, self.address = "follower", text

    # Commands ----------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether commands are stamped and sent to other rooms."""
        return self.role == "leader" and self.process is not None

    def attach(self, process: OutputProcess) -> None:
        """Use the process; without one, as in an offline mix, this room plays alone."""
        self.process = process
        self._set_gate()

    def set_role(self, role: str, address: str = "") -> None:
        """Lead other rooms, follow the leader at an address, or neither.

        Raises `Refused` without a key, or for an address that is none.
        """
        if role != "off" and self._settings.rooms_key_file is None:
            raise Refused("rooms need a shared key: set --rooms-key-file in all of them")
        if role == "follower":
            try:
                split_address(address, self._settings.rooms_port)
            except ValueError as error:
                raise Refused(str(error)) from None
        if (role, address) == (self.role, self.address):
            return
        self.role, self.address = role, address if role == "follower" else ""
        self._process_state = {}
        self.following.reset()
        self._set_gate()
        self.revision += 1
        if self.process is not None:
            self.process.enable(role != "off")
        if role != "follower":
            # A process that has ended leaves the rate as it is, for its successor.
            release_steering(self._core.desk)
        self._configure()
        self._tell()

    def set_lead(self, seconds: float) -> None:
        """Set by how much later commands act, for all rooms to receive them before."""
        self.leading.lead = seconds
        self.revision += 1

    def _set_gate(self) -> None:
        gates: dict[str, StartGate] = {"leader": self.leading, "follower": self.following}
        self._core.deck_manager.gate = gates.get(self.role) if self.process else None

    # The process -------------------------------------------------------------------------

    def process_started(self) -> None:
        """Send a new process its role."""
        self._configure()

    def _configure(self) -> None:
        if self.process is None or self.role == "off":
            return
        settings = self._settings
        leader = None
        if self.role == "follower":
            leader = split_address(self.address, settings.rooms_port)
        folder = settings.rooms_folder
        self.process.send(
            {
                "do": "config", "role": self.role, "port": settings.rooms_port,
                "leader": leader, "key_file": str(settings.rooms_key_file or ""),
                "folder": str(folder) if folder else None, "name": socket.gethostname(),
                "requirements": {"base_bpm": settings.base_bpm},
            }
        )

    def _send(self, message: dict[str, Any], to: str) -> None:
        if self.process is not None and self.rooms:
            self.process.send({"do": "send", "message": message, "to": to})

    @property
    def rooms(self) -> list[list[Any]]:
        """Name, deviation (ms), error (ms) and 1 if in step, of each room of a leader."""
        found: list[list[Any]] = self._process_state.get("rooms", [])
        return found

    def handle(self, message: dict[str, Any]) -> None:
        """Take a report of the process."""
        if self.role == "off":
            return
        match message.get("event"):
            case "message" if self.role == "follower":
                self._handle_leaders(message)
            case "state":
                self._take_state(message)
            case "joined":
                self._process_state.setdefault("rooms", []).append([message["name"], 0.0, 0.0, 0])
                self._log("rooms", f"room {printable(str(message['name']))} has joined")
                self.leading.send_scene(str(message["room"]))
            case "left":
                self._fault(f"room {printable(str(message['name']))} is lost: {message['reason']}")
            case "refused":
                self._fault(f"refused: {printable(str(message['reason']))}")
            case "lost":
                self._fault(f"the leader is lost, this room plays on: {message['reason']}")
            case "connected":
                self._log("rooms", f"connected to the leader at {self.address}")
            case "missing":
                self._fault("a file of the leader is missing in this room")
        self.revision += 1
        self._tell()

    def _handle_leaders(self, message: dict[str, Any]) -> None:
        try:
            self.following.handle(message["message"], int(message["shift"]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            # Of another version of the program; the scene will show what is missing.
            self._fault(f"a message of the leader can't be carried out: {error!r}")

    def _take_state(self, message: dict[str, Any]) -> None:
        before, self._process_state = self._process_state, message
        for name in self._counted:  # a new process counts from 0
            value, known = int(message.get(name, 0)), int(before.get(name, 0))
            self._counted[name] += value - known if value >= known else value
        if self._counted["forged"] > self._forged:
            if self._forged == 0:
                self._fault("packets were rejected that no room has made, or a second time")
            self._forged = self._counted["forged"]
        reason = str(message.get("reason") or "")
        if reason and reason != before.get("reason") and not message.get("joined"):
            self._quiet.log(log.warning, "reason", "rooms: %s", printable(reason))

    def process_lost(self, reason: str) -> None:
        """The process does not run: the room keeps the rate that it had."""
        self._process_state = {"reason": printable(reason)}
        self._fault(f"not available: {printable(reason)}")
        self.revision += 1
        self._tell()

    def _fault(self, text: str) -> None:
        self.faults += 1
        self._quiet.log(log.warning, "fault", "rooms: %s", text)
        self._report("rooms_lost", f"rooms: {text}")

    def _log(self, kind: str, text: str) -> None:
        self._quiet.log(log.info, kind, "rooms: %s", text)
        self._report("rooms", f"rooms: {text}")

    def _repaired(self, what: str) -> None:
        self.repairs += 1
        self._quiet.log(log.info, "repair", "rooms: corrected %s", printable(what))

    # Turns ---------------------------------------------------------------------------------

    def stamp(
        self,
        bound: Sequence[tuple[Command, Place, dict[str, Any], int, Request]],
        frame: int,
        beat: float | None,
        now: int,
    ) -> int:
        """Send a leader's commands to the rooms; return the frame at which they act."""
        return self.leading.stamp(bound, frame, beat, now)

    def clock_changed(self) -> None:
        """The beat clock has changed: a leader sends it."""
        if self.leads and self.rooms:
            self.leading.send_clock()

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity if it can wait."""
        if self.role == "follower" and self.following.busy:
            return self._core.monotonic() + BUSY_SECONDS
        return self._scene_at if self.leads and self.rooms else math.inf

    def tick(self) -> None:
        """Send the scene, or resume what waits."""
        if self.role == "follower":
            if self.following.busy:
                self.following.tick()
        elif self.leads and self.rooms and self._core.monotonic() >= self._scene_at:
            self._scene_at = self._core.monotonic() + SCENE_SECONDS
            self.leading.send_scene()

    # Reports -----------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What this room does; see `STATES`."""
        state = self._process_state
        if self.role == "off":
            return "off"
        if not state or "forged" not in state:
            return "failed" if state.get("reason") else "starting"
        if self.role == "leader":
            return "leading"
        if not state.get("joined"):
            return "searching"
        return "in step" if state.get("in_step") and state.get("known") else "approaching"

    def _tell(self) -> None:
        told = (self.state, len(self.rooms))
        if told != self._told:
            self._told = told
            self._notify("/rooms", *told)

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        state, rooms = self._process_state, self.rooms
        return {
            "rooms.state": self.state,
            "rooms.count": len(rooms),
            "rooms.in_step": sum(room[3] for room in rooms),
            "rooms.deviation_ms": float(
                max((abs(room[1]) for room in rooms), default=state.get("deviation", 0.0))
            ),
            "rooms.error_ms": float(
                max((room[2] for room in rooms), default=state.get("error", 0.0))
            ),
            "rooms.drift_ppm": float(state.get("drift", 0.0)),
            "rooms.lead_ms": 1000.0 * self.leading.lead,
            "rooms.rejected": self._counted["forged"],
            "rooms.repeated": self._counted["repeated"],
            "rooms.relocks": self._counted["relocks"],
            "rooms.repairs": self.repairs,
            "rooms.faults": self.faults,
        }

    @property
    def reason(self) -> str:
        """Why this room is not in step, or empty."""
        return printable(str(self._process_state.get("reason", "")))

    def value(self) -> list[dict[str, Any]]:
        """Return the value for the state view: one entry, or none without a role."""
        if self.role == "off":
            return []
        state = self._process_state
        return [{
            "role": self.role,
            "state": self.state,
            "address": self.address,
            "reason": self.reason,
            "lead_ms": round(1000.0 * self.leading.lead, 3),
            "deviation_ms": round(float(state.get("deviation", 0.0)), 1),
            "error_ms": round(float(state.get("error", 0.0)), 1),
            "rooms": [
                {
                    "name": printable(str(name)), "deviation_ms": round(deviation, 1),
                    "error_ms": round(error, 1), "in_step": step,
                }
                for name, deviation, error, step in self.rooms
            ],
        }]

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> list[Any]:
        """Return the role and the counters; see `restore`."""
        return [self.role, self.address, self.leading.lead, self.repairs, self.faults]

    def restore(self, state: list[Any]) -> None:
        """Restore the state from `to_state`."""
        self.role, self.address, self.leading.lead, self.repairs, self.faults = state
        self._set_gate()


def start_rooms(fork_server: ForkServer, desk: Desk) -> Child:
    """Start the process of the rooms. Raises `ChildError`."""
    return Child(fork_server, ROOMS_MODULE, json.dumps({"fd": desk.fd}), desk.fd, NAME)


def rooms_process(
    rooms: Rooms, start: Callable[[], Process], monotonic: Callable[[], float] = time.monotonic
) -> SupervisedProcess:
    """Return the process of the rooms; it runs while a role is set."""
    process = SupervisedProcess(
        NAME, start, rooms.handle, rooms.process_lost, rooms.process_started,
        enabled=rooms.role != "off", monotonic=monotonic,
    )  # fmt: skip
    rooms.attach(process)
    return process
