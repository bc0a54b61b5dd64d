"""An engine's pipes: reports to control, and standard input, which keeps it alive."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from typing import Any, NoReturn


class Ended(Exception):
    """Raised when standard input has been closed."""


def report(message: dict[str, Any]) -> None:
    """Send a JSON message to control. Losing it is harmless."""
    # Control may have died; its successor reads the state from the desk.
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def pause(seconds: float | None) -> None:
    """Wait for `seconds` seconds; None waits indefinitely. Raises `Ended`."""
    if select.select([0], [], [], seconds)[0] and not os.read(0, 4096):
        raise Ended


def wait_for_message() -> None:
    """Wait for a message from control. Raises `Ended`."""
    while True:
        select.select([0], [], [])
        received = os.read(0, 4096)
        if not received:
            raise Ended
        if received.strip():  # a restarted control process writes a newline
            return


def sleep_until_ended() -> NoReturn:
    """Sleep until standard input is closed. Raises `Ended`."""
    while True:  # a restarted control process writes a newline
        pause(None)
