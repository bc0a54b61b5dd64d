"""The engine processes as control knows them: one plays, one is ready to go on.

An engine that dies or hangs is replaced by its standby, without control: that takes milliseconds,
and control may be busy or gone. Control sees to it that there is a standby again, looks for a
device that has gone, and tells who should know.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from crowdstream.control.processes.buffer_resize import BufferResize
from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.desk.block import Desk
from crowdstream.desk.seqlock import read_callback
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.settings import Settings
from crowdstream.supervisor.fd_store import FdStore
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds after the start before a standby is made: the first track comes first
AGAIN_PAUSE = 0.5  # before a new one is made in the place of one that has gone
MAX_PAUSE = 30.0  # where they fail one after another
STANDSTILL_SECONDS = 4.0  # without a block, where no standby looks
SHORT_SECONDS = 0.5  # an engine that dies so soon after it has begun is no better than the last
MAX_DEATHS = 5  # of these in a row

LEAVE_SECONDS = 2.0  # until one that has handed over is ended: its last blocks are heard by then

KEPT = "engine/"  # and its number: the name under which one is kept for the next control

REASONS = {
    "died": "the engine died",
    "hung": "the engine hung and was ended",
    "device": "the device was gone",
    "found": "the device is there again",
    "resized": "the buffer size was changed",
}

Launch = Callable[[dict[str, Any], Desk], Child]


def start_engine(request: dict[str, Any], desk: Desk, store: FdStore | None = None) -> Child:
    """An engine as a process. Raises `ChildError`."""
    name = f"{KEPT}{request['number']}"
    return Child("crowdstream.engine.main", json.dumps(request), desk.fd, store, name)


@dataclass(eq=False)
class Engine:
    """One engine process. `state`: coming, standby (ready to go on), plays, leaves.

    One that leaves has handed over; what it has given to the device is still to be heard.
    """

    number: int
    child: Child
    role: str
    state: str = "coming"
    ready: str = ""  # of a standby: running beside the one that plays, or warm
    until: float = 0.0  # when one that leaves is ended


class EnginePool:
    """Starts engines and keeps one that plays and one that is ready. For the control thread.

    `changed(info, why)` is called when another engine plays: `info` is its stream, `why` one of
    `REASONS`. `lost(why)`: nobody plays until the device is back.
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        changed: Callable[[StreamInfo, str], None] = lambda *_: None,
        lost: Callable[[str], None] = lambda _: None,
        launch: Launch = start_engine,
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
        self._hearing: EventLoop | None = None
        self._next = 0.0
        self._restarts = RestartPolicy(AGAIN_PAUSE, MAX_PAUSE)
        self._deaths = 0
        self._begun: float | None = None  # when the engine that plays began to
        self._device: str | None = settings.device
        self._driver = settings.driver
        self.searching = False
        self.frames = settings.buffer_size  # of a block, from the next engine on
        self.resizing = BufferResize(self, desk, monotonic)
        self.failed = ""
        self.info: StreamInfo | None = None

    # Starting and ending -------------------------------------------------------------------

    def launch(self, role: str = "first", frames: int = 0) -> Engine:
        """Start an engine process, with blocks of another size if told. Raises `ChildError`."""
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
        if self._hearing is not None:
            self._listen(engine)
        return engine

    def started(self, answer: dict[str, Any]) -> StreamInfo:
        """Take in what the first engine says. Raises `DeviceError`."""
        if "error" in answer:
            raise DeviceError(answer["error"])
        info = StreamInfo(**answer["ready"])
        self._engines[0].state = "plays"
        self._begun = self._monotonic()
        self._settle_on(info)
        self._next = self._monotonic() + FIRST_PAUSE
        return info

    def to_state(self) -> dict[str, Any]:
        """As JSON holds it; see `adopt`."""
        return {
            "engines": [[one.number, one.role, one.state, one.ready] for one in self._engines],
            "info": asdict(self.info) if self.info else None, "numbers": self._numbers,
            "searching": self.searching, "driver": self._driver, "device": self._device,
        }

    def adopt(self, note: dict[str, Any], store: FdStore) -> None:
        """Take over the engines that an earlier control has left, while one of them plays.

        What they have said since is heard by `catch_up`.
        """
        self._numbers, self.searching = note["numbers"], note["searching"]
        self._driver, self._device = note["driver"], note["device"]
        self.info = StreamInfo(**note["info"])
        self.frames = self.info.buffer_size
        known = {number: rest for number, *rest in note["engines"]}
        for name in [name for name in store.kept if name.startswith(KEPT)]:
            number = int(name.removeprefix(KEPT))
            self._numbers = max(self._numbers, number)
            child = Child.adopt(store, name)
            role, state, ready = known.get(number, ("standby", "coming", ""))
            self._engines.append(Engine(number, child, role, state, ready))

    def catch_up(self) -> None:
        """Hear what the adopted have said, and see in the desk what was not noted."""
        for engine in list(self._engines):
            self._hear(engine)
        owner = int(self._desk.lease["owner"])
        for engine in list(self._engines):
            if engine.number == owner:
                engine.state = "plays"
            elif engine.state != "standby":
                # Another one is made if it is needed: this one may have said all that it will.
                self._remove(engine)
        self._next = self._monotonic() + AGAIN_PAUSE

    def _settle_on(self, info: StreamInfo) -> None:
        self.info, self.frames = info, info.buffer_size
        if info.driver == "pyaudio":
            self._driver, self._device = info.driver, info.device
        elif not self.searching:
            self._driver = "null"

    def listen(self, hearing: EventLoop) -> None:
        """Hear what engines say from now on."""
        self._hearing = hearing
        for engine in self._engines:
            self._listen(engine)

    def _listen(self, engine: Engine) -> None:
        assert self._hearing is not None
        self._hearing.listen(engine.child.out, lambda: self._hear(engine))

    @property
    def children(self) -> list[Child]:
        """All processes. After `close`, in the order in which they are to end."""
        return [engine.child for engine in self._engines]

    def close(self) -> None:
        """The server ends: nobody goes on in anybody's place any more."""
        self._desk.lease["closing"] = 1
        self._engines.sort(key=lambda engine: engine.state == "plays")

    # What is to be known ---------------------------------------------------------------------

    def _of(self, state: str) -> Engine | None:
        return next((engine for engine in self._engines if engine.state == state), None)

    def pids(self) -> dict[str, int]:
        """Process numbers: `engine` the one that plays, `standby` the other."""
        names = {"plays": "engine", "standby": "standby", "coming": "standby"}
        there = [engine for engine in self._engines if engine.state in names]
        return {names[engine.state]: engine.child.pid for engine in there}

    def readings(self) -> dict[str, Any]:
        """For the status."""
        lease = self._desk.lease
        standby = self._of("standby")
        return {
            "standby": standby.ready if standby else "none",
            "takeovers": int(lease["takeovers"]),
            "takeover_gap_ms": int(lease["gap_ns"]) / 1e6,
            "device_lost": int(self.searching),
        }

    # Looking after them ----------------------------------------------------------------------

    def tick(self) -> None:
        """See to it that there is a standby, or somebody who looks for the device."""
        self._watch_alone()
        now = self._monotonic()
        for engine in [one for one in self._engines if one.state == "leaves" and one.until < now]:
            self._remove(engine)
        self.resizing.tick()
        waits = any(engine.state in ("coming", "standby") for engine in self._engines)
        if waits or self._monotonic() < self._next or self.failed:
            return
        role = "search" if self.searching else "standby"
        if role == "standby" and self._settings.standby == "off" and self._of("plays"):
            return
        try:
            self.launch(role)
        except ChildError as error:
            log.error("no %s engine: %s", role, error)
            self._put_off()

    def _watch_alone(self) -> None:
        # Without a standby it is for control to see that the device asks for nothing any more.
        engine = self._of("plays")
        if engine is None or len(self._engines) > 1:
            return
        latest = read_callback(self._desk)
        if latest and self._monotonic() - latest[0] * 1e-9 > STANDSTILL_SECONDS:
            self._lost(engine)

    def _put_off(self) -> None:
        self._next = self._monotonic() + self._restarts.pause()

    def _hear(self, engine: Engine) -> None:
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
                self.resizing.prepared(engine, message["prepared"])
        # One that gives up says so and ends: both may be heard at once, and it is gone by then.
        if engine.child.finished and engine in self._engines:
            self._ended(engine)

    def _took(self, engine: Engine, message: dict[str, Any]) -> None:
        why = str(message["why"])
        for other in list(self._engines):
            if other.state == "plays" and other is not engine:
                if why == "resized":
                    other.state, other.until = "leaves", self._monotonic() + LEAVE_SECONDS
                else:
                    self._remove(other)
        engine.state = "plays"
        info = StreamInfo(**message["took"])
        self.searching = bool(message["lost"])
        if why in ("died", "hung") and self._begun is not None:
            self._count_death(self._lived_shortly())
        self._begun = self._monotonic()
        self._settle_on(info)
        self._next = self._monotonic() + AGAIN_PAUSE
        self.changed(info, "device" if self.searching else why)
        self.resizing.took(engine, info)
        if self.searching:
            self.resizing.dropped()

    def _lost(self, engine: Engine) -> None:
        for other in list(self._engines):
            if other is engine or other.state == "plays":
                self._remove(other)
        self.searching = True
        self._next = self._monotonic()
        self.lost("device")
        self.resizing.dropped()

    def _ended(self, engine: Engine) -> None:
        was, words = engine.state, engine.child.last_words
        self._remove(engine)
        if was == "leaves":
            return
        if was == "plays" and self.resizing.reopens:
            log.info("the engine has let go of the device")
        elif was == "plays":
            log.error("the engine has died (%s)", words)
        else:
            log.warning("the %s engine has died (%s)", engine.role, words)
        if self._engines or self.searching:
            if was != "plays":
                self._put_off()
        else:
            # Nobody plays and nobody was ready: the next one goes on when it has started.
            self._count_death(was != "plays" or self._lived_shortly())
            self._next = 0.0

    def _count_death(self, at_once: bool) -> None:
        # Where each dies of what the one before it died of, it has to end.
        self._begun = None
        self._deaths = self._deaths + 1 if at_once else 0
        if self._deaths > MAX_DEATHS:
            self.failed = f"{self._deaths} engines in a row have died"

    def _lived_shortly(self) -> bool:
        return self._begun is not None and self._monotonic() < self._begun + SHORT_SECONDS

    def remove_standby(self) -> None:
        """The one that plays is about to hand over, which a standby would take for its end."""
        for engine in [one for one in self._engines if one.state == "standby"]:
            self._remove(engine)

    def has(self, engine: Engine) -> bool:
        """Whether that engine is there."""
        return engine in self._engines

    def drop(self, engine: Engine) -> None:
        """End an engine that was to go on in another's place, if it is still there."""
        if engine in self._engines:
            self._remove(engine)

    def _remove(self, engine: Engine) -> None:
        if self._hearing is not None:
            self._hearing.forget(engine.child.out)
        self._engines.remove(engine)
        engine.child.end(0.0)
        lease = self._desk.lease
        if int(lease["wanted"]) == engine.number:
            lease["wanted"] = 0
        if int(lease["owner"]) == engine.number and engine.state == "coming":
            # It had its turn already and told nobody: who played before will never go on.
            for other in [one for one in self._engines if one.state == "plays"]:
                self._remove(other)
            self._next = 0.0
