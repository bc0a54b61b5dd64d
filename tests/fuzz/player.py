"""A rig for fuzzing that checks its invariants and records internal errors."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Any

import numpy as np

from crowdstream.commands.registry import TABLE
from crowdstream.desk.block import Desk
from crowdstream.osc.codec import Malformed, parse
from tests.fuzz.invariants import check_control, check_desk, check_sound
from tests.fuzz.registry import Fault
from tests.fuzz.state_snapshot import state_snapshot
from tests.support.offline_server import Rig

MAX_LEVEL = 1.0 + 1e-6  # the ceiling of a rig is 0 dB
STEPS_PER_FULL_CHECK = 16
_LOGGER = logging.getLogger("crowdstream.control.dispatcher")


class NoRecorder:
    """Replaces the recorder: writes no file, but reports what the recorder would."""

    finished = is_foreign = False
    exit_description = ""

    def __init__(self, _desk: Desk) -> None:
        self._files: dict[int, list[str]] = {}
        self._events: deque[dict[str, Any]] = deque()

    def send(self, message: dict[str, Any]) -> None:
        """Accept a request."""
        number = message["id"]
        if message["do"] == "start":
            self._files[number] = [path for _, path in message["files"]]
            self._events.append({"event": "opened", "id": number})
            self._events.append({"event": "began", "id": number, "frame": message["frame"] + 1})
        else:
            for path in self._files.pop(number, []):
                self._events.append({"event": "closed", "id": number, "path": path, "frames": 1})

    def push(self) -> None:
        """Do nothing: no request is ever queued."""

    def read(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def stop(self, seconds: float = 10.0) -> None:
        """Do nothing: there is no process to end."""


class _Faults(logging.Handler):
    """Keeps the first exception that control caught; no command may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] and self.error is None:
            self.error = record.exc_info[1]


class Player(Rig):
    """A rig that checks every step. Each packet has a sender of its own."""

    def __init__(self, **settings: Any) -> None:
        self._faults = _Faults()
        self._packets = self._checks = 0
        self.loudest = 0.0
        super().__init__(**settings)
        self.core.recordings.launch = NoRecorder
        _LOGGER.addHandler(self._faults)
        self._propagate, _LOGGER.propagate = _LOGGER.propagate, False
        # The search for similar addresses takes longer than everything else together.
        self._hinted, TABLE._hinted = TABLE._hinted, math.inf

    def close(self) -> None:
        """Restore the logger and release the memory."""
        _LOGGER.removeHandler(self._faults)
        _LOGGER.propagate = getattr(self, "_propagate", True)
        TABLE._hinted = getattr(self, "_hinted", TABLE._hinted)
        super().close()

    def handle(self, packet: bytes) -> None:
        """Handle a packet; a single message that fails at once must not change the state."""
        self._packets += 1
        sender = ("127.0.0.1", self._packets)
        answered = len(self.answers.said)
        try:
            single = len(parse(packet)) == 1
        except Malformed:
            single = True
        before = state_snapshot(self.core) if single else None
        self.core.handle_packet(packet, sender)
        self._raise_faults()
        failed = [
            values for to, address, values in self.answers.said[answered:]
            if address == "/fail" and to == sender
        ]
        if single and failed and state_snapshot(self.core) != before:
            changed = _change(before, state_snapshot(self.core))
            raise Fault(f"{failed[0]} failed and changed {changed}")

    def _raise_faults(self) -> None:
        error, self._faults.error = self._faults.error, None
        if error is not None:
            raise Fault("a command raised an undeclared error") from error

    def play(self, frames: int) -> None:
        """Render a block and check the output."""
        out = self.render(frames)
        if not np.isfinite(out).all():
            raise Fault("the output is not finite")
        self.loudest = max(self.loudest, float(np.abs(out).max(initial=0.0)))
        if self.loudest > MAX_LEVEL:
            raise Fault(f"the output reaches {self.loudest} times full scale")
        self.load(self.pages_a_block)
        self._raise_faults()

    def check(self) -> None:
        """Raise `Fault` if an invariant does not hold."""
        self._checks += 1
        if self._checks % STEPS_PER_FULL_CHECK == 1:
            check_sound(self.desk)
        check_desk(self.desk)
        check_control(self.core, self.loader)


def _change(before: Any, after: Any, where: str = "") -> str:
    """The first difference between two snapshots."""
    if type(before) is type(after) and isinstance(before, list | tuple):
        if len(before) != len(after):
            return f"{where}: {before} to {after}"[:400]
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            if one != other:
                name = one[0] if isinstance(one, tuple) and isinstance(one[0], str) else number
                return _change(one, other, f"{where}.{name}")
    return f"{where}: {before!r} to {after!r}"[:400]
