"""An engine's two pipes: what it says, and its standard input, which keeps it alive."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from typing import Any, NoReturn


class Ended(Exception):
    """Standard input has closed."""


def say(message: dict[str, Any]) -> None:
    """Tell control something; nobody has to hear it."""
    # Control may be gone just now; its successor looks at the desk.
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def pause(seconds: float | None) -> None:
    """Wait so long. Raises `Ended`."""
    if select.select([0], [], [], seconds)[0] and not os.read(0, 4096):
        raise Ended


def await_word() -> None:
    """Wait until control has said something. Raises `Ended`."""
    while True:
        select.select([0], [], [])
        said = os.read(0, 4096)
        if not said:
            raise Ended
        if said.strip():  # a control after another writes a newline
            return


def sleep() -> NoReturn:
    """Do nothing any more. Raises `Ended`."""
    while True:  # a control after another writes a newline
        pause(None)
