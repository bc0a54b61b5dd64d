"""The web process as seen by control: it serves the page, listeners and the HTTP interface.

The web process reads the desk itself. Control sends it the rest of the state while pages are
connected. Commands from pages come back and are carried out like OSC messages. When the web
process dies, playback continues and control starts a new one.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import crowdstream
from crowdstream.commands.registry import REQUIRED, TABLE, Command
from crowdstream.control.engine_queue.request import Reply, discard_reply
from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.fork_server import WEB_MODULE, ForkServer
from crowdstream.control.publish.change_feed import ChangeFeed
from crowdstream.control.publish.event_log import EventLog
from crowdstream.control.publish.meters import Meters
from crowdstream.control.publish.state_view import StateView, StateViewSource
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.control.scheduler import Entry
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import LISTENERS, release_owner
from crowdstream.logs.throttle import print_line
from crowdstream.settings import Settings
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

START_DELAY = 0.2  # seconds after the start: the first track has priority
MIN_RESTART_DELAY, MAX_RESTART_DELAY = 0.5, 30.0  # s between two attempts; doubles
SETTLED_SECONDS = 30.0  # the death of a process older than this counts as the first in a row
VIEW_SECONDS = 0.025  # between two comparisons of the state, which take 0.06 ms each
ABOUT_SECONDS = 1.0
END_SECONDS = 2.0  # for a web process to exit when it is replaced
MAX_UNSENT = 8 << 20  # bytes; a web process that leaves more unread hangs
# Without a heartbeat, after which it hangs as well. It runs at a lower priority than the music, and
# may wait long for a processor or for a disk.
HANG_SECONDS = 30.0
MAX_TICK_SECONDS = 1.0  # the most that one tick counts of it: control may have stood still as well

# Commands that subscribe the sender's address. Pages receive all these messages anyway.
NOT_FOR_PAGES = frozenset(
    {"/notify", "/changes/subscribe", "/feedback", "/meters", "/clock/ticks"}
)


def start_web(fork_server: ForkServer, desk: Desk, settings: Settings, port: int) -> Child:
    """Start the web process. Raises `ChildError`.

    `port` is the TCP port that pages used before; 0 if there is none yet.
    """
    held = web_settings_as_json(settings)
    held["http_port"] = port or settings.http_port
    child = Child(fork_server, WEB_MODULE, str(desk.fd), desk.fd, "web")
    child.send({"settings": held})  # not as an argument, which other users could read
    return child


def web_settings_as_json(settings: Settings) -> dict[str, Any]:
    """The settings of the web process as JSON values."""
    held = {name: value for name, value in asdict(settings).items() if name.startswith("http")}
    held["media_root"] = [str(root.expanduser().absolute()) for root in settings.media_root]
    held["osc_host"] = settings.osc_host
    return {name: str(value) if hasattr(value, "parent") else value for name, value in held.items()}


def command_as_json(command: Command) -> dict[str, Any]:
    """A command of the command table as JSON values."""
    args = []
    for arg in command.args:
        about = {
            "name": arg.name, "type": arg.type, "help": arg.help, "unit": arg.unit,
            "low": arg.low, "high": arg.high, "choices": list(arg.choices),
            "rest": arg.rest, "words": list(arg.words), "limits": arg.limits,
            "or_zero": arg.or_zero, "switch": arg.switch, "max_length": arg.max_length,
            "max_count": arg.max_count,
        }  # fmt: skip
        if arg.default is not REQUIRED:
            about["default"] = arg.default
        args.append(about)
    return {
        "address": command.address, "aliases": list(command.aliases), "name": command.name,
        "help": command.help,
        "answers": command.answers, "scheduled": command.scheduled,
        "quantized": command.quantized, "asks": command.control_only,
        "changes": command.changes, "any_order": command.reorder is not None, "args": args,
    }  # fmt: skip


class ServerForPages(StateViewSource, Protocol):
    """The part of the server that pages use (see `Dispatcher`)."""

    changes: ChangeFeed
    events: EventLog
    meters: Meters
    subscribers: Subscribers

    def perform(
        self, batch: Sequence[Entry], frame: int = 0, beat: float | None = None
    ) -> None:
        """Carry out messages that belong together, at `frame` (0: immediately)."""


class WebProcess:
    """Starts, supervises and serves the web process. For the control thread."""

    def __init__(
        self,
        core: ServerForPages,
        port: int,
        start: Callable[[int], Child],
        child: Child | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`port` is the OSC port. `child` is a web process left by an earlier control, if any."""
        self._core = core
        self._osc_port = port
        self._start = start
        self._monotonic = monotonic
        self._view = StateView(core)
        self._child = child
        self._event_loop: EventLoop | None = None
        self._watched = False
        now = monotonic()
        self._started_at = now
        self._next_start = now + START_DELAY
        self._restarts = RestartPolicy(
            MIN_RESTART_DELAY, MAX_RESTART_DELAY, settled=SETTLED_SECONDS
        )
        self._next_view_at = self._next_about_at = 0.0
        self._about: dict[str, Any] = {}
        self.port = 0
        """TCP port of the pages; 0 while there are none."""
        self._logged_fault = ""  # the latest fault, so that each is logged once
        self._enabled = True
        self._end_by: float | None = None  # when a process that was asked to exit is killed
        self._ticked = now
        # Of ticks since the latest heartbeat; None before the first, and once it was killed.
        self._silent_seconds: float | None = None
        self.serves = False
        """Whether the current process has reported that it serves pages."""
        core.subscribers.listen(self._event)
        core.changes.listen(self._changed)
        if child is not None:
            self._send_initial_state()

    def listen(self, event_loop: EventLoop) -> None:
        """Process the web process's messages from now on."""
        self._event_loop = event_loop
        if self._child is not None:
            event_loop.add_reader(self._child.out, self._receive)

    def replace(self, start: Callable[[int], Child] | None, same_port: bool = True) -> None:
        """Start another process with `start` once the present one has exited; None: no page.

        `same_port`: the pages keep their TCP port.
        """
        self._enabled = start is not None
        self._start = start or self._start
        if not same_port:
            self.port = 0
        self._logged_fault = ""
        self._next_start = 0.0
        if self._child is not None:
            self._end_by = self._monotonic() + END_SECONDS
            self._child.request_exit()

    @property
    def child(self) -> Child | None:
        """The process, if there is one."""
        return self._child

    @property
    def pids(self) -> dict[str, int]:
        """Process ID, by name."""
        return {"web": self._child.pid} if self._child else {}

    # Supervision ---------------------------------------------------------------------------

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity if it can wait."""
        if self._child is None:
            return self._next_start if self._enabled else math.inf
        if self._child.unsent:
            return 0.0
        return self._next_view_at if self._watched else math.inf

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""
        return self._child is not None and self._child.is_foreign

    def renew(self) -> None:
        """Replace the process by one of this installation, on the same port."""
        self.replace(self._start)

    def tick(self) -> None:
        """Supervise the web process; call this when it is `due`, or about every 0.2 s."""
        now = self._monotonic()
        passed, self._ticked = min(now - self._ticked, MAX_TICK_SECONDS), now
        if self._child is None:
            if self._enabled and now >= self._next_start:
                self._start_child(now)
            return
        if self._end_by is not None:
            if now >= self._end_by:
                self._child.kill()
            return
        self._child.push()
        if self._child.unsent > MAX_UNSENT:
            log.error("the web process has stopped reading and is killed")
            self._child.kill()
        self._check_alive(passed)
        if now >= self._next_about_at:
            self._next_about_at = now + ABOUT_SECONDS
            self._send_about()
        if self._watched:
            self._send_view(now)

    def _check_alive(self, passed: float) -> None:
        if self._silent_seconds is None or self._child is None:
            return
        self._silent_seconds += passed
        if self._silent_seconds > HANG_SECONDS:
            self._silent_seconds = None
            log.error("the web process does not respond and is killed")
            self._child.kill()

    def _start_child(self, now: float) -> None:
        self._started_at = now
        try:
            self._child = self._start(self.port)
        except ChildError as error:
            self._log_fault(str(error))
            self._postpone_start()
            return
        if self._event_loop is not None:
            self._event_loop.add_reader(self._child.out, self._receive)
        self._send_initial_state()

    def _send_initial_state(self) -> None:
        # Initial state for a web process that is new or was left by an earlier control process.
        assert self._child is not None
        self._child.send({"table": [command_as_json(command) for command in TABLE.commands]})
        self._about = {}
        self._view.reset()
        self._watched = False  # until the process reports it
        self._send_about()

    def _send_about(self) -> None:
        core = self._core
        info = core.info
        about = {
            "version": crowdstream.__version__,
            "osc_host": core.settings.osc_host, "osc_port": self._osc_port,
            "media_roots": [str(root) for root in core.settings.media_root],
            "sample_rate": core.desk.sample_rate, "driver": info.driver, "device": info.device,
            "pids": {**core.processes.pids, **self.pids},
        }  # fmt: skip
        if about != self._about and self._child is not None:
            self._about = about
            self._child.send({"about": about})

    def _send_view(self, now: float) -> None:
        if now < self._next_view_at:
            return
        self._next_view_at = now + VIEW_SECONDS
        changes = self._view.changes()
        if changes and self._child is not None:
            self._child.send({"picture": changes})

    def _postpone_start(self) -> None:
        now = self._monotonic()
        self._next_start = now + self._restarts.next_delay(now - self._started_at)

    def _log_fault(self, text: str) -> None:
        if text != self._logged_fault:
            self._logged_fault = text
            log.error("%s", text)
            self._core.events.report("web", text)

    # Messages of the web process -------------------------------------------------------------

    def _receive(self) -> None:
        child = self._child
        if child is None:
            return
        for message in child.read():
            if "alive" in message:
                self._silent_seconds = 0.0
            elif "do" in message:
                number, *batch = message["do"]
                self._carry_out(number, batch)
            elif "watching" in message:
                self._watch(bool(message["watching"]))
            elif "ready" in message:
                if self._end_by is None:  # else the next process may have to use another port
                    self._ready(message)
            elif "error" in message:
                self._log_fault(f"no web page: {message['error']}")
            elif "log" in message:
                log.warning("%s", message["log"])
        if child.finished and child is self._child:
            self._ended(child)

    def _watch(self, on: bool) -> None:
        if on and not self._watched:
            self._view.reset()
            self._next_view_at = 0.0
        self._watched = on
        self._core.meters.set_desk_readers(on)

    def _ready(self, message: dict[str, Any]) -> None:
        if message["ready"] != self.port:
            self.port = int(message["ready"])
            log.info("page on %s", message["url"])
            if message["invitation"]:
                print_line(message["invitation"])
            if message["qr"] and sys.stdout.isatty():
                print_line(message["qr"])
        self._logged_fault = ""
        self.serves = True

    def _ended(self, child: Child) -> None:
        if self._event_loop is not None:
            self._event_loop.remove_reader(child.out)
        words = child.exit_description
        child.stop(0.0)
        self._child, self.serves = None, False
        self._watched, self._silent_seconds = False, None
        self._core.meters.set_desk_readers(False)
        release_owner(self._core.desk, LISTENERS)
        if self._end_by is not None:
            self._end_by = None
            return
        if not self._logged_fault:
            log.error("the web process has died (%s): restarting it", words)
            self._core.subscribers.notify("/restarted", "web")
        self._postpone_start()

    def _carry_out(self, number: int, batch: list[list[Any]]) -> None:
        child = self._child
        entries = []
        for address, *arguments in batch:
            reply = self._reply(child, number) if number else discard_reply
            if TABLE.all_names(str(address))[0] in NOT_FOR_PAGES:
                reply("/fail", address, "pages receive all notifications without subscribing")
            else:
                entries.append((str(address), tuple(arguments), reply, None))
        if entries:
            self._core.perform(entries)
        if child is not None and number:
            child.send({"end": number})

    @staticmethod
    def _reply(child: Child | None, number: int) -> Reply:
        def reply(address: str, *arguments: Any) -> None:
            if child is not None:
                child.send({"answer": [number, address, *map(as_json, arguments)]})

        return reply

    # Messages to the web process -------------------------------------------------------------

    def _event(self, address: str, arguments: tuple[Any, ...]) -> None:
        if self._watched and self._child is not None:
            self._child.send({"event": [address, *map(as_json, arguments)]})

    def _changed(self, address: str, arguments: tuple[Any, ...]) -> None:
        if self._watched and self._child is not None:
            self._child.send({"changed": [address, *map(as_json, arguments)]})


def as_json(value: Any) -> Any:
    """An OSC argument as a JSON value."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, bytes):
        return value.hex()
    return value.item() if hasattr(value, "item") else str(value)
