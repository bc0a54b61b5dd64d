"""Subscriptions: the commands that start and end them, and the values that they yield."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from crowdstream.client.results import Beat, Change, Event, Meter, Notification, Tick

MAX_QUEUED = 10_000  # values that wait for their reader; beyond, the oldest are dropped

T = TypeVar("T")
Message = tuple[str, tuple[Any, ...]]
"""An address with its arguments."""


class Feed(Generic[T]):
    """One subscription.

    `convert(address, values)` returns the value to yield, or None for a message of another kind.
    `renewable`: a repeated subscription changes nothing for its subscriber.
    """

    def __init__(
        self,
        start: tuple[Message, ...],
        stop: tuple[Message, ...],
        convert: Callable[[str, tuple[Any, ...]], T | None],
        renewable: bool = True,
    ) -> None:
        self.start = start
        self.stop = stop
        self.renewable = renewable
        self.items: deque[T] = deque()
        self.lost = 0
        """Values that were dropped because nobody read them."""
        self.restarts = 0
        """Restarts of the server since the subscription began; values may be missing after each."""
        self.closed = True
        """No value arrives any more: the subscription has not begun, or has ended."""
        self.on_item: Callable[[], None] | None = None
        """Called when a value arrives, and when the subscription ends."""
        self._convert = convert

    def offer(self, address: str, values: tuple[Any, ...]) -> None:
        """Queue the value of a message if it is of this kind; ignore unexpected arguments."""
        try:
            item = self._convert(address, values)
        except (IndexError, TypeError, ValueError):
            return
        if item is None:
            return
        if len(self.items) >= MAX_QUEUED:
            self.items.popleft()
            self.lost += 1
        self.items.append(item)
        if self.on_item is not None:
            self.on_item()

    def close(self) -> None:
        """Mark the end of the subscription."""
        self.closed = True
        if self.on_item is not None:
            self.on_item()


_NOTIFY: Message = ("/notify", (1,))
_END_NOTIFY: Message = ("/notify", (0,))
# Replies, and messages of other subscriptions.
_NOT_NOTIFICATIONS = frozenset((
    "/beat", "/changed", "/clock/tick", "/done", "/fail", "/late", "/meter", "/pong", "/synced",
    "/waiting",
))  # fmt: skip


def changes() -> Feed[Change]:
    """Subscribe to the commands that were carried out."""

    def convert(address: str, values: tuple[Any, ...]) -> Change | None:
        return Change(str(values[0]), values[1:]) if address == "/changed" else None

    start: Message = ("/changes/subscribe", (1,))
    return Feed((start,), (("/changes/subscribe", (0,)),), convert)


def events() -> Feed[Event]:
    """Subscribe to entries of the event log."""

    def convert(address: str, values: tuple[Any, ...]) -> Event | None:
        return Event(*map(str, values[:4])) if address == "/event" else None

    return Feed((_NOTIFY,), (_END_NOTIFY,), convert)


def notifications() -> Feed[Notification]:
    """Subscribe to all messages to subscribers, `/event` included."""

    def convert(address: str, values: tuple[Any, ...]) -> Notification | None:
        if address in _NOT_NOTIFICATIONS or address.endswith(".reply"):
            return None
        return Notification(address, values)

    return Feed((_NOTIFY,), (_END_NOTIFY,), convert)


def meters(rate: float, stems: bool) -> Feed[Meter]:
    """Subscribe to the meters that have changed, `rate` times per second."""

    def convert(address: str, values: tuple[Any, ...]) -> Meter | None:
        return Meter(str(values[0]), *map(float, values[1:4])) if address == "/meter" else None

    start: Message = ("/meters", (rate, "all") if stems else (rate,))
    return Feed((start,), (("/meters", (0.0,)),), convert)


def ticks(per_beat: int) -> Feed[Tick]:
    """Subscribe to clock ticks; raise `ValueError` for fewer than 2 per beat."""
    if per_beat < 2:
        raise ValueError("per_beat must be at least 2: for one per beat, subscribe to beats")

    def convert(address: str, values: tuple[Any, ...]) -> Tick | None:
        return Tick(*values[:4]) if address == "/clock/tick" else None

    return _clock(per_beat, convert)


def beats() -> Feed[Beat]:
    """Subscribe to beats of the clock."""

    def convert(address: str, values: tuple[Any, ...]) -> Beat | None:
        return Beat(*values[:5]) if address == "/beat" else None

    return _clock(1, convert)


def _clock(
    per_beat: int, convert: Callable[[str, tuple[Any, ...]], T | None]
) -> Feed[T]:
    stop: tuple[Message, ...] = (("/clock/ticks", (0,)), _END_NOTIFY)
    return Feed((_NOTIFY, ("/clock/ticks", (per_beat,))), stop, convert, renewable=False)


def feedback(addresses: tuple[str, ...], echo: bool) -> Feed[Change]:
    """Subscribe to the values of the mixer, under the addresses that set them."""

    def convert(address: str, values: tuple[Any, ...]) -> Change | None:
        # Notifications and the parameters of replies have addresses of other kinds.
        if address.startswith(("/deck/", "/mix/", "/bus/", "/sample/", "/input/", "/clock/")) and (
            address != "/clock/tick" and not address.endswith(".reply")
        ):
            return Change(address, values)
        return None

    start: Message = ("/feedback", (1, int(echo), *addresses))
    return Feed((start,), (("/feedback", (0,)),), convert, renewable=False)
