"""The capture processes of the live inputs: one per input, started and restarted by control."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from crowdstream.control.decks.live_inputs import LiveInputs
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import CAPTURE_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import CAPTURES, release_owner
from crowdstream.system.text import printable


def child_name(number: int) -> str:
    """Name under which an input's process is kept for a successor of control."""
    return f"input{number + 1}"


def start_capture(
    fork_server: ForkServer, desk: Desk, buffer_size: int, number: int, device: str
) -> Child:
    """Start the capture process of an input, counted from 0. Raises `ChildError`."""
    request = {"fd": desk.fd, "number": number, "device": device, "buffer_size": buffer_size}
    return Child(fork_server, CAPTURE_MODULE, json.dumps(request), desk.fd, child_name(number))


def capture_processes(
    desk: Desk,
    inputs: LiveInputs,
    devices: Sequence[str],
    start: Callable[[int, str], Process],
    monotonic: Callable[[], float] = time.monotonic,
) -> list[SupervisedProcess]:
    """Return the processes of all inputs. `start` starts that of an input for a device."""

    def handle(number: int, message: dict[str, Any]) -> None:
        if message["event"] == "opened":
            inputs.opened(number, message)
        elif message["event"] == "lost":
            inputs.lost(number, printable(str(message["reason"])))
        elif message["event"] == "feedback":
            inputs.feedback(number, float(message["gain"]))
        elif message["event"] in ("howling", "howls", "whistles"):
            inputs.howling(number, message["event"], float(message["hertz"]))

    def lost(number: int, reason: str) -> None:
        release_owner(desk, CAPTURES + number)
        inputs.lost(number, reason)

    return [
        SupervisedProcess(
            child_name(number), partial(start, number, device), partial(handle, number),
            partial(lost, number), monotonic=monotonic, may_hang=True,
        )
        for number, device in enumerate(devices)
    ]
