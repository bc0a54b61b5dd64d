"""The JACK process as seen by control: which ports it offers, and what the transport does.

The ports belong to a process of their own (see `crowdstream.jack`): a JACK server that stalls or
ends affects nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import JACK_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.desk.taps import JACK, release_owner
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

NAME = "jack"
"""Name under which the process is kept for a successor of control."""


def start_jack(fork_server: ForkServer, desk: Desk, request: dict[str, Any]) -> Child:
    """Start the JACK process. Raises `ChildError`."""
    return Child(fork_server, JACK_MODULE, json.dumps({"fd": desk.fd, **request}), desk.fd, NAME)


class JackPorts:
    """The ports of one server, and the transport that it follows. For the control thread.

    `roll` starts or stops the decks, `set_tempo` the clock's tempo (BPM), when the JACK transport
    does; `report` writes to the event log.
    """

    def __init__(
        self,
        desk: Desk,
        groups: Sequence[str],
        follows: bool,
        inputs: int,
        report: Callable[[str, str], None],
        roll: Callable[[bool], None],
        set_tempo: Callable[[float], None],
    ) -> None:
        """`groups`: what is offered at first, of `JACK_GROUPS`. `inputs`: number of live inputs."""
        self._desk = desk
        self.groups = tuple(groups)
        self.follows = follows
        self._inputs = inputs
        self._report = report
        self._roll = roll
        self._set_tempo = set_tempo
        self._process: SupervisedProcess | None = None
        self._connections: dict[str, list[str]] = {}
        self._rolling: bool | None = None
        self._bpm = 0.0
        self._there = self._locked = False
        self._reason = ""
        self._counters: dict[str, Any] = {}
        self._ports = 0

    def supervise(
        self, start: Callable[[dict[str, Any]], Process], info: Callable[[], StreamInfo]
    ) -> SupervisedProcess:
        """Return the process, which runs while ports are offered. `info`: the engine's stream."""

        def begin() -> Process:
            self._rolling = None
            self._locked = is_jack(info())
            return start(
                {
                    "groups": self.groups, "inputs": self._inputs, "transport": self.follows,
                    "connections": self._connections, "locked": self._locked,
                }
            )  # fmt: skip

        self._process = SupervisedProcess(
            NAME, begin, self._handle, self._lost, enabled=self._wanted, may_hang=True
        )
        return self._process

    @property
    def _wanted(self) -> bool:
        return bool(self.groups) or self.follows

    def offer(self, groups: Sequence[str]) -> None:
        """Offer other ports. Those that stay are connected as before."""
        if tuple(groups) != self.groups:
            self.groups = tuple(groups)
            self._restart()

    def follow(self, on: bool) -> None:
        """Follow the transport or not."""
        if on != self.follows:
            self.follows = on
            self._restart()

    def stream_changed(self, info: StreamInfo) -> None:
        """Handle another stream of the engine, whose clock may be another one."""
        if self._process is not None and self._process.runs and is_jack(info) != self._locked:
            self._restart()

    def _restart(self) -> None:
        if self._process is not None:
            self._process.enable(False)
            self._process.enable(self._wanted)
        self._release()

    def _release(self) -> None:
        release_owner(self._desk, JACK)
        self._there, self._ports, self._counters = False, 0, {}

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message["event"]
        if kind == "opened":
            self._there, self._reason, self._ports = True, "", int(message["ports"])
            log.info(
                "JACK: %d ports of %s, %g Hz, %d frames", self._ports,
                printable(str(message["name"])), message["rate"], message["frames"],
            )
        elif kind == "lost":
            self._lost_server(printable(str(message["reason"])))
        elif kind == "connections":
            self._connections = dict(message["connections"])
        elif kind == "counters":
            self._counters = message
        elif kind == "transport":
            self._follow_transport(bool(message["rolling"]), float(message["bpm"]))

    def _follow_transport(self, rolling: bool, bpm: float) -> None:
        # What the transport does already when this server joins changes nothing.
        if self._rolling is not None and self.follows:
            if bpm > 0.0 and bpm != self._bpm:
                self._set_tempo(bpm)
            if rolling != self._rolling:
                self._roll(rolling)
        self._rolling, self._bpm = rolling, bpm

    def _lost_server(self, reason: str) -> None:
        if self._there:
            self._report("jack", f"the JACK ports are gone: {reason}")
        if reason != self._reason:
            log.warning("JACK: %s; it is searched for again", reason)
        self._there, self._reason = False, reason
        self._rolling = None

    def _lost(self, reason: str) -> None:
        self._lost_server(reason)
        self._release()

    def readings(self) -> dict[str, Any]:
        """Fields for the status."""
        state = "off" if not self._wanted else "running" if self._there else "searching"
        return {
            "jack": state,
            "jack_ports": self._ports if self._there else 0,
            "jack_connected": int(self._counters.get("connected", 0)),
            "jack_gaps": int(self._counters.get("gaps", 0)),
            "jack_drift_ppm": float(self._counters.get("ppm", 0.0)),
            "jack_transport": "off" if not self.follows else "rolling" if self._rolling
            else "stopped",
        }  # fmt: skip

    def to_state(self) -> dict[str, Any]:
        """Return JSON-compatible state; see `restore`."""
        return {
            "groups": list(self.groups), "follows": self.follows, "there": self._there,
            "connections": self._connections, "rolling": self._rolling, "bpm": self._bpm,
            "ports": self._ports, "locked": self._locked,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Restore from `to_state`."""
        self.groups, self.follows = tuple(state["groups"]), bool(state["follows"])
        self._there, self._connections = bool(state["there"]), dict(state["connections"])
        self._rolling, self._bpm = state["rolling"], float(state["bpm"])
        self._ports, self._locked = int(state["ports"]), bool(state["locked"])


def is_jack(info: StreamInfo) -> bool:
    """Whether the engine's stream is one of JACK, whose clock is that of the ports."""
    return "JACK" in info.device
