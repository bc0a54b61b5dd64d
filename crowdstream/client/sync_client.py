"""The synchronous client: each call returns when its reply has arrived."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar, Unpack

from crowdstream.client import subscriptions
from crowdstream.client.bundles import Bundle
from crowdstream.client.calls import Reply, Timing
from crowdstream.client.command_methods import CommandMethods
from crowdstream.client.connection import Command, Connection
from crowdstream.client.endpoint import DEFAULT_PORT, PATIENCE_SECONDS, TIMEOUT_SECONDS, Endpoint
from crowdstream.client.results import (
    Beat,
    Change,
    ClockBeat,
    DjStatus,
    Event,
    Meter,
    Notification,
    RecordStatus,
    ScheduledMessage,
    ScheduleStatus,
    Status,
    Tick,
    Version,
    parse_dj_status,
    parse_events,
    parse_record_status,
    parse_schedule_status,
    parse_status,
    parse_version,
    parse_waiting,
)
from crowdstream.client.subscriptions import Feed

T = TypeVar("T")


class Subscription(Generic[T]):
    """Values that the server sends, for a `with` block. Iterating waits for the next one.

    The client reads its socket only while it waits: a subscription that is not read for long loses
    values. After a restart of the server it is renewed.
    """

    def __init__(self, client: Client, feed: Feed[T]) -> None:
        self._client = client
        self.feed = feed

    def __enter__(self) -> Self:
        self._client.subscribe(self.feed)
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self.feed.closed and not self.feed.items:
            raise StopIteration
        return self.get()

    def get(self, timeout: float = math.inf) -> T:
        """Return the next value; raise `TimeoutError` if there is none for `timeout` seconds.

        Raises `RuntimeError` if the subscription has ended.
        """
        until = time.monotonic() + timeout
        while not self.feed.items:
            if self.feed.closed:
                raise RuntimeError("the subscription has ended")
            if time.monotonic() >= until:
                raise TimeoutError(f"nothing was received for {timeout:g} s")
            self._client.wait(until)
        return self.feed.items.popleft()

    @property
    def restarts(self) -> int:
        """Restarts of the server since the subscription began; values may be missing after each."""
        return self.feed.restarts

    @property
    def lost(self) -> int:
        """Values that were dropped because nobody read them."""
        return self.feed.lost

    def close(self) -> None:
        """End the subscription."""
        self._client.connection.remove_feed(self.feed)


class Client(CommandMethods[Reply]):
    """A connection to a server, for one thread: others use a client of their own.

    Every command has a method, such as `deck_level("A", 0.5)` for `/deck/A/level 0.5`; `call` takes
    any address. They return the values of the reply, or () if the command has none, and raise

    - `CommandFailed` for `/fail`, and `CommandLate` for `/late`,
    - `NoReply` if the server does not answer within `timeout` seconds (5), or has not completed a
      command that takes time, such as loading, within `patience` seconds,
    - `ServerUnavailable`, a kind of `NoReply`, if no program listens on the port.

    Lost packets of idempotent commands are sent again. A call waits through a restart of the
    server that is shorter than its timeout. `at` and `at_beat` schedule a command: the call returns
    when the server has it, and `check` raises what goes wrong later.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        timeout: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Raises `OSError` for an unknown host. Nothing is sent yet."""
        self.timeout = TIMEOUT_SECONDS if timeout is None else timeout
        self.patience = patience
        self._endpoint = Endpoint(host, port)
        self._numbers = itertools.count(1)
        self.connection = Connection(self._endpoint.send)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all subscriptions and close the socket."""
        self.connection.close()
        self._endpoint.close()

    # Commands --------------------------------------------------------------------------------

    def call(self, address: str, /, *arguments: Any, **options: Unpack[Timing]) -> Reply:
        """Carry out a command, and return the values of its reply."""
        return self._run([Command(address, arguments)], **options)

    def send(self, address: str, /, *arguments: Any, at: float | None = None) -> None:
        """Send a command without waiting. A failure is raised by `check`; a loss is not noticed."""
        self.connection.send(Command(address, arguments), at=at)

    @contextmanager
    def bundle(self, **options: Unpack[Timing]) -> Iterator[Bundle]:
        """Collect the commands of a `with` block; send them at its end as one bundle."""
        collected = Bundle()
        yield collected
        if collected.commands:
            self._run(collected.commands, **options)

    def _run(self, commands: list[Command], **options: Unpack[Timing]) -> Reply:
        call = self.connection.start(
            commands, options.get("timeout", self.timeout),
            options.get("timeout", self.patience), options.get("at"), options.get("at_beat"),
        )  # fmt: skip
        try:
            while not call.finished:
                self.wait()
        finally:
            self.connection.abandon(call)
        return call.result()

    def wait(self, until: float = math.inf) -> None:
        """Receive one packet, or do what is due. `until`: monotonic seconds; the latest return."""
        connection = self.connection
        if connection.tick():
            return
        left = max(0.0, min(connection.due(), until) - time.monotonic())
        try:
            packet = self._endpoint.receive(left)
        except ConnectionRefusedError:
            connection.on_refused()
        else:
            if packet is not None:
                connection.receive(packet)

    def check(self) -> None:
        """Wait until everything sent so far is carried out, and raise the first problem of it.

        These are failures of `send`, and of commands that were scheduled and are due by now.
        """
        self.sync()
        self.connection.raise_problems()

    def sync(self, **options: Unpack[Timing]) -> None:
        """Wait until all commands sent so far, and the loading of their files, are complete."""
        self.call("/sync", next(self._numbers), **options)

    def ping(self) -> float:
        """Return the round-trip time to the server in seconds."""
        begin = time.perf_counter()
        self._run([])
        return time.perf_counter() - begin

    # Queries ---------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return the named values of the server's status."""
        return parse_status(self.call("/status"))

    def version(self) -> Version:
        """Return the server's program and version."""
        return parse_version(self.call("/version"))

    def clock_beat(self) -> ClockBeat:
        """Return the clock's position at the start of the next block."""
        return ClockBeat(*self.call("/clock/beat"))

    def events(self, count: int = 20) -> list[Event]:
        """Return the latest events of the event log, up to 100, the latest last."""
        return parse_events(self.call("/events", count))

    def waiting(self) -> list[ScheduledMessage]:
        """Return the first 50 messages that are scheduled."""
        return parse_waiting(self.call("/waiting"))

    def record_status(self) -> RecordStatus:
        """Return what is being recorded."""
        return parse_record_status(self.call("/record/status"))

    def schedule_status(self) -> ScheduleStatus:
        """Return whether the schedule is open, and its next change."""
        return parse_schedule_status(self.call("/schedule/status"))

    def dj_status(self) -> DjStatus:
        """Return the state of the DJ."""
        return parse_dj_status(self.call("/dj/status"))

    # Subscriptions ---------------------------------------------------------------------------

    def watch_changes(self) -> Subscription[Change]:
        """Subscribe to all commands that are carried out, whoever has sent them."""
        return Subscription(self, subscriptions.changes())

    def watch_events(self) -> Subscription[Event]:
        """Subscribe to new entries of the event log."""
        return Subscription(self, subscriptions.events())

    def watch_notifications(self) -> Subscription[Notification]:
        """Subscribe to all messages to subscribers, such as `/ended`."""
        return Subscription(self, subscriptions.notifications())

    def watch_meters(self, rate: float = 10.0, *, stems: bool = False) -> Subscription[Meter]:
        """Subscribe to meters that have changed, `rate` times per second."""
        return Subscription(self, subscriptions.meters(rate, stems))

    def watch_ticks(self, per_beat: int = 24) -> Subscription[Tick]:
        """Subscribe to clock ticks, at least 2 per beat, at the moments at which they sound."""
        return Subscription(self, subscriptions.ticks(per_beat))

    def watch_beats(self) -> Subscription[Beat]:
        """Subscribe to the clock's beats, at the moments at which they sound."""
        return Subscription(self, subscriptions.beats())

    def watch_feedback(self, *addresses: str, echo: bool = True) -> Subscription[Change]:
        """Subscribe to values of the mixer: all at once, then each that changes.

        `addresses`: patterns, including everything below them. `echo`: also those that this client
        sets.
        """
        return Subscription(self, subscriptions.feedback(addresses, echo))

    def subscribe(self, feed: Feed[Any]) -> None:
        """Begin a subscription; raises what `call` raises."""
        commands = self.connection.add_feed(feed)
        try:
            for command in commands:
                self.call(command.address, *command.arguments)
        except BaseException:
            self.connection.remove_feed(feed)
            raise
