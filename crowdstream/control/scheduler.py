"""Scheduled messages: bundles wait for their time tag, other messages for a beat."""

from __future__ import annotations

import base64
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from crowdstream.commands.errors import CommandError, Refused
from crowdstream.commands.patterns import Selection
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Command, Place
from crowdstream.control.clock.clock import BeatClock, FrameClock
from crowdstream.control.decks.track import deck_of
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Reply, Request, RequestReporter
from crowdstream.control.replies import Replies
from crowdstream.desk.block import Desk

HORIZON_SECONDS = 0.5  # messages are carried out this long before their time, so files can load
MAX_SCHEDULED = 65536  # scheduled messages
# of these, messages of strangers, which must not displace the sequencer's
MAX_SCHEDULED_BY_STRANGERS = 4096

# A sequencer sends bundles up to some seconds ahead. A later time tag is more likely a mistake in a
# clock or unit, so the sender is notified of the number of seconds until its message acts.
MIN_REPORTED_WAIT_SECONDS = 10.0
MAX_LISTED = 50  # messages that are listed on a page

Entry = tuple[str, tuple[Any, ...], Reply, Any]
"""One message: address, arguments, reply function, and sender (None: a local caller)."""


class ScheduledMessage(NamedTuple):
    """A listed message. `number`: number of its bundle; `seconds`: time until it acts."""

    number: int
    seconds: float
    entry: Entry


def pack(arguments: tuple[Any, ...]) -> list[Any]:
    """Convert the arguments of a message to JSON-compatible values."""
    return [
        {"blob": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for value in arguments
    ]


def unpack(values: list[Any]) -> tuple[Any, ...]:
    """Convert the result of `pack` back to arguments."""
    return tuple(
        base64.b64decode(value["blob"]) if isinstance(value, dict) else value for value in values
    )


class CommandRunner(RequestReporter, Protocol):
    """The dispatcher as the scheduler needs it: carries out messages when they are due."""

    replies: Replies
    beat_clock: BeatClock
    clock: FrameClock
    desk: Desk
    messages: int
    monotonic: Callable[[], float]
    engine_queue: EngineQueue

    def perform(
        self, batch: Sequence[Entry], frame: int = 0, beat: float | None = None
    ) -> None:
        """Carry out messages that belong together, at `frame` (0: immediately)."""


class Scheduler:
    """Messages to be carried out later, in order of their time. For the control thread."""

    def __init__(self, core: CommandRunner) -> None:
        self._core = core
        self._bundles: list[tuple[float, int, float, list[Entry]]] = []
        self._beats: list[tuple[float, int, Entry]] = []
        self._bundled = 0
        self._strange = 0
        self._order = itertools.count()
        self.revision = 0
        """Number of changes: grows when a message is added or removed."""
        self.current: int | None = None
        """Number of the scheduled message that is carried out now; None: none."""
        self.changes: dict[str, Any] | None = None
        """Changes since the state was saved last, by key; None: no state is saved."""

    def _full(self, sender: Any, more: int) -> bool:
        # If there is room, also adds to the count of strangers' messages.
        strange = 0 if self._core.replies.trusts(sender) else more
        if (
            self._bundled + len(self._beats) + more <= MAX_SCHEDULED
            and self._strange + strange <= MAX_SCHEDULED_BY_STRANGERS
        ):
            self._strange += strange
            return False
        self._core.engine_queue.refused += more
        return True

    def _count_removed(self, sender: Any, count: int) -> None:
        if not self._core.replies.trusts(sender):
            self._strange -= count

    def schedule(self, moment: float, batch: list[Entry]) -> None:
        """Schedule the messages of a bundle for its time tag (Unix seconds).

        The time is converted to the monotonic clock at once, so later changes of the system clock
        do not move it.
        """
        core = self._core
        due = core.clock.due(moment)
        if due - core.monotonic() <= HORIZON_SECONDS:
            core.perform(batch, core.clock.frame_of_tag(moment, due))
        elif self._full(batch[0][3], len(batch)):
            for address, _arguments, reply, sender in batch:
                core.messages += 1
                reason = "too many messages are scheduled already: send this bundle later"
                Request(core, address, reply, sender).fail(reason)
        else:
            self._bundled += len(batch)
            order = next(self._order)
            heapq.heappush(self._bundles, (due, order, moment, batch))
            self._note(order, due, moment, batch)
            seconds = due - core.monotonic()
            if seconds >= MIN_REPORTED_WAIT_SECONDS:
                batch[0][2]("/waiting", batch[0][0], seconds, len(batch), order)

    def schedule_at_beat(self, beat: float, entry: Entry) -> None:
        """Schedule a message for a beat of the clock; it moves with the beat.

        Raises `Refused` if too many messages are scheduled.
        """
        if self._full(entry[3], 1):
            raise Refused("too many messages are scheduled already: send this one later")
        order = next(self._order)
        heapq.heappush(self._beats, (beat, order, entry))
        self._note(order, beat, None, [entry])

    def _note(self, order: int, due: float, moment: float | None, batch: list[Entry]) -> None:
        self.revision += 1
        if self.changes is not None:
            packed = [
                [address, pack(arguments), sender] for address, arguments, _, sender in batch
            ]
            self.changes[f"wait/{order}"] = [due, moment, packed]

    def _forget(self, order: int) -> None:
        self.revision += 1
        if self.changes is not None:
            self.changes[f"wait/{order}"] = None

    def restore(self, values: dict[str, Any]) -> None:
        """Schedule the messages of an earlier control: `values` by key, as in `changes`."""
        found = [(int(key[5:]), value) for key, value in values.items() if key[:5] == "wait/"]
        for order, (due, moment, packed) in sorted(found):
            batch = []
            for address, arguments, sender in packed:
                origin = tuple(sender) if sender else None
                reply = self._core.reply_to(origin)
                batch.append((address, unpack(arguments), reply, origin))
            if not self._core.replies.trusts(batch[0][3]):
                self._strange += len(batch)
            if moment is None:
                heapq.heappush(self._beats, (due, order, batch[0]))
            else:
                heapq.heappush(self._bundles, (due, order, moment, batch))
                self._bundled += len(batch)
            self._order = itertools.count(order + 1)

    def __len__(self) -> int:
        """Number of scheduled messages."""
        return self._bundled + len(self._beats)

    def release(self) -> None:
        """Carry out all messages that are due within `HORIZON_SECONDS`."""
        core = self._core
        soon = core.monotonic() + HORIZON_SECONDS
        while self._bundles and self._bundles[0][0] <= soon:
            due, order, moment, batch = heapq.heappop(self._bundles)
            self._bundled -= len(batch)
            self._count_removed(batch[0][3], len(batch))
            self._forget(order)
            self._perform(order, batch, core.clock.frame_of_tag(moment, due))
        self.release_beats()

    def due(self) -> float:
        """Return when `release` has work (monotonic seconds); infinity if nothing is scheduled."""
        core = self._core
        at = self._bundles[0][0] if self._bundles else math.inf
        if self._beats:
            now = core.clock.now()
            frame = core.beat_clock.frame_of_command(self._beats[0][0], core.desk.frame)
            at = min(at, core.monotonic() + (frame - now) / core.desk.sample_rate)
        return at - HORIZON_SECONDS

    def _perform(
        self, order: int, batch: list[Entry], frame: int, beat: float | None = None
    ) -> None:
        outer, self.current = self.current, order
        try:
            self._core.perform(batch, frame, beat)
        finally:
            self.current = outer

    def release_beats(self) -> None:
        """Carry out messages whose beat is within the horizon; those of one beat together."""
        core = self._core
        horizon = core.clock.now() + HORIZON_SECONDS * core.desk.sample_rate
        while self._beats:
            beat = self._beats[0][0]
            frame = core.beat_clock.frame_of_command(beat, core.desk.frame)
            if frame > horizon:
                return
            batch = []
            first = self._beats[0][1]
            while self._beats and self._beats[0][0] == beat:
                _beat, order, entry = heapq.heappop(self._beats)
                batch.append(entry)
                self._forget(order)
                self._count_removed(entry[3], 1)
            self._perform(first, batch, frame, beat)

    # Cancelling ------------------------------------------------------------------------------

    def listed(self) -> list[ScheduledMessage]:
        """Return the first `MAX_LISTED` messages, in order of their time."""
        core = self._core
        now, rate = core.monotonic(), core.desk.sample_rate
        found = [
            ScheduledMessage(order, due - now, entry)
            for due, order, _moment, batch in heapq.nsmallest(MAX_LISTED, self._bundles)
            for entry in batch[:MAX_LISTED]
        ]
        here = core.desk.frame
        for beat, order, entry in heapq.nsmallest(MAX_LISTED, self._beats, key=lambda one: one[:2]):
            frame = core.beat_clock.frame_of_command(beat, here)
            found.append(ScheduledMessage(order, (frame - here) / rate, entry))
        return sorted(found, key=lambda one: (one.seconds, one.number))[:MAX_LISTED]

    def discard(self, request: Request) -> int:
        """Drop all messages sent before the current command; return their number.

        If the command was not scheduled itself, all messages are dropped. The senders of dropped
        messages, including the command's own sender, receive `/cancelled`.
        """
        limit = self.current
        return self._drop(request, lambda order, _: limit is None or order < limit, own=True)

    def cancel_number(self, request: Request, number: int) -> int:
        """Drop the bundle or the message of this number; return the number of messages."""
        return self._drop(request, lambda order, _: order == number)

    def withdraw(self, address: str) -> None:
        """Drop the server's own messages to an address: those that have no sender."""
        self._drop(
            Request(self._core, address),
            lambda _order, entry: entry[0] == address and entry[3] is None,
        )

    def cancel(self, request: Request, selection: Selection | None, decks: set[int]) -> int:
        """Drop messages that are selected by address, or are for one of `decks`; return the count.

        Without selection and decks, all messages are dropped. Of a scheduled pattern, the commands
        that are not selected stay scheduled.
        """
        if selection is None and not decks:
            return self._drop(request, lambda _order, _entry: True)
        known: dict[str, list[tuple[Command, Place, bool]]] = {}

        def remainder(_order: int, entry: Entry) -> bool | list[Entry]:
            address, arguments = entry[:2]
            if address not in known:
                known[address] = list(_chosen(address, selection))
            chosen = [
                there or bool(decks & decks_of(command, place, arguments))
                for command, place, there in known[address]
            ]
            if not any(chosen):
                return False
            return [
                (command.address_at(place), *entry[1:])
                for (command, place, _), gone in zip(known[address], chosen, strict=True)
                if not gone
            ] or True

        return self._drop(request, remainder)

    def _drop(
        self, request: Request, wanted: Callable[[int, Entry], bool | list[Entry]],
        own: bool = False,
    ) -> int:
        # `wanted` returns whether to drop an entry, or the entries that replace it. `own`: also
        # notify the sender of `request` about its own messages.
        dropped: dict[Any, tuple[Reply, int]] = {}

        def split(order: int, batch: list[Entry]) -> list[Entry]:
            kept: list[Entry] = []
            for entry in batch:
                goes = wanted(order, entry)
                if goes is False:
                    kept.append(entry)
                    continue
                if goes is not True:
                    kept += goes
                reply, count = dropped.get(entry[3], (entry[2], 0))
                dropped[entry[3]] = reply, count + 1
            return kept

        bundles, beats = [], []
        for due, order, moment, batch in self._bundles:
            kept = split(order, batch)
            if kept != batch:
                self._settle(order, batch, kept, due, moment)
            if kept:
                bundles.append((due, order, moment, kept))
        for beat, order, entry in self._beats:
            left = split(order, [entry])
            if left == [entry]:
                beats.append((beat, order, entry))
                continue
            self._settle(order, [entry], [], beat, None)
            for one in left:
                again = next(self._order)
                beats.append((beat, again, one))
                self._settle(again, [], [one], beat, None)
        self._bundles, self._beats = bundles, beats
        self._bundled = sum(len(batch) for *_, batch in bundles)
        heapq.heapify(self._bundles)
        heapq.heapify(self._beats)
        for sender, (reply, count) in dropped.items():
            if own or sender != request.sender:
                reply("/cancelled", request.address, count)
        return sum(count for _, count in dropped.values())

    def _settle(
        self, order: int, before: list[Entry], after: list[Entry], due: float,
        moment: float | None,
    ) -> None:
        for entry in before:
            self._count_removed(entry[3], 1)
        for entry in after:
            self._count_removed(entry[3], -1)
        self._forget(order)
        if after:
            self._note(order, due, moment, after)


def _chosen(address: str, selection: Selection | None) -> Iterator[tuple[Command, Place, bool]]:
    # The commands of an address or a pattern, and whether each is selected.
    try:
        found = TABLE.find_all(address)
    except CommandError:
        return
    for command, place in found:
        chosen = selection is not None and any(map(selection.holds, command.addresses_at(place)))
        yield command, place, chosen


def decks_of(command: Command, place: Place, arguments: tuple[Any, ...]) -> set[int]:
    """Return the decks that a message is for, by its address or its arguments."""
    if "deck" in place:
        return {place["deck"]}
    if command.address == "/schedule_c_at":
        return {DECK_LETTERS.index("C")}
    try:
        bound = command.bind(arguments)
        if isinstance(bound.get("id"), int) and command.changes:
            return {deck_of(bound["id"])}
    except CommandError:
        return set()
    letters = bound.get("decks", (bound["deck"],) if "deck" in bound else ())
    return {DECK_LETTERS.index(letter) for letter in letters}
