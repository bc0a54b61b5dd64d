"""The asyncio client: calls are awaited, and any number of them may be under way."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar, Unpack

from crowdstream.client import subscriptions
from crowdstream.client.bundles import Bundle
from crowdstream.client.calls import Reply, Timing
from crowdstream.client.command_methods import CommandMethods
from crowdstream.client.connection import Call, Command, Connection
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

MAX_PACKETS = 500  # received in one turn of the event loop

T = TypeVar("T")


class AsyncSubscription(Generic[T]):
    """Values that the server sends, for an `async with` block and `async for`.

    After a restart of the server it is renewed.
    """

    def __init__(self, client: AsyncClient, feed: Feed[T]) -> None:
        self._client = client
        self.feed = feed
        self._arrived = asyncio.Event()
        feed.on_item = self._arrived.set

    async def __aenter__(self) -> Self:
        await self._client.subscribe(self.feed)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.get()
        except RuntimeError:
            raise StopAsyncIteration from None

    async def get(self) -> T:
        """Return the next value. Limit the time with `asyncio.timeout`.

        Raises `RuntimeError` if the subscription has ended.
        """
        while not self.feed.items:
            if self.feed.closed:
                raise RuntimeError("the subscription has ended")
            self._arrived.clear()
            await self._arrived.wait()
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


class AsyncClient(CommandMethods[Awaitable[Reply]]):
    """A connection to a server, for an `async with` block in one event loop.

    The methods are those of `Client`, and are awaited. Commands are sent in the order in which
    their calls are awaited or become tasks.
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._endpoint.fileno(), self._receive)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all subscriptions and calls, and close the socket."""
        self.connection.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._endpoint.fileno())
            self._loop = None
        self._endpoint.close()

    def _receive(self) -> None:
        for _ in range(MAX_PACKETS):
            try:
                packet = self._endpoint.receive(0.0)
            except ConnectionRefusedError:
                self.connection.on_refused()
                self._wake_at(self.connection.due())
                continue
            if packet is None:
                break
            self.connection.receive(packet)

    def _tick(self) -> None:
        self._timer = None
        self.connection.tick()
        self._wake_at(self.connection.due())

    def _wake_at(self, due: float) -> None:
        # A timer that fires too early costs less than looking at all calls after each packet. The
        # event loop's clock is the monotonic clock.
        if self._loop is None or due == math.inf:
            return
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    # Commands --------------------------------------------------------------------------------

    def call(
        self, address: str, /, *arguments: Any, **options: Unpack[Timing]
    ) -> Awaitable[Reply]:
        """Carry out a command, and return the values of its reply."""
        return self._run([Command(address, arguments)], **options)

    def send(self, address: str, /, *arguments: Any, at: float | None = None) -> None:
        """Send a command without waiting. A failure is raised by `check`; a loss is not noticed."""
        self.connection.send(Command(address, arguments), at=at)

    @asynccontextmanager
    async def bundle(self, **options: Unpack[Timing]) -> AsyncIterator[Bundle]:
        """Collect the commands of an `async with` block; send them at its end as one bundle."""
        collected = Bundle()
        yield collected
        if collected.commands:
            await self._run(collected.commands, **options)

    async def _run(self, commands: list[Command], **options: Unpack[Timing]) -> Reply:
        finished = asyncio.Event()

        def on_finish(_call: Call) -> None:
            finished.set()

        if self._loop is None and not self.connection.closed:
            raise RuntimeError("use the client in an `async with` block")
        call = self.connection.start(
            commands, options.get("timeout", self.timeout),
            options.get("timeout", self.patience), options.get("at"), options.get("at_beat"),
        )  # fmt: skip
        call.on_finish = on_finish
        self._wake_at(self.connection.call_due(call))
        try:
            await finished.wait()
        finally:
            self.connection.abandon(call)
        return call.result()

    async def check(self) -> None:
        """Wait until everything sent so far is carried out, and raise the first problem of it."""
        await self.sync()
        self.connection.raise_problems()

    async def sync(self, **options: Unpack[Timing]) -> None:
        """Wait until all commands sent so far, and the loading of their files, are complete."""
        await self.call("/sync", next(self._numbers), **options)

    async def ping(self) -> float:
        """Return the round-trip time to the server in seconds."""
        begin = time.perf_counter()
        await self._run([])
        return time.perf_counter() - begin

    # Queries ---------------------------------------------------------------------------------

    async def status(self) -> Status:
        """Return the named values of the server's status."""
        return parse_status(await self.call("/status"))

    async def version(self) -> Version:
        """Return the server's program and version."""
        return parse_version(await self.call("/version"))

    async def clock_beat(self) -> ClockBeat:
        """Return the clock's position at the start of the next block."""
        return ClockBeat(*await self.call("/clock/beat"))

    async def events(self, count: int = 20) -> list[Event]:
        """Return the latest events of the event log, up to 100, the latest last."""
        return parse_events(await self.call("/events", count))

    async def waiting(self) -> list[ScheduledMessage]:
        """Return the first 50 messages that are scheduled."""
        return parse_waiting(await self.call("/waiting"))

    async def record_status(self) -> RecordStatus:
        """Return what is being recorded."""
        return parse_record_status(await self.call("/record/status"))

    async def schedule_status(self) -> ScheduleStatus:
        """Return whether the schedule is open, and its next change."""
        return parse_schedule_status(await self.call("/schedule/status"))

    async def dj_status(self) -> DjStatus:
        """Return the state of the DJ."""
        return parse_dj_status(await self.call("/dj/status"))

    # Subscriptions ---------------------------------------------------------------------------

    def watch_changes(self) -> AsyncSubscription[Change]:
        """Subscribe to all commands that are carried out, whoever has sent them."""
        return AsyncSubscription(self, subscriptions.changes())

    def watch_events(self) -> AsyncSubscription[Event]:
        """Subscribe to new entries of the event log."""
        return AsyncSubscription(self, subscriptions.events())

    def watch_notifications(self) -> AsyncSubscription[Notification]:
        """Subscribe to all messages to subscribers, such as `/ended`."""
        return AsyncSubscription(self, subscriptions.notifications())

    def watch_meters(self, rate: float = 10.0, *, stems: bool = False) -> AsyncSubscription[Meter]:
        """Subscribe to meters that have changed, `rate` times per second."""
        return AsyncSubscription(self, subscriptions.meters(rate, stems))

    def watch_ticks(self, per_beat: int = 24) -> AsyncSubscription[Tick]:
        """Subscribe to clock ticks, at least 2 per beat, at the moments at which they sound."""
        return AsyncSubscription(self, subscriptions.ticks(per_beat))

    def watch_beats(self) -> AsyncSubscription[Beat]:
        """Subscribe to the clock's beats, at the moments at which they sound."""
        return AsyncSubscription(self, subscriptions.beats())

    def watch_feedback(self, *addresses: str, echo: bool = True) -> AsyncSubscription[Change]:
        """Subscribe to values of the mixer: all at once, then each that changes.

        `addresses`: patterns, including everything below them. `echo`: also those that this client
        sets.
        """
        return AsyncSubscription(self, subscriptions.feedback(addresses, echo))

    async def subscribe(self, feed: Feed[Any]) -> None:
        """Begin a subscription; raises what `call` raises."""
        commands = self.connection.add_feed(feed)
        try:
            for command in commands:
                await self.call(command.address, *command.arguments)
            self._wake_at(self.connection.due())
        except BaseException:
            self.connection.remove_feed(feed)
            raise
