"""Feedback: send values back to controllers under the addresses that set them.

After `/feedback 1` a client receives all values of the mixer, and afterwards each value that
changes, whichever client changes it, such as `/deck/A/level 0.5`. Feedback compares states rather
than commands: when several commands set a value, only the newest value is sent. A value whose
address has an alias is sent under both, so that a controller's layout may use either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from crowdstream.commands.patterns import Selection
from crowdstream.commands.registry import BANDS, DECK_LETTERS, TABLE, Command, Place
from crowdstream.control.engine_queue.request import Request, RequestReporter
from crowdstream.control.publish.address_values import Name, Values, is_send, keys, named_values
from crowdstream.control.publish.change_feed import pack
from crowdstream.control.publish.state_view import StateView, StateViewSource
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.osc.acl import is_local
from crowdstream.osc.codec import build

TURN_SECONDS = 0.025  # between two comparisons: forty values of a moving fader per second
OWN_SECONDS = 1.0  # for which a change counts as its sender's own: it may act half a second later
TOLERANCE = 1e-4  # for equal values: gains are set in dB, and OSC floats have 32 bits


@dataclass
class _Subscription:
    """One client's subscription. `due`: names to send even if their values are unchanged."""

    echo: bool
    selection: Selection | None
    everything: bool = True
    due: set[Name] = field(default_factory=set)
    known: dict[str, bool] = field(default_factory=dict)

    def includes(self, address: str) -> bool:
        """Whether the client has subscribed to an address."""
        if self.selection is None:
            return True
        wanted = self.known.get(address)
        if wanted is None:
            wanted = self.known[address] = self.selection.holds(address)
        return wanted


@dataclass
class _Own:
    """The client that set a value last, the value (None: unknown), and how long that counts."""

    sender: Any
    values: Values | None
    until: float

    def is_result_of(self, sender: Any, values: Values, now: float) -> bool:
        """Whether `sender` has set the value to `values`."""
        return (
            sender == self.sender
            and now <= self.until
            and (self.values is None or _nearly_equal(self.values, values))
        )


def _nearly_equal(one: Values, other: Values) -> bool:
    for a, b in zip(one, other, strict=False):
        if isinstance(a, str) or isinstance(b, str):
            if a != b:
                return False
        elif not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            return False
    return True


class FeedbackSource(StateViewSource, RequestReporter, Protocol):
    """Source of the values (see `Dispatcher`)."""


class Feedback:
    """Compares the mixer's values and sends those that have changed. For the control thread."""

    def __init__(self, core: FeedbackSource) -> None:
        self._core = core
        self.subscribers = Subscribers(core.monotonic, core.replies.check_subscription)
        self._view = StateView(core)
        self._subscriptions: dict[Any, _Subscription] = {}
        self._values: dict[Name, Values] = {}
        self._own: dict[Name, _Own] = {}
        self._due = 0.0

    def subscribe(self, request: Request, echo: bool, addresses: tuple[str, ...]) -> int:
        """Subscribe a command's sender and send it all values first; returns its number.

        `echo` also sends it the values that it has set itself. `addresses` are patterns; without
        any, all addresses are sent. Raises `BadArgument` for an invalid pattern, and `Refused`.
        """
        selection = Selection(addresses) if addresses else None
        number = self.subscribers.switch(request, True)
        if not self._subscriptions:
            self._view.reset()
            self._values, self._own = {}, {}
        self._subscriptions[request.sender] = _Subscription(echo, selection)
        # The subscriber that was silent longest may have been removed.
        self._subscriptions = {
            sender: client
            for sender, client in self._subscriptions.items()
            if sender in self.subscribers
        }
        return number

    def unsubscribe(self, sender: Any) -> int:
        """Unsubscribe `sender`; returns the number it had, 0 if it had none."""
        self._subscriptions.pop(sender, None)
        return self.subscribers.remove(sender)

    # Commands --------------------------------------------------------------------------------

    def record(
        self, command: Command, place: Place, bound: dict[str, Any], sender: Any
    ) -> None:
        """Record a command that was executed: the values it sets are its sender's own."""
        if all(client.echo for client in self._subscriptions.values()):
            return
        until = self._core.monotonic() + OWN_SECONDS
        for name, values in values_set_by(command, place, bound):
            before = self._own.get(name)
            if before and before.sender != sender and before.sender in self._subscriptions:
                # The other client may now show a wrong value even if the value is unchanged.
                self._subscriptions[before.sender].due.add(name)
            self._own[name] = _Own(sender, values, until)

    def failed(self, sender: Any, address: str) -> None:
        """Correct the sender of a failed command: its fader differs from the value."""
        client = self._subscriptions.get(sender)
        if client is not None:
            client.due.add((address,))

    # Sending -----------------------------------------------------------------------------------

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity without subscribers."""
        return self._due if self._subscriptions else math.inf

    def tick(self) -> None:
        """Send changed values when they are `due`."""
        now = self._core.monotonic()
        if not self._subscriptions or now < self._due:
            return
        self._due = now + TURN_SECONDS
        changed = self._changed()
        messages: dict[Name, bytes] = {}  # by the name under which a value is sent
        for sender, reply in self.subscribers.replies():
            client = self._subscriptions[sender]
            chosen = [
                ((address, *name[1:]), self._values[name])
                for name in self._names(client, changed)
                if client.echo or name in client.due or not self._is_own(name, sender, now)
                for address in TABLE.all_names(name[0])
                if client.includes(address)
            ]  # fmt: skip
            client.everything, client.due = False, set()
            if is_local(sender):
                for name, values in chosen:
                    reply(*name, *values)
                continue
            for name, values in chosen:
                if name not in messages:
                    messages[name] = build(name[0], (*name[1:], *values))
            for packet in pack(messages[name] for name, _ in chosen):
                self._core.osc.answer_packet(sender, packet)
        for name in changed:
            self._own.pop(name, None)

    def _names(self, client: _Subscription, changed: list[Name]) -> Iterable[Name]:
        if client.everything:
            return list(self._values)
        if not client.due:
            return changed
        return dict.fromkeys([*changed, *(name for name in client.due if name in self._values)])

    def _is_own(self, name: Name, sender: Any, now: float) -> bool:
        own = self._own.get(name)
        return own is not None and own.is_result_of(sender, self._values[name], now)

    def _changed(self) -> list[Name]:
        # Stores the changed values and returns their names.
        changed: list[Name] = []
        parts, known = self._view.changes(), keys()
        for key in parts:
            if key not in known:
                continue
            for name, values in named_values(key, parts[key]):
                if self._values.get(name) != values:
                    self._values[name] = values
                    changed.append(name)
        return changed

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [
            [sender, client.echo, client.selection.patterns if client.selection else ()]
            for sender, client in self._subscriptions.items()
            if not is_local(sender)
        ]

    def restore(self, note: list[Any]) -> None:
        """Resume saved subscriptions, beginning with all values."""
        for sender, echo, addresses in note:
            origin = tuple(sender)
            if not self._core.replies.trusts(origin):  # any more
                continue
            reply = self._core.reply_to(origin)
            request = Request(self._core, "/feedback", reply, origin)
            self.subscribe(request, echo, tuple(addresses))


def values_set_by(
    command: Command, place: Place, bound: dict[str, Any]
) -> Iterable[tuple[Name, Values | None]]:
    """Names of the values that a command sets, and the values where they follow from it."""
    address = command.address_at(place)
    if "deck" in place:
        yield from _set_by_deck(address, command, place, bound)
    elif address in ("/set_tempo", "/set_meter"):
        yield (f"/clock/{address[5:]}",), command.values(bound, len(bound))
    elif address in ("/deck_levels", "/crossfade_levels"):
        for letter, gain in zip(DECK_LETTERS, bound.values(), strict=False):
            if gain is not None:
                yield (f"/deck/{letter}/level",), (gain,)
    elif address == "/fade":
        yield (f"/deck/{bound['deck']}/level",), (0.0,)
    elif address in ("/deck_filter", "/deck_eq", "/deck_eq_all"):
        for band in [bound["band"]] if "band" in bound else BANDS:
            yield (f"/deck/{bound['deck']}/eq/{band}",), None
    elif address in ("/play", "/start_group"):
        for letter in bound.get("decks", (bound.get("deck"),)):
            yield (f"/deck/{letter}/play",), (1,)
    elif "input" in place and address.endswith("/eq"):
        for band in BANDS:
            yield (f"{address}/{band}",), None
    elif address == "/mix/route" and is_send(bound["source"], bound["destination"]):
        bus = int(bound["destination"].removeprefix("bus"))
        yield (f"/deck/{bound['source']}/send", bus), (bound["gain"],)
    else:
        yield from _set_by_value(address, command, bound)


def _set_by_deck(
    address: str, command: Command, place: Place, bound: dict[str, Any]
) -> Iterable[tuple[Name, Values | None]]:
    deck = f"/deck/{DECK_LETTERS[place['deck']]}"
    if address in (f"{deck}/play", f"{deck}/stop"):
        yield (f"{deck}/play",), (int(address.endswith("/play")),)
    elif address == f"{deck}/stem":
        yield (f"{deck}/stem/{bound['number']}",), (bound["gain"],)
    elif address.endswith("/eq"):
        for band in BANDS:
            yield (f"{address}/{band}",), None
    else:
        yield from _set_by_value(address, command, bound)


_LEADS = {"kill": 1, "send": 1, "pre": 1, "route": 2}
_FX_LEADS = {"on": 1, "mix": 1, "set": 2}


def _set_by_value(
    address: str, command: Command, bound: dict[str, Any]
) -> Iterable[tuple[Name, Values | None]]:
    # The command that sets the value itself; its first arguments may select what it refers to.
    values = command.values(bound, len(command.args))
    last = address.rpartition("/")[2]
    leads = (_FX_LEADS if "/fx/" in address else _LEADS).get(last, 0)
    yield (address, *values[:leads]), values[leads:]
