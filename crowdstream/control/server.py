"""The control thread: one loop that hears, decides, publishes and looks after things."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import crowdstream.control.commands  # noqa: F401  (fills the table)
from crowdstream.control.children import Caller
from crowdstream.control.clock import BeatClock, FrameClock
from crowdstream.control.commands.server import MOST_LOGINS
from crowdstream.control.context import Context, Reply, nobody
from crowdstream.control.errors import CommandError, Refused
from crowdstream.control.mixer import RAMP_SECONDS, Mixer
from crowdstream.control.osc import Malformed, OscSocket, parse
from crowdstream.control.outbox import Outbox
from crowdstream.control.startup import Startup
from crowdstream.control.status import Status
from crowdstream.control.table import TABLE
from crowdstream.control.tracks import first_buffer
from crowdstream.desk.layout import deck_level_ramp
from crowdstream.desk.rings import pop_events
from crowdstream.desk.stream import StreamInfo
from crowdstream.monitor.health import Processes
from crowdstream.monitor.watch import Watch
from crowdstream.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.01
PACKETS_A_TURN = 64  # handled between two looks at the socket
HORIZON_SECONDS = 0.5  # a bundle is taken up so long before its time
MOST_HELD = 65536  # messages of bundles that wait for their time
FAIL_LOG_SECONDS = 1.0  # failures beyond one in this time are counted, not logged


class Server:
    """The whole server: `start()`, then it plays; `stop()` frees device, port and memory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base_bpm = settings.base_bpm
        self.watch = settings.watch
        self.messages = 0
        self.failures = 0
        self.malformed = 0
        self.movement = 0.0
        self.info: StreamInfo
        self.osc: OscSocket
        self.error: BaseException | None = None
        self._held: list[tuple[float, int, list[Any]]] = []
        self._order = itertools.count()
        self._subscribers: dict[Any, Reply] = {}
        self._caller = Caller()
        self._stopping = False
        self._fail_logged = 0.0
        self._fail_quiet = 0
        self._last_beat = -1
        self._pages: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> StreamInfo:
        """Open device and port; returns when the server is ready to play.

        Raises `PortTaken`, `DeviceError`, `DeskError` or `ChildError`: nothing is left
        running then.
        """
        startup = Startup(self.settings)
        self.osc, self.desk, self._engine, self._loader, self.info = startup.run()
        self.port = self.osc.port
        self.beats = BeatClock(self.desk.sample_rate, self.settings.bpm, self.settings.meter)
        self.clock = FrameClock(self.desk)
        self.outbox = Outbox(self.desk)
        self.mixer = Mixer(
            self.desk, self.outbox, self.beats, self._loader.send, self.settings.media_root
        )
        self.processes = Processes(
            {"control": os.getpid(), "engine": self._engine.pid, "loader": self._loader.pid}
        )
        self._health = Watch(
            self.desk, self.processes, self.settings.stats_interval, self._tell
        )
        self.status = Status(self)
        self._first_orders()
        self._thread.start()
        return self.info

    def stop(self) -> None:
        """End the stream, the processes and the port. May be called more than once."""
        if self._stopping:
            return
        self._stopping = True
        if self._thread.is_alive():
            self._caller.call(lambda: None)
            self._thread.join()
        self._engine.ask_to_end()
        self._loader.ask_to_end()
        self._engine.end()
        self._loader.end()
        self.osc.close()
        self._caller.close()
        self.desk.close()

    def call(self, action: Callable[[], Any]) -> Any:
        """Have `action` run on the control thread; its result."""
        return self._caller.call(action)

    def run_command(self, address: str, arguments: tuple[Any, ...], reply: Reply) -> bool:
        """Carry out one command as if it had come by OSC; False when it failed."""
        before = self.failures
        self.call(lambda: self._perform([(address, arguments, reply, None)], 0))
        return self.failures == before

    @property
    def running(self) -> bool:
        """Whether the control thread runs."""
        return self._thread.is_alive()

    # The loop --------------------------------------------------------------------------

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.osc.fileno(), selectors.EVENT_READ, self.osc.drain)
        selector.register(self._loader.out, selectors.EVENT_READ, self._hear_loader)
        selector.register(self._engine.out, selectors.EVENT_READ, self._hear_engine)
        selector.register(self._caller.reader, selectors.EVENT_READ, self._caller.run_waiting)
        next_tick = 0.0
        try:
            while not self._stopping:
                now = time.monotonic()
                wait = 0.0 if self.osc.waiting else max(0.0, next_tick - now)
                for key, _events in selector.select(wait):
                    key.data()
                    if self._stopping:
                        return
                    if key.data in (self._hear_engine, self._hear_loader) and (
                        self._engine.finished or self._loader.finished
                    ):
                        return
                for packet, sender in self.osc.take(PACKETS_A_TURN):
                    self._packet(packet, sender)
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_SECONDS
                    self._tick()
        except BaseException as error:
            self.error = error
            log.exception("the control thread failed")
        finally:
            selector.close()

    def _tick(self) -> None:
        self.clock.read()
        self.mixer.engine_events(pop_events(self.desk, 512))
        self._release_held()
        self.mixer.tick()
        self._loader.push()
        self._health.tick(self.status.control_readings)
        if self.watch:
            self._print_beat()

    def _hear_loader(self) -> None:
        for event in self._loader.read():
            if event["event"] == "pages":
                self._pages = event
            else:
                self.mixer.loader_event(event)
                self.mixer.tick()
        if self._loader.finished and not self._stopping:
            log.error("the loader has died (status %s): restart the server", self._loader.status)

    def _hear_engine(self) -> None:
        for message in self._engine.read():
            log.info("engine: %s", message)
        if self._engine.finished and not self._stopping:
            log.error("the engine has died (status %s): restart the server", self._engine.status)

    # Messages --------------------------------------------------------------------------

    def _packet(self, packet: bytes, sender: Any) -> None:
        def reply(address: str, *arguments: Any) -> None:
            self.osc.answer(sender, address, *arguments)

        try:
            messages = list(parse(packet))
        except Malformed as error:
            self.malformed += 1
            self._log_failure(sender, "?", str(error))
            reply("/fail", "?", str(error))
            return
        batches: dict[float | None, list[Any]] = {}
        for moment, message in messages:
            entry = (message.address, tuple(message.params), reply, sender)
            batches.setdefault(moment, []).append(entry)
        for moment, batch in batches.items():
            if moment is None:
                self._perform(batch, 0)
            else:
                self._hold(moment, batch)

    def _hold(self, moment: float, batch: list[Any]) -> None:
        ahead = moment - time.time()
        if ahead <= HORIZON_SECONDS:
            self._perform(batch, max(1, self.clock.frame_of_wall(moment)))
        elif len(self._held) >= MOST_HELD:
            for address, _arguments, reply, _sender in batch:
                self.failures += 1
                reply("/fail", address, f"{MOST_HELD} bundles wait already")
        else:
            # Kept by the monotonic clock: a system clock that is set does not move it.
            due = time.monotonic() + ahead
            heapq.heappush(self._held, (due, next(self._order), batch))

    def _release_held(self) -> None:
        now = time.monotonic()
        while self._held and self._held[0][0] - now <= HORIZON_SECONDS:
            due, _order, batch = heapq.heappop(self._held)
            self._perform(batch, max(1, self.clock.frame_at(due)))

    def _perform(self, batch: list[Any], frame: int) -> None:
        # What belongs together is published together, so it acts on one frame.
        now = self.clock.now()
        context = Context(self, self.mixer, frame=frame, now=now)
        for address, arguments, reply, sender in batch:
            self.messages += 1
            said = replace(context, address=address, reply=reply, sender=sender)
            try:
                command, known = TABLE.find(address)
                command.handler(said, **known, **command.bind(arguments))
            except CommandError as error:
                said.fail(str(error))
        try:
            self.outbox.flush()
        except Refused as error:
            for address, _arguments, reply, sender in batch:
                replace(context, address=address, reply=reply, sender=sender).fail(str(error))

    def failed(self, context: Context, reason: str) -> None:
        """Count a failed command, log it and tell its sender."""
        self.failures += 1
        self._log_failure(context.sender, context.address, reason)
        context.reply("/fail", context.address, reason)

    def _log_failure(self, sender: Any, address: str, reason: str) -> None:
        now = time.monotonic()
        if now - self._fail_logged < FAIL_LOG_SECONDS:
            self._fail_quiet += 1
            return
        more = f" ({self._fail_quiet} more like it)" if self._fail_quiet else ""
        self._fail_logged, self._fail_quiet = now, 0
        origin = f" from {sender[0]}:{sender[1]}" if sender else ""
        log.warning("%.80s%s: %.300s%s", address, origin, reason, more)

    # What commands need of the server ----------------------------------------------------

    def set_level(
        self, deck: int, level: float, frame: int, seconds: float = RAMP_SECONDS
    ) -> None:
        """Ramp a deck's level (linear) from `frame` on."""
        self.mixer.ramp(deck_level_ramp(deck), level, frame, seconds)

    def subscribe(self, context: Context, on: bool) -> int:
        """Add or remove a subscriber to events; its number. Raises `Refused` when full."""
        if not on:
            self._subscribers.pop(context.sender, None)
            return 0
        if context.sender not in self._subscribers and len(self._subscribers) >= MOST_LOGINS:
            raise Refused(f"{MOST_LOGINS} clients are subscribed already")
        self._subscribers[context.sender] = context.reply
        return list(self._subscribers).index(context.sender)

    def _tell(self, address: str, *arguments: Any) -> None:
        for reply in self._subscribers.values():
            reply(address, *arguments)

    def moved(self, movement: float) -> None:
        """Take note of how much the crowd moves, 0..1."""
        self.movement = movement

    def print_status(self) -> None:
        """Print the status."""
        print(self.status.text(), flush=True)

    def status_values(self) -> list[Any]:
        """The arguments of `/status.reply`."""
        return self.status.values()

    def pages(self) -> dict[str, int]:
        """The loader's latest report of its budget: total, used, reserved."""
        return self._pages

    def _first_orders(self) -> None:
        settings = self.settings
        starter = Context(self, self.mixer, address="start", reply=nobody)
        for deck, level in enumerate(settings.levels):
            self.mixer.ramp(deck_level_ramp(deck), level, 0, 0.0)
        if settings.bpm != settings.base_bpm:
            self._perform([("/set_tempo", (settings.bpm,), nobody, None)], 0)
        self.outbox.flush()
        for deck, path in enumerate((settings.a, settings.b, settings.c, settings.d)):
            if path is not None:
                try:
                    self.mixer.load(starter, first_buffer(deck), str(path))
                except CommandError as error:
                    self.failed(starter, str(error))

    def _print_beat(self) -> None:
        beat = self.beats.beat(self.desk.frame)
        if int(beat) != self._last_beat and beat >= 0:
            self._last_beat = int(beat)
            bar, number = divmod(int(beat), self.beats.meter)
            print(f"bar {bar + 1} beat {number + 1} phase {beat % 1:.3f} "
                  f"{self.beats.bpm:.2f} bpm", flush=True)
