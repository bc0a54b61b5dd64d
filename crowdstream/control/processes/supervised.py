"""A process of an optional part, such as a live input: control starts, watches and restarts it.

The music does not depend on such a process: when it dies or can't be started, its part reports why
and control tries again, with growing pauses.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.control.processes.child import END_SECONDS, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

MIN_RESTART_DELAY, MAX_RESTART_DELAY = 0.5, 30.0  # s between two attempts; doubles
SETTLED_SECONDS = 30.0  # the death of a process older than this counts as the first in a row
MAX_UNSENT = 1 << 20  # bytes; a process that leaves more unread hangs
ASK_SECONDS = 10.0  # without a message, after which a process is asked for its state
HANG_SECONDS = 60.0  # the same, after which it hangs: sound systems may take long to answer
MAX_TICK_SECONDS = 1.0  # the most that one tick counts of it: control may have stood still as well


class Process(Protocol):
    """The part of `Child` that is used of such a process."""

    finished: bool
    out: int

    @property
    def pid(self) -> int:
        """Process ID."""

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""

    @property
    def exit_description(self) -> str:
        """How the process ended, for a log line."""

    @property
    def unsent(self) -> int:
        """Bytes that wait because the process does not read."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message."""

    def push(self) -> None:
        """Write queued messages."""

    def read(self) -> list[dict[str, Any]]:
        """Return the messages received."""

    def kill(self) -> None:
        """Kill the process without waiting."""

    def stop(self, seconds: float = 0.0) -> None:
        """Stop the process."""


class SupervisedProcess:
    """One such process. For the control thread; nothing in it blocks.

    `start` starts the process, or raises `ChildError`. `handle` receives its messages; `started`
    is called when it runs, and sends what it must know; `lost` receives why it does not run.
    `name` is the one under which control's store keeps it (see `Child`). The process writes its
    state again when it receives `{"do": "report"}`, and exits when its standard input closes.
    `may_hang`: it calls libraries that may never return, so it is asked for its state regularly,
    and killed if it does not answer.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Process],
        handle: Callable[[dict[str, Any]], None],
        lost: Callable[[str], None],
        started: Callable[[], None] = lambda: None,
        enabled: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        may_hang: bool = False,
    ) -> None:
        self.name = name
        self._start = start
        self._handle = handle
        self._lost = lost
        self._started = started
        self._monotonic = monotonic
        self._process: Process | None = None
        self._enabled = enabled
        self._start_at = self._started_at = 0.0
        self._restarts = RestartPolicy(
            MIN_RESTART_DELAY, MAX_RESTART_DELAY, settled=SETTLED_SECONDS
        )
        self._event_loop: EventLoop | None = None
        self._may_hang = may_hang
        self._ticked = monotonic()
        # Of ticks since the latest message; None before the first, and once it was killed.
        self._silent_seconds: float | None = None
        self._asked = False

    @property
    def pids(self) -> dict[str, int]:
        """Its process ID by name; empty while it does not run."""
        return {self.name: self._process.pid} if self._process else {}

    @property
    def runs(self) -> bool:
        """Whether the process runs."""
        return self._process is not None

    @property
    def enabled(self) -> bool:
        """Whether the process is to run. One that is not may run on, idle (see `broadcasts`)."""
        return self._enabled

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""
        return self._process is not None and self._process.is_foreign

    def renew(self) -> None:
        """Replace the process by one of this installation, at the next `tick` if it is enabled."""
        self.close()
        self._start_at = 0.0

    def adopt(self, process: Process) -> None:
        """Take over the process that an earlier control has left running, and ask for its state."""
        self._process = process
        self._started_at = self._monotonic()
        process.send({"do": "report"})

    def listen(self, event_loop: EventLoop) -> None:
        """Handle messages as soon as they arrive."""
        self._event_loop = event_loop
        if self._process is not None:
            event_loop.add_reader(self._process.out, self.tick)

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message, if the process runs; `started` sends the state to a new one."""
        if self._process is not None:
            self._process.send(message)

    def enable(self, on: bool) -> None:
        """Start the process at the next `tick`, or stop it now."""
        if on and not self._enabled:
            self._start_at = 0.0
            self._restarts.reset()
        self._enabled = on
        if not on:
            self.close()

    def kill(self) -> None:
        """Kill the process, which hangs; `tick` notices its end and restarts it."""
        if self._process is not None:
            self._process.kill()

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity if it can wait for news."""
        if self._process is not None:
            return 0.0 if self._process.unsent else math.inf
        return self._start_at if self._enabled else math.inf

    def tick(self) -> None:
        """Start the process, pass its messages on, and notice its end."""
        process = self._process
        now = self._monotonic()
        passed, self._ticked = min(now - self._ticked, MAX_TICK_SECONDS), now
        if process is None:
            if self._enabled and now >= self._start_at:
                self._try_start()
            return
        process.push()
        if process.unsent > MAX_UNSENT:
            process.kill()
        messages = process.read()
        if self._may_hang:
            self._check_alive(process, bool(messages), passed)
        for message in messages:
            self._handle(message)
        if process.finished:
            reason = f"its process has died ({process.exit_description}) and is restarted"
            self.close()
            self._postpone(reason)

    def _check_alive(self, process: Process, answers: bool, passed: float) -> None:
        if answers:
            self._silent_seconds, self._asked = 0.0, False
        elif self._silent_seconds is not None:
            self._silent_seconds += passed
            if self._silent_seconds > HANG_SECONDS:
                self._silent_seconds = None
                log.error("the process %s does not respond and is killed", self.name)
                process.kill()
            elif self._silent_seconds > ASK_SECONDS and not self._asked:
                self._asked = True
                process.send({"do": "report"})

    def close(self) -> None:
        """Stop the process, if it runs."""
        process, self._process = self._process, None
        self._silent_seconds, self._asked = None, False
        if process is not None:
            if self._event_loop is not None:
                self._event_loop.remove_reader(process.out)
            process.stop(0.0 if process.finished else END_SECONDS)

    def _try_start(self) -> None:
        self._started_at = self._monotonic()
        try:
            self._process = self._start()
        except ChildError as error:
            self._postpone(str(error))
            return
        if self._event_loop is not None:
            self._event_loop.add_reader(self._process.out, self.tick)
        self._started()

    def _postpone(self, reason: str) -> None:
        now = self._monotonic()
        self._start_at = now + self._restarts.next_delay(now - self._started_at)
        self._lost(reason)
