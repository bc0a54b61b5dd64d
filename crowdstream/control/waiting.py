"""Messages that wait for their time: bundles until their tag, others until a beat."""

from __future__ import annotations

import base64
import heapq
import itertools
from typing import TYPE_CHECKING, Any

from crowdstream.control.context import Context, Reply
from crowdstream.control.errors import Refused

if TYPE_CHECKING:
    from crowdstream.control.core import Core

HORIZON_SECONDS = 0.5  # what waits is taken up so long before its time, so that files can load
MOST_HELD = 65536  # messages that wait
STRANGERS_HELD = 4096  # of them, those of strangers: they must not take the sequencer's place

Entry = tuple[str, tuple[Any, ...], Reply, Any]
"""One message: address, arguments, where answers go, and the sender they name."""


def pack(arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments of a message as JSON holds them."""
    return [
        {"blob": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for value in arguments
    ]


def unpack(values: list[Any]) -> tuple[Any, ...]:
    """The inverse of `pack`."""
    return tuple(
        base64.b64decode(value["blob"]) if isinstance(value, dict) else value for value in values
    )


class Waiting:
    """What is to be carried out later, soonest first."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._bundles: list[tuple[float, int, float, list[Entry]]] = []
        self._beats: list[tuple[float, int, Entry]] = []
        self._bundled = 0
        self._strange = 0
        self._order = itertools.count()
        self.changes: dict[str, Any] | None = None
        """What has come and gone since it was noted last, by key; None: nobody takes notes."""

    def _full(self, sender: Any, more: int) -> bool:
        # Counts those of strangers that it has room for.
        strange = 0 if self._core.answers.trusts(sender) else more
        if (
            self._bundled + len(self._beats) + more <= MOST_HELD
            and self._strange + strange <= STRANGERS_HELD
        ):
            self._strange += strange
            return False
        self._core.outbox.refused += more
        return True

    def _leaves(self, sender: Any, count: int) -> None:
        if not self._core.answers.trusts(sender):
            self._strange -= count

    def hold(self, moment: float, batch: list[Entry]) -> None:
        """Carry out the messages of a bundle at its time tag (Unix seconds).

        Kept by the monotonic clock: a system clock that is set does not move it.
        """
        core = self._core
        due = core.clock.due(moment)
        if due - core.monotonic() <= HORIZON_SECONDS:
            core.perform(batch, core.clock.frame_of_tag(moment, due))
        elif self._full(batch[0][3], len(batch)):
            for address, _arguments, reply, sender in batch:
                core.messages += 1
                reason = "too many messages of bundles wait already: send them later"
                Context(core, address, reply, sender).fail(reason)
        else:
            self._bundled += len(batch)
            order = next(self._order)
            heapq.heappush(self._bundles, (due, order, moment, batch))
            self._note(order, due, moment, batch)

    def hold_beat(self, beat: float, entry: Entry) -> None:
        """Carry out a message at a beat of the clock, wherever that comes to lie.

        Raises `Refused` when too many wait.
        """
        if self._full(entry[3], 1):
            raise Refused("too many messages wait already: send them later")
        order = next(self._order)
        heapq.heappush(self._beats, (beat, order, entry))
        self._note(order, beat, None, [entry])

    def _note(self, order: int, due: float, moment: float | None, batch: list[Entry]) -> None:
        if self.changes is not None:
            said = [[address, pack(arguments), sender] for address, arguments, _, sender in batch]
            self.changes[f"wait/{order}"] = [due, moment, said]

    def _forget(self, order: int) -> None:
        if self.changes is not None:
            self.changes[f"wait/{order}"] = None

    def restore(self, values: dict[str, Any]) -> None:
        """Have wait what was noted: `values` by keys, as they were in `changes`."""
        found = [(int(key[5:]), value) for key, value in values.items() if key[:5] == "wait/"]
        for order, (due, moment, said) in sorted(found):
            batch = []
            for address, arguments, sender in said:
                origin = tuple(sender) if sender else None
                reply = self._core.reply_to(origin)
                batch.append((address, unpack(arguments), reply, origin))
            if not self._core.answers.trusts(batch[0][3]):
                self._strange += len(batch)
            if moment is None:
                heapq.heappush(self._beats, (due, order, batch[0]))
            else:
                heapq.heappush(self._bundles, (due, order, moment, batch))
                self._bundled += len(batch)
            self._order = itertools.count(order + 1)

    def __len__(self) -> int:
        """Messages that wait."""
        return self._bundled + len(self._beats)

    def release(self) -> None:
        """Carry out what is due soon."""
        core = self._core
        soon = core.monotonic() + HORIZON_SECONDS
        while self._bundles and self._bundles[0][0] <= soon:
            due, order, moment, batch = heapq.heappop(self._bundles)
            self._bundled -= len(batch)
            self._leaves(batch[0][3], len(batch))
            self._forget(order)
            core.perform(batch, core.clock.frame_of_tag(moment, due))
        self.release_beats()

    def release_beats(self) -> None:
        """Carry out what is to happen at a beat that is near; what shares it, together."""
        core = self._core
        horizon = core.clock.now() + HORIZON_SECONDS * core.desk.sample_rate
        while self._beats:
            beat = self._beats[0][0]
            frame = core.beats.frame_of_command(beat, core.desk.frame)
            if frame > horizon:
                return
            batch = []
            while self._beats and self._beats[0][0] == beat:
                _beat, order, entry = heapq.heappop(self._beats)
                batch.append(entry)
                self._forget(order)
                self._leaves(entry[3], 1)
            core.perform(batch, frame, beat)
