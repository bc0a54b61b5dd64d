"""The queue of engine commands: collect them, then publish them to the desk as one batch.

Read from the desk the commands that the engine has received and not yet carried out.
"""

from __future__ import annotations

import base64
import itertools
import struct
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, STEMS
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_NONE, OP_RAMP
from crowdstream.desk.ramps import RAMP_VOICE
from crowdstream.desk.rings import push_commands

REMEMBERED = 8192  # latest commands whose sender can still be notified of their outcome
# Places in the ring that must be free before a command from outside is accepted. No single command
# needs as many, so an accepted command never fails halfway, and control's own commands always fit.
RESERVE = 512
# Commands that are published together. A longer batch, of hundreds of starts that have waited for
# one file, is divided: as a whole, it would never fit into the ring.
MAX_BATCH = COMMAND_RING - RESERVE

# All fields of the `COMMAND` dtype at once, in a tenth of the time that numpy takes.
_RECORD = struct.Struct(f"=qqiiiiiiddddqqqq{STEMS}h{STEMS}f")
assert _RECORD.size == COMMAND.itemsize
_NO_SOURCES = (0,) * STEMS
_NO_GAINS = (0.0,) * STEMS


class EngineQueue:
    """Builds command records and publishes those of one message or bundle together.

    Commands act only after `flush` has published them. Nothing that was added is ever lost: while
    the ring is too full for a batch, this batch and all later ones are kept in order, and commands
    from outside are refused (`require`). For the control thread.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._batch: list[bytes] = []
        self._kept: deque[list[bytes]] = deque()
        self._serials = itertools.count(1)
        self._senders: list[tuple[int, Request | None]] = [(0, None)] * REMEMBERED
        self.refused = 0
        # Rows and targets of immediate ramps: those of this batch, and those that the engine may
        # not have read yet.
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
        """Add one command to the batch and return its serial number.

        The keyword arguments are the fields of the `COMMAND` dtype; `frame` 0 acts immediately.
        If `request` acts at a beat and `frame` is its frame, the command is bound to that beat as
        well, unless it is `fixed` to the frame or `beat` names another one.
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
            self.record_sender(serial, request)
        if op == OP_RAMP and not frame and index < RAMP_VOICE:
            self._ramps.append((index, x))
        return serial

    def unread_ramp_targets(self) -> dict[int, float]:
        """Return targets by row of immediate mixer ramps that the engine may not have read yet."""
        rings = self._desk.rings
        if not self._kept and int(rings["command_head"]) == int(rings["command_tail"]):
            self._fresh.clear()
        return self._fresh

    def record_sender(self, serial: int, request: Request) -> None:
        """Store the request to which the command with this serial number belongs."""
        self._senders[serial % REMEMBERED] = (serial, request)

    def require(self, places: int = RESERVE) -> None:
        """Raise `Refused`, and count it, unless there is space for `places` more commands."""
        rings = self._desk.rings
        taken = int(rings["command_head"]) - int(rings["command_tail"]) + len(self._batch)
        if self._kept or taken + places > COMMAND_RING:
            self.refused += 1
            raise Refused("the engine's command queue is full: send fewer commands, or retry later")

    def mark(self) -> tuple[int, int]:
        """Return the current position in the batch, for `rollback`."""
        return len(self._batch), len(self._ramps)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Remove everything added since `mark`, so that a failed command changes nothing."""
        del self._batch[mark[0] :]
        del self._ramps[mark[1] :]

    def flush(self) -> None:
        """Publish the batch, and earlier batches first, as far as the ring has space."""
        if self._batch:
            for at in range(0, len(self._batch), MAX_BATCH):
                self._kept.append(self._batch[at : at + MAX_BATCH])
            self._fresh.update(self._ramps)
            self._batch, self._ramps = [], []
        while self._kept:
            batch = np.frombuffer(b"".join(self._kept[0]), COMMAND)
            if not push_commands(self._desk, batch):
                return
            self._kept.popleft()

    @property
    def waiting(self) -> bool:
        """Whether batches wait for space in the ring."""
        return bool(self._kept)

    def to_state(self) -> list[str]:
        """Return the unpublished batches as JSON-compatible state; see `restore`."""
        return [base64.b64encode(b"".join(batch)).decode() for batch in self._kept]

    def restore(self, state: Sequence[str]) -> list[int]:
        """Continue from an earlier control's state; return the serial numbers still to publish.

        Commands that it has already published are not published again.
        """
        head = int(self._desk.rings["command_head"])
        latest = int(self._desk.commands["serial"][(head - 1) % COMMAND_RING]) if head else 0
        self._serials = itertools.count(latest + 1)
        serials: list[int] = []
        for text in state:
            batch = np.frombuffer(base64.b64decode(text), COMMAND)
            if int(batch["serial"][-1]) > latest:
                self._kept.append([batch.tobytes()])
                serials += batch["serial"].tolist()
                self._serials = itertools.count(serials[-1] + 1)
        return serials

    @property
    def published(self) -> int:
        """Total number of commands that were published to the desk."""
        return int(self._desk.rings["command_head"])

    def sender(self, serial: int) -> Request | None:
        """Return the request of a command by its serial number; None after `REMEMBERED` more."""
        known, request = self._senders[serial % REMEMBERED]
        return request if known == serial else None


MAX_WAIT_BLOCKS = 2.5  # without the end of a block in this time, the engine is not rendering
MAX_ATTEMPTS = 20
POLL_SECONDS = 0.0002


def pending_commands(desk: Desk) -> np.ndarray:
    """Return the commands in the engine's heap, then those in its ring, each in order.

    The result has dtype `COMMAND`. The commands are read between two blocks, while the engine does
    not change them. If that does not succeed in `MAX_ATTEMPTS`, the last reading is returned.
    """
    held = _copy(desk)
    for _attempt in range(MAX_ATTEMPTS):
        _wait_for_end_of_block(desk)
        epoch, callback = int(desk.clock["epoch"]), int(desk.clock["callback_ns"])
        held = _copy(desk)
        if (int(desk.clock["epoch"]), int(desk.clock["callback_ns"])) == (epoch, callback):
            break
    left: np.ndarray = held[held["op"] != OP_NONE]
    return left


def _wait_for_end_of_block(desk: Desk) -> None:
    epoch = int(desk.clock["epoch"])
    wait = MAX_WAIT_BLOCKS * int(desk.header["block_frames"]) / desk.sample_rate
    deadline = time.monotonic() + wait
    while int(desk.clock["epoch"]) == epoch and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _copy(desk: Desk) -> np.ndarray:
    # Copy the ring first: a command that the engine moves meanwhile is then found in the heap too.
    rings = desk.rings
    places = np.arange(int(rings["command_tail"]), int(rings["command_head"])) % COMMAND_RING
    ringed = desk.commands[places]
    pending, heap, order = (getattr(desk, name) for name in ("pending", "heap", "order"))
    waiting = heap[: int(desk.master["pending"])].copy()
    waiting = waiting[(waiting >= 0) & (waiting < len(pending))]
    sorted_places = waiting[np.lexsort((order[waiting], pending["frame"][waiting]))]
    return np.concatenate((pending[sorted_places], ringed))
