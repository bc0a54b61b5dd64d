"""The pipes that connect the process of an optional part with control.

Control's messages arrive on standard input as JSON lines, and reports are written to standard
output in the same form. When standard input closes, the process exits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from typing import Any, Protocol

from crowdstream.system.process import send_to_parent

READ_BYTES = 65536


class Ended(Exception):
    """Raised when standard input has been closed."""


def report(message: dict[str, Any]) -> None:
    """Send a JSON message to control; its loss is harmless, because control asks again."""
    with contextlib.suppress(OSError):
        send_to_parent(message)


def is_asked(seconds: float) -> bool:
    """Wait for a message of control for up to `seconds`; return whether there was one.

    For processes whose only message is the request for their state. Raises `Ended`.
    """
    if not select.select([0], [], [], max(0.0, seconds))[0]:
        return False
    received = os.read(0, READ_BYTES)
    if not received:
        raise Ended
    return bool(received.strip())  # another control begins with an empty line


class Worker(Protocol):
    """A part that has something to do at certain times."""

    @property
    def wake_fd(self) -> int:
        """Readable when `turn` has work before its time."""

    def handle(self, message: dict[str, Any]) -> None:
        """Carry out a message of control."""

    def turn(self) -> float:
        """Do what is due; return the instant (monotonic seconds) of the next turn."""

    def close(self) -> None:
        """Release everything."""


def _message(line: bytes) -> dict[str, Any] | None:
    # None for an empty line, and for one that a control process did not finish before it died.
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def serve(worker: Worker) -> None:
    """Carry out messages and turns until standard input closes, then close the worker."""
    incomplete = b""
    turn_at = 0.0
    try:
        while True:
            wait = max(0.0, turn_at - time.monotonic())
            if 0 in select.select([0, worker.wake_fd], [], [], wait)[0]:
                received = os.read(0, READ_BYTES)
                if not received:
                    return
                *lines, incomplete = (incomplete + received).split(b"\n")
                for message in filter(None, map(_message, lines)):
                    worker.handle(message)
            turn_at = worker.turn()
    finally:
        worker.close()
