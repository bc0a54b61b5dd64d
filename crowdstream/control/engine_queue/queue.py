"""Commands on their way to the desk: collected, then published as one batch."""

from __future__ import annotations

import base64
import itertools
import struct
from collections import deque
from collections.abc import Sequence

import numpy as np

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, STEMS
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.desk.ramps import RAMP_VOICE
from crowdstream.desk.rings import push_commands

REMEMBERED = 8192  # commands whose sender can still be told what became of them
# Places of the ring that a command from outside has to find free. More than any one command
# needs, so what it begins it can finish; what control does by itself always has room.
RESERVE = 512

# The fields of `layout.COMMAND` in one go: a tenth of the time that numpy takes for them.
_RECORD = struct.Struct(f"=qqiiiiiiddddqqqq{STEMS}h{STEMS}f")
assert _RECORD.size == COMMAND.itemsize
_NO_SOURCES = (0,) * STEMS
_NO_GAINS = (0.0,) * STEMS


class EngineQueue:
    """Builds command records. Those of one message or bundle reach the engine together.

    What is in the box acts only when `flush` has published it. Nothing that was added is ever
    lost: while the ring has no room for a batch, it and all after it are kept, in order, and
    commands from outside are refused (`require`).
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._batch: list[bytes] = []
        self._kept: deque[list[bytes]] = deque()
        self._serials = itertools.count(1)
        self._senders: list[tuple[int, Request | None]] = [(0, None)] * REMEMBERED
        self.refused = 0
        # Rows and aims of ramps that begin at once: of this batch, and those the engine may not
        # have heard of.
        self._ramps: list[tuple[int, float]] = []
        self._fresh: dict[int, float] = {}

    def add(
        self,
        op: int,
        request: Request | None = None,
        *,
        frame: int = 0,
        target: int = 0,
        index: int = 0,
        flags: int = 0,
        beat: float | None = None,
        fixed: bool = False,
        grid: int = -1,
        x: float = 0.0,
        y: float = 0.0,
        z: float = 0.0,
        start: int = 0,
        loop_in: int = 0,
        loop_out: int = 0,
        end: int = 0,
        sources: Sequence[int] = (),
        gains: Sequence[float] = (),
    ) -> int:
        """Put one command in the box; its serial number. The fields are `layout.COMMAND`'s.

        What a command at a beat sends at its own frame is at that beat, too, unless it is
        `fixed`; `beat`: another one.
        """
        serial = next(self._serials)
        if beat is None and not fixed and request is not None and frame == request.frame:
            beat = request.beat
        numbers = (*sources, *_NO_SOURCES[len(sources) :]) if sources else _NO_SOURCES
        levels = (*gains, *_NO_GAINS[len(gains) :]) if gains else _NO_GAINS
        self._batch.append(
            _RECORD.pack(
                frame, serial, op, target, index, flags, int(beat is not None), grid, beat or 0.0,
                x, y, z, start, loop_in, loop_out, end, *numbers, *levels,
            )
        )
        if request is not None:
            self.remember(serial, request)
        if op == OP_RAMP and not frame and index < RAMP_VOICE:
            self._ramps.append((index, x))
        return serial

    def fresh(self) -> dict[int, float]:
        """Where ramps of the mixer (row and value) go as soon as the engine hears of it."""
        rings = self._desk.rings
        if not self._kept and int(rings["command_head"]) == int(rings["command_tail"]):
            self._fresh.clear()
        return self._fresh

    def remember(self, serial: int, request: Request) -> None:
        """Who said the command with this serial number."""
        self._senders[serial % REMEMBERED] = (serial, request)

    def require(self, places: int = RESERVE) -> None:
        """Raises `Refused`, and counts it, unless `places` more commands have room."""
        rings = self._desk.rings
        taken = int(rings["command_head"]) - int(rings["command_tail"]) + len(self._batch)
        if self._kept or taken + places > COMMAND_RING:
            self.refused += 1
            raise Refused("the engine's queue is full: send less, or later")

    def mark(self) -> tuple[int, int]:
        """Where the box is now, for `rollback`."""
        return len(self._batch), len(self._ramps)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Take out what was added since `mark`: a command that failed changes nothing."""
        del self._batch[mark[0] :]
        del self._ramps[mark[1] :]

    def flush(self) -> None:
        """Publish what was collected, as soon as the ring has room for it."""
        if self._batch:
            self._kept.append(self._batch)
            self._fresh.update(self._ramps)
            self._batch, self._ramps = [], []
        while self._kept:
            batch = np.frombuffer(b"".join(self._kept[0]), COMMAND)
            if not push_commands(self._desk, batch):
                return
            self._kept.popleft()

    def to_state(self) -> list[str]:
        """What the ring has had no room for, as JSON holds it; see `restore`."""
        return [base64.b64encode(b"".join(batch)).decode() for batch in self._kept]

    def restore(self, note: Sequence[str]) -> list[int]:
        """Go on where an earlier control stopped; the serial numbers of what is still to go out.

        What it has published is not published again.
        """
        head = int(self._desk.rings["command_head"])
        latest = int(self._desk.commands["serial"][(head - 1) % COMMAND_RING]) if head else 0
        self._serials = itertools.count(latest + 1)
        serials: list[int] = []
        for text in note:
            batch = np.frombuffer(base64.b64decode(text), COMMAND)
            if int(batch["serial"][-1]) > latest:
                self._kept.append([batch.tobytes()])
                serials += batch["serial"].tolist()
                self._serials = itertools.count(serials[-1] + 1)
        return serials

    @property
    def published(self) -> int:
        """Grows with everything that is published."""
        return int(self._desk.rings["command_head"])

    def sender(self, serial: int) -> Request | None:
        """Who said the command with this serial number, if it was not too long ago."""
        known, request = self._senders[serial % REMEMBERED]
        return request if known == serial else None
