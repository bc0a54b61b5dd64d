"""The engine processes as seen by control: one plays, one stands by.

When an engine dies or hangs, its standby takes over within milliseconds and without control,
which may be busy or gone. Control starts the next standby, searches for a device that is gone and
notifies subscribers.

The buffer size is changed during playback by handing over to an engine with another block size. On
a device that mixes several streams, the new engine runs beside the old one before it takes
over, and the change is almost inaudible. On a device that accepts a single stream, the old engine
must close it first.

An upgrade hands over to an engine of another version in the same way, with a crossfade, as both
streams have the same block size. The old engine stands by until the new version has passed its
trial.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.fork_server import ENGINE_MODULE, ForkServer
from crowdstream.desk.block import Desk
from crowdstream.desk.snapshot import read_callback
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.settings import Settings
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

# s after the start before the first standby starts: the first track has priority
FIRST_STANDBY_DELAY = 0.5
MIN_RESTART_DELAY = 0.5  # s before an engine that has gone is replaced
MAX_RESTART_DELAY = 30.0  # s, the upper limit when engines fail repeatedly
STANDSTILL_SECONDS = 4.0  # without a block, where no standby watches the engine
TAKEOVER_SECONDS = 10.0  # without a block, after which a standby that is ready hangs as well
MAX_TICK_SECONDS = 1.0  # the most that one tick counts of it: control may have stood still as well
EARLY_DEATH_SECONDS = 0.5  # an engine that dies within this time counts as failed at once
MAX_DEATHS = 5  # such deaths in a row before the server gives up

# after handing over, until an engine is stopped: its last blocks have played
HANDOVER_TAIL_SECONDS = 2.0

STORE_PREFIX = "engine/"  # prefix of an engine's name in the descriptor store; its number follows

REASONS = {
    "died": "the engine died",
    "hung": "the engine hung and was killed",
    "device": "the device was gone",
    "found": "the device is back",
    "resized": "the buffer size was changed",
    "upgraded": "another version of the program plays",
}

Launch = Callable[[dict[str, Any], Desk], Child]


def start_engine(fork_server: ForkServer, request: dict[str, Any], desk: Desk) -> Child:
    """Start an engine process. Raises `ChildError`."""
    name = f"{STORE_PREFIX}{request['number']}"
    return Child(fork_server, ENGINE_MODULE, json.dumps(request), desk.fd, name)


@dataclass(eq=False)
class Engine:
    """One engine process. `state` is one of coming, standby, plays, leaves.

    A leaving engine has handed over, but the device still plays its last blocks.
    """

    number: int
    child: Child
    role: str
    state: str = "coming"
    ready: str = ""  # of a standby: running beside the playing engine, or warm
    until: float = 0.0  # monotonic seconds at which a leaving engine is stopped


class EnginePool:
    """Keeps one engine playing and one standing by. For the control thread.

    `changed(info, why)` is called when another engine takes over: `info` describes its stream,
    `why` is a key of `REASONS`. `lost(why)` is called when nothing plays until the device is back.
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        launch: Launch,
        changed: Callable[[StreamInfo, str], None] = lambda *_: None,
        lost: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._settings = settings
        self.changed = changed
        self.lost = lost
        self._launch = launch
        self._monotonic = monotonic
        self._engines: list[Engine] = []
        self._numbers = 0
        self._event_loop: EventLoop | None = None
        self._next_start = 0.0
        self._restarts = RestartPolicy(MIN_RESTART_DELAY, MAX_RESTART_DELAY)
        self._deaths = 0
        self._playing_since: float | None = None  # monotonic seconds
        self._ticked = monotonic()
        self._still_seconds = 0.0  # of ticks since the time of the latest block has changed
        self._latest_block: tuple[int, int] | None = None
        self._device: str | None = settings.device
        self._driver = settings.driver
        self.searching = False
        self.frames = settings.buffer_size  # block size of the next engine
        self.resizing = BufferResize(self, desk, monotonic)
        self.failed = ""
        self.keeps_guard = True
        """Whether an engine that has handed over to another version stands by from then on."""
        self.info: StreamInfo | None = None

    # Starting and stopping ------------------------------------------------------------------

    def launch(self, role: str = "first", frames: int = 0) -> Engine:
        """Start an engine, with blocks of `frames` frames if given. Raises `ChildError`."""
        self._numbers += 1
        settings = self._settings
        rate = settings.sample_rate if role == "first" else self._desk.sample_rate
        request = {
            "fd": self._desk.fd,
            "number": self._numbers,
            "role": role,
            "driver": self._driver,
            "device": self._device,
            "sample_rate": rate,
            "buffer_size": frames or self.frames,
            "cue_channels": settings.cue_channels,
            "standby": settings.standby,
            "lost": settings.device_lost,
            "fallback": settings.device_fallback,
        }
        child = self._launch(request, self._desk)
        engine = Engine(self._numbers, child, role)
        self._engines.append(engine)
        if self._event_loop is not None:
            self._listen(engine)
        return engine

    def on_first_engine_ready(self, answer: dict[str, Any]) -> StreamInfo:
        """Process the first engine's answer. Raises `DeviceError`."""
        if "error" in answer:
            raise DeviceError(answer["error"])
        info = StreamInfo(**answer["ready"])
        self._engines[0].state = "plays"
        self._playing_since = self._monotonic()
        self._settle_on(info)
        self._next_start = self._monotonic() + FIRST_STANDBY_DELAY
        return info

    def to_state(self) -> dict[str, Any]:
        """State for JSON; see `adopt`."""
        return {
            "engines": [[one.number, one.role, one.state, one.ready] for one in self._engines],
            "info": asdict(self.info) if self.info else None, "numbers": self._numbers,
            "searching": self.searching, "driver": self._driver, "device": self._device,
        }

    def adopt(self, note: dict[str, Any], fork_server: ForkServer) -> None:
        """Take over the engines of an earlier control process, one of which plays.

        `catch_up` then processes the messages that they have sent since.
        """
        self._numbers, self.searching = note["numbers"], note["searching"]
        self._driver, self._device = note["driver"], note["device"]
        self.info = StreamInfo(**note["info"])
        self.frames = self.info.buffer_size
        known = {number: rest for number, *rest in note["engines"]}
        kept = fork_server.store.kept
        for name in [name for name in kept if name.startswith(STORE_PREFIX)]:
            number = int(name.removeprefix(STORE_PREFIX))
            self._numbers = max(self._numbers, number)
            child = Child.adopt(fork_server, name)
            role, state, ready = known.get(number, ("standby", "coming", ""))
            self._engines.append(Engine(number, child, role, state, ready))

    def catch_up(self) -> None:
        """Process the adopted engines' messages and correct their states from the desk."""
        for engine in list(self._engines):
            self._receive(engine)
        owner = int(self._desk.lease["owner"])
        for engine in list(self._engines):
            if engine.number == owner:
                engine.state = "plays"
            elif engine.state != "standby":
                # It may have sent its last message already; `tick` starts another if needed.
                self._remove(engine)
        self._next_start = self._monotonic() + MIN_RESTART_DELAY

    def _settle_on(self, info: StreamInfo) -> None:
        self.info, self.frames = info, info.buffer_size
        if info.driver == "pyaudio":
            self._driver, self._device = info.driver, info.device
        elif not self.searching:
            self._driver = "null"

    def listen(self, event_loop: EventLoop) -> None:
        """Process engines' messages from now on."""
        self._event_loop = event_loop
        for engine in self._engines:
            self._listen(engine)

    def _listen(self, engine: Engine) -> None:
        assert self._event_loop is not None
        self._event_loop.add_reader(engine.child.out, lambda: self._receive(engine))

    @property
    def children(self) -> list[Child]:
        """All engine processes; after `close`, in the order in which to stop them."""
        return [engine.child for engine in self._engines]

    def close(self) -> None:
        """Prevent further takeovers: the server is shutting down."""
        self._desk.lease["closing"] = 1
        self._engines.sort(key=lambda engine: engine.state == "plays")

    # State --------------------------------------------------------------------------------------

    def _in_state(self, state: str) -> Engine | None:
        return next((engine for engine in self._engines if engine.state == state), None)

    def pids(self) -> dict[str, int]:
        """Process IDs: `engine` for the one that plays, `standby` for the other."""
        names = {"plays": "engine", "standby": "standby", "coming": "standby"}
        there = [engine for engine in self._engines if engine.state in names]
        return {names[engine.state]: engine.child.pid for engine in there}

    def readings(self) -> dict[str, Any]:
        """Fields for the status."""
        lease = self._desk.lease
        standby = self._in_state("standby")
        return {
            "standby": standby.ready if standby else "none",
            "takeovers": int(lease["takeovers"]),
            "takeover_gap_ms": int(lease["gap_ns"]) / 1e6,
            "device_lost": int(self.searching),
        }

    # Supervision -------------------------------------------------------------------------------

    def tick(self) -> None:
        """Start a standby or, while the device is gone, an engine that searches for it."""
        self._check_standstill()
        now = self._monotonic()
        for engine in [one for one in self._engines if one.state == "leaves" and one.until < now]:
            self._remove(engine)
        self.resizing.tick()
        if self._standbys() or self._monotonic() < self._next_start or self.failed:
            return
        role = "search" if self.searching else "standby"
        if role == "standby" and self._settings.standby == "off" and self._in_state("plays"):
            return
        try:
            self.launch(role)
        except ChildError as error:
            log.error("can't start the %s engine: %s", role, error)
            self._postpone_start()

    def _standbys(self) -> list[Engine]:
        # Engines that replace one that dies or stands still, possibly once they have started.
        waiting = self.resizing.waiting_engine
        return [
            one for one in self._engines
            if one.state in ("coming", "standby") and one is not waiting
        ]  # fmt: skip

    def _check_standstill(self) -> None:
        # Without a standby, control itself has to notice that the device requests no more blocks.
        now, latest = self._monotonic(), read_callback(self._desk)
        self._still_seconds += min(now - self._ticked, MAX_TICK_SECONDS)
        self._ticked = now
        if latest is None or latest != self._latest_block:
            self._latest_block, self._still_seconds = latest, 0.0
        engine, standby = self._in_state("plays"), self._in_state("standby")
        if engine is None and standby is not None and self._still_seconds > TAKEOVER_SECONDS:
            log.error("the standby has not taken over for %g s: it is replaced", TAKEOVER_SECONDS)
            self._remove(standby, failed=True)
            self._next_start = 0.0
        if engine is None or self._standbys():
            return
        if self._still_seconds > STANDSTILL_SECONDS:
            if self._driver == "null":  # there is no device that could be gone
                log.error("the engine has rendered no block for %g s", STANDSTILL_SECONDS)
                self._remove(engine, failed=True)
                self._next_start = 0.0
            else:
                self._lost(engine)

    def _postpone_start(self) -> None:
        self._next_start = self._monotonic() + self._restarts.next_delay()

    def _receive(self, engine: Engine) -> None:
        if engine not in self._engines:
            return
        for message in engine.child.read():
            if "standby" in message:
                engine.state, engine.ready = "standby", str(message["standby"])
                self._restarts.reset()
            elif "took" in message:
                self._took(engine, message)
            elif "lost" in message:
                self._lost(engine)
            elif "prepared" in message:
                self.resizing.on_engine_ready(engine, message["prepared"])
        # A failing engine reports it and exits: both may arrive at once, after its removal.
        if engine.child.finished and engine in self._engines:
            self._ended(engine)

    def _took(self, engine: Engine, message: dict[str, Any]) -> None:
        why = str(message["why"])
        for other in list(self._engines):
            if other.state == "plays" and other is not engine:
                if why == "upgraded" and self.keeps_guard and not self.resizing.reopens:
                    # It stands by while the other version is on trial.
                    other.state, other.ready = "coming", ""
                    other.child.send({"guard": 1})
                elif why in ("resized", "upgraded"):
                    other.state, other.until = "leaves", self._monotonic() + HANDOVER_TAIL_SECONDS
                else:
                    # The other engine has killed it, but the process may take a while to end.
                    self._remove(other, failed=why in ("died", "hung"))
        engine.state = "plays"
        info = StreamInfo(**message["took"])
        self.searching = bool(message["lost"])
        if why in ("died", "hung") and self._playing_since is not None:
            self._count_death(self._died_early())
        self._playing_since = self._monotonic()
        self._still_seconds = 0.0  # since its takeover: the latest block may be an old one
        self._settle_on(info)
        self._next_start = self._monotonic() + MIN_RESTART_DELAY
        self.changed(info, "device" if self.searching else why)
        self.resizing.on_takeover(engine, info)
        if self.searching:
            self.resizing.on_device_lost()

    def _lost(self, engine: Engine) -> None:
        for other in list(self._engines):
            if other is engine or other.state == "plays":
                self._remove(other)
        self.searching = True
        self._next_start = self._monotonic()
        self.lost("device")
        self.resizing.on_device_lost()

    def _ended(self, engine: Engine) -> None:
        was, words = engine.state, engine.child.exit_description
        self._remove(engine)
        if was == "leaves":
            return
        if was == "plays" and self.resizing.reopens:
            log.info("the engine has released the device")
        elif was == "plays":
            log.error("the engine has died (%s)", words)
        else:
            log.warning("the %s engine has died (%s)", engine.role, words)
        if self._in_state("plays") or self._standbys() or self.searching:
            if was != "plays":
                self._postpone_start()
        else:
            # No engine plays and none stood by: the next one plays as soon as it has started.
            self._count_death(was != "plays" or self._died_early())
            self._next_start = 0.0

    def _count_death(self, at_once: bool) -> None:
        # Engines that keep dying of the same cause must not be restarted indefinitely.
        self._playing_since = None
        self._deaths = self._deaths + 1 if at_once else 0
        if self._deaths > MAX_DEATHS:
            self.failed = f"{self._deaths} engines in a row have died"

    def _died_early(self) -> bool:
        began = self._playing_since
        return began is not None and self._monotonic() < began + EARLY_DEATH_SECONDS

    def remove_standby(self, keep: Engine | None = None) -> None:
        """Stop the standby, even one that is starting, before a handover.

        It would take the end of the engine that hands over for a crash.
        """
        for engine in [one for one in self._engines if one.state in ("coming", "standby")]:
            if engine is not keep:
                self._remove(engine)

    @property
    def plays_foreign(self) -> bool:
        """Whether the engine that plays is another version's."""
        engine = self._in_state("plays")
        return engine is not None and engine.child.is_foreign

    @property
    def waits_for_device(self) -> bool:
        """Whether no engine plays until the device is back, as the settings want it."""
        wanted = self._settings.device_lost == "wait"
        return wanted and self.searching and self._in_state("plays") is None

    def own_guard(self) -> Engine | None:
        """The engine of this version that stands by beside one of another version, if any."""
        return next(
            (
                one for one in self._engines
                if one.state == "standby" and one.ready == "running" and not one.child.is_foreign
            ),
            None,
        )

    @property
    def has_foreign(self) -> bool:
        """Whether an engine is another version's."""
        return any(engine.child.is_foreign for engine in self._engines)

    def remove_foreign(self, at_once: bool = True) -> None:
        """Stop the engines of another version that do not play: they are needed no longer.

        Not `at_once`: one that has handed over is left until its last blocks have played.
        """
        stay = ("plays",) if at_once else ("plays", "leaves")
        for engine in list(self._engines):
            if engine.child.is_foreign and engine.state not in stay:
                self._remove(engine)

    def has(self, engine: Engine) -> bool:
        """Whether the engine is in the pool."""
        return engine in self._engines

    def discard(self, engine: Engine) -> None:
        """Stop an engine that was to take over, if it is still in the pool."""
        if engine in self._engines:
            self._remove(engine)

    def _remove(self, engine: Engine, failed: bool = False) -> None:
        if self._event_loop is not None:
            self._event_loop.remove_reader(engine.child.out)
        self._engines.remove(engine)
        engine.child.stop(0.0, failed)
        lease = self._desk.lease
        if int(lease["wanted"]) == engine.number:
            lease["wanted"] = 0
        if int(lease["owner"]) == engine.number and engine.state in ("coming", "standby"):
            # It had taken over without reporting it: the engine before it will never resume.
            for other in [one for one in self._engines if one.state == "plays"]:
                self._remove(other)
            self._next_start = 0.0


MAX_SECONDS = 60.0  # a change that takes longer is abandoned
REOPEN_MS = 100.0  # expected silence where the device accepts one stream at a time

Done = Callable[[int, float], None]


class BufferResize:
    """Runs one planned handover at a time, to another buffer size or version. For the control
    thread.

    `announce(frames, ms)` is called before each change of the size with the new size in frames and
    the expected silence in milliseconds.
    """

    def __init__(
        self, engines: EnginePool, desk: Desk, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engines = engines
        self._desk = desk
        self._monotonic = monotonic
        self.announce: Callable[[int, float], None] = lambda *_: None
        self._engine: Engine | None = None
        self._frames = 0
        self._deadline = 0.0
        self._going = False  # the new engine was told to take over
        self.reopens = False  # the playing engine has to close the device for the new one
        self._may_reopen: Callable[[], bool] = lambda: True
        self._held: Engine | None = None  # is ready, but may not interrupt the sound yet
        self._done: Done = lambda *_: None
        self._fail: Callable[[str], None] = lambda _: None

    def begin(self, frames: int, done: Done, fail: Callable[[str], None]) -> None:
        """Change to blocks of `frames` frames.

        On success calls `done(frames, ms)` with the resulting size in frames and the silence in
        milliseconds. Calls `fail(reason)` when the size stays unchanged. Raises `Refused` when
        the change can't be started.
        """
        self._check_free()
        if frames == self._engines.frames:
            done(frames, 0.0)
            return
        self._begin("resize", frames, done, fail, lambda: True)

    def upgrade(
        self, done: Done, fail: Callable[[str], None], may_reopen: Callable[[], bool]
    ) -> None:
        """Hand over to an engine of this version; `done` and `fail` as in `begin`.

        If the device accepts one stream at a time, this waits until `may_reopen()` is true. Raises
        `Refused` when the handover can't be started.
        """
        self._check_free()
        guard = self._engines.own_guard()
        if guard is None:
            self._begin("upgrade", self._engines.frames, done, fail, may_reopen)
            return
        self._prepare(guard, self._engines.frames, done, fail, may_reopen)
        self._go(guard)

    def _check_free(self) -> None:
        if self._engine is not None and self._engine.role != "resize":
            raise Refused("an upgrade replaces the engine: change the buffer size after that")
        if self._engine is not None:
            raise Refused(f"the buffer size is being changed to {self._frames}: wait for /done")
        if self._engines.searching or self._engines.info is None:
            raise Refused("the sound device is gone: change the buffer size when it is back")

    def _begin(
        self, role: str, frames: int, done: Done, fail: Callable[[str], None],
        may_reopen: Callable[[], bool],
    ) -> None:  # fmt: skip
        try:
            engine = self._engines.launch(role, frames)
        except ChildError as error:
            raise Refused(str(error)) from error
        self._prepare(engine, frames, done, fail, may_reopen)

    def _prepare(
        self, engine: Engine, frames: int, done: Done, fail: Callable[[str], None],
        may_reopen: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._engine, self._held, self._going, self.reopens = engine, None, False, False
        self._frames, self._done, self._fail = frames, done, fail
        self._may_reopen = may_reopen
        self._deadline = self._monotonic() + MAX_SECONDS

    def on_engine_ready(self, engine: Engine, info: dict[str, Any] | None) -> None:
        """Let the new engine take over: it is ready.

        `info` describes its stream beside the old one; None if the device refuses a second stream.
        """
        if engine is not self._engine:
            self._engines.discard(engine)
            return
        expected = REOPEN_MS
        if info is not None:
            # The old engine plays until the new one is audible: estimate the gap between them.
            shorter = min(self._frames, self._engines.frames)
            expected = 1e3 * shorter / self._desk.sample_rate
        elif not self._may_reopen():
            self._held = engine
            return
        if engine.role == "resize":
            self.announce(self._frames, expected)
        self.reopens = info is None
        self._go(engine)

    def _go(self, engine: Engine) -> None:
        self._held, self._going = None, True
        self._engines.remove_standby(keep=engine)
        engine.child.send({"go": 1})

    def on_takeover(self, engine: Engine, info: StreamInfo) -> None:
        """Report the result if the engine that now plays is the one with the new size."""
        if engine is not self._engine:
            return
        self._engine, self.reopens = None, False
        if self._engines.searching:
            self._fail("the sound device is gone: the built-in clock plays on until it is back")
        elif info.buffer_size == self._frames:
            self._done(info.buffer_size, int(self._desk.lease["silence_ns"]) / 1e6)
        else:
            stays = info.buffer_size
            self._fail(f"{info.device} does not take blocks of {self._frames} frames: {stays} stay")

    def on_device_lost(self) -> None:
        """Abandon a change in progress: the device is gone."""
        self._end("the sound device is gone: change the buffer size when it is back")

    def tick(self) -> None:
        """Abandon the change if its engine has died or exceeded `MAX_SECONDS`."""
        engine = self._engine
        if engine is None:
            return
        if not self._engines.has(engine):
            self._end("the new engine has died: see the log")
        elif self._held is not None:
            self._deadline = self._monotonic() + MAX_SECONDS
            if self._may_reopen():
                self.on_engine_ready(self._held, None)
        elif self._monotonic() > self._deadline:
            self._end(f"no engine was ready within {MAX_SECONDS:g} s")

    @property
    def waiting_engine(self) -> Engine | None:
        """The new engine, until it receives the request to take over: no standby before that."""
        return None if self._going else self._engine

    @property
    def waits(self) -> bool:
        """Whether an engine is ready that has to interrupt the sound, and may not yet."""
        return self._held is not None

    def _end(self, reason: str) -> None:
        engine, self._engine, self._held, self.reopens = self._engine, None, None, False
        if engine is not None:
            log.warning("the engine is unchanged: %s", reason)
            self._engines.discard(engine)
            self._fail(reason)
