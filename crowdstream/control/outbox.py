"""Commands on their way to the desk: collected, then published as one batch."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import numpy as np

from crowdstream.control.context import Context
from crowdstream.control.errors import Refused
from crowdstream.desk.block import Desk
from crowdstream.desk.layout import COMMAND
from crowdstream.desk.rings import push_commands

REMEMBERED = 8192  # stamped commands whose sender can still be told that they were late


class Outbox:
    """Builds command records. Those of one message or bundle reach the engine together.

    What is in the box acts only when `flush` has published it; a batch that the ring has no
    room for is refused as a whole and counted.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._batch: list[np.ndarray] = []
        self._serials = itertools.count(1)
        self._senders: OrderedDict[int, Context] = OrderedDict()
        self.refused = 0

    def add(self, op: int, context: Context | None = None, **fields: Any) -> int:
        """Put one command in the box; its serial number. `fields` as in `layout.COMMAND`."""
        record = np.zeros(1, COMMAND)
        serial = next(self._serials)
        record["op"] = op
        record["serial"] = serial
        for name, value in fields.items():
            if name in ("sources", "gains"):
                record[name][0, : len(value)] = value
            else:
                record[name] = value
        self._batch.append(record)
        if context is not None and fields.get("frame", 0) > 0:
            self._senders[serial] = context
            if len(self._senders) > REMEMBERED:
                self._senders.popitem(last=False)
        return serial

    def flush(self) -> None:
        """Publish what was collected; raises `Refused` when the ring is full."""
        if not self._batch:
            return
        batch = np.concatenate(self._batch)
        self._batch.clear()
        if not push_commands(self._desk, batch):
            self.refused += len(batch)
            raise Refused("the engine's queue is full: send less, or later")

    def discard(self) -> None:
        """Empty the box: a command that failed half way changes nothing."""
        self._batch.clear()

    def sender(self, serial: int) -> Context | None:
        """Who said the command with this serial number, if it had a frame."""
        return self._senders.get(serial)
