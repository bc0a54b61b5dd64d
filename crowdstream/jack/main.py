"""The JACK process: offers taps of the mixer as ports, and follows the server's transport.

It searches for a JACK server while there is none, and connects its ports again as they were. When
standard input closes, it exits. Control's messages on standard input and the reports on standard
output are JSON lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    DECKS,
    INPUTS,
    STEMS,
    TAP_CUE,
    TAP_DECK,
    TAP_INPUT,
    TAP_MASTER,
    TAP_MUSIC,
    TAP_STEM,
)
from crowdstream.desk.taps import JACK, release_tap, request_tap
from crowdstream.jack.client import JackClient, JackError
from crowdstream.jack.kernel import STATE, coefficients, compile_callback
from crowdstream.settings.schema import JACK_GROUPS
from crowdstream.system.control_pipe import Ended, is_asked, report

SEARCH_SECONDS = 1.0  # between attempts to find a server
LOOK_SECONDS = 0.02  # between two looks at the transport
REPORT_SECONDS = 0.5  # between two reports of the counters
NAME = "crowdstream"


def ports_of(groups: list[str], inputs: int) -> dict[str, int]:
    """Return the taps of the stereo ports of some groups by name. `inputs`: live inputs there are.

    The names of the two ports of JACK end in `_1` and `_2`.
    """
    letters = "ABCD"[:DECKS]
    every: dict[str, dict[str, int]] = {
        "master": {"master": TAP_MASTER},
        "cue": {"cue": TAP_CUE},
        "music": {"music": TAP_MUSIC},
        "decks": {f"deck_{letter}": TAP_DECK + number for number, letter in enumerate(letters)},
        "stems": {
            f"stem_{letter}{stem + 1}": TAP_STEM + STEMS * number + stem
            for number, letter in enumerate(letters) for stem in range(STEMS)
        },
        "inputs": {
            f"input_{number + 1}": TAP_INPUT + number for number in range(min(inputs, INPUTS))
        },
    }  # fmt: skip
    return {
        name: tap
        for group in JACK_GROUPS if group in groups
        for name, tap in every[group].items()
    }  # fmt: skip


def restore(
    client: JackClient, missing: dict[str, list[str]], found: Mapping[str, Sequence[str]]
) -> None:
    """Connect ports as they were before, as far as the other ones exist by now.

    `missing`: connections that were not restored yet, by port; those that are `found` are removed.
    Other programs return later than the server, and what is disconnected afterwards stays so.
    """
    for name, others in missing.items():
        missing[name] = [other for other in others if other not in found.get(name, ())]
        client.connect(name, missing[name])


class JackPorts:
    """The ports of one server. `request` is control's request."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._desk = Desk(int(request["fd"]))
        self._ports = ports_of(list(request["groups"]), int(request["inputs"]))
        self._connections: dict[str, list[str]] = dict(request["connections"])
        self._missing: dict[str, list[str]] = {}
        self._locked = bool(request["locked"])
        self._follows = bool(request["transport"])
        self._table = coefficients(1.0)
        self._callback = compile_callback()
        self._record = np.zeros(1, STATE)
        self._state: dict[str, Any] = {"event": "lost", "reason": "a JACK server is searched for"}
        self._rolling: bool | None = None
        self._tempo = 0.0
        self._incomplete_line = b""

    def run(self) -> None:
        """Offer ports until standard input closes."""
        for tap in self._ports.values():
            request_tap(self._desk, tap, JACK)
        try:
            while True:
                try:
                    client = JackClient(NAME)
                except JackError as error:
                    self._set_state({"event": "lost", "reason": str(error)})
                    self._pause(SEARCH_SECONDS)
                    continue
                try:
                    self._serve(client)
                except JackError as error:
                    self._set_state({"event": "lost", "reason": str(error)})
                    self._pause(SEARCH_SECONDS)
                finally:
                    client.close()
        except Ended:
            pass
        finally:
            for tap in self._ports.values():
                release_tap(self._desk, tap, JACK)

    def _serve(self, client: JackClient) -> None:
        record = self._record
        calls, gaps, silent = (int(record[name][0]) for name in ("calls", "gaps", "silent"))
        record[:] = np.zeros(1, STATE)
        record["calls"], record["gaps"], record["silent"] = calls, gaps, silent
        self._table = coefficients(self._desk.sample_rate / client.rate)
        record["desk"], record["table"] = self._desk.address, self._table.ctypes.data
        record["get_buffer"] = client.get_buffer
        record["ratio"] = self._desk.sample_rate / client.rate
        record["rate"] = self._desk.sample_rate
        record["block"] = int(self._desk.header["block_frames"])
        record["locked"] = self._locked and client.rate == self._desk.sample_rate
        handles: dict[str, int] = {}
        for number, (name, tap) in enumerate(self._ports.items()):
            sides = [client.register(f"{name}_{side}") for side in (1, 2)]
            handles.update({f"{name}_{side}": sides[side - 1] for side in (1, 2)})
            record["port"][0, number] = (tap, *sides, 0.0, 0.0)
        record["ports"] = len(self._ports)
        client.activate(self._callback.address, record.ctypes.data)
        self._missing = {
            name: list(others) for name, others in self._connections.items() if name in handles
        }
        restore(client, self._missing, {})
        self._set_state(
            {"event": "opened", "name": client.name, "rate": client.rate, "frames": client.frames,
             "ports": 2 * len(self._ports)}
        )  # fmt: skip
        self._rolling = None
        due = 0.0
        while not client.gone:
            self._pause(LOOK_SECONDS if self._follows else REPORT_SECONDS)
            record["block"] = int(self._desk.header["block_frames"])
            if self._follows:
                self._follow_transport(client)
            if time.monotonic() >= due:
                due = time.monotonic() + REPORT_SECONDS
                self._report_counters(client, handles)
        self._set_state({"event": "lost", "reason": "the JACK server has ended"})

    def _follow_transport(self, client: JackClient) -> None:
        rolling, tempo = client.transport()
        if (rolling, tempo) != (self._rolling, self._tempo):
            self._rolling, self._tempo = rolling, tempo
            report({"event": "transport", "rolling": rolling, "bpm": tempo})

    def _report_counters(self, client: JackClient, handles: dict[str, int]) -> None:
        found = {name: client.connections(handle) for name, handle in handles.items()}
        restore(client, self._missing, found)
        wanted = {name: [*others, *self._missing.get(name, ())] for name, others in found.items()}
        connections = {name: others for name, others in wanted.items() if others}
        counters = {
            "gaps": int(self._record["gaps"][0]), "silent": int(self._record["silent"][0]),
            "ppm": round(float(self._record["drift"][0]) * 1e6, 1),
            "connected": sum(map(len, found.values())),
        }
        if connections != self._connections and not client.gone:
            self._connections = connections
            report({"event": "connections", "connections": connections})
        report({"event": "counters", **counters})

    def _set_state(self, state: dict[str, Any]) -> None:
        if state != self._state:
            self._state = state
            report(state)

    def _pause(self, seconds: float) -> None:
        # Answer control until the time has passed. Raises `Ended`.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if is_asked(left):  # a new control process asks what its predecessor knew
                report(self._state)
                if self._rolling is not None:
                    report({"event": "transport", "rolling": self._rolling, "bpm": self._tempo})


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    JackPorts(json.loads(arguments[0])).run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a sound server that hangs must not delay the exit
