"""What all outputs have in common: a thread that connects, sends, and connects again.

The thread reads from a `DropQueue`, so a server, disk or pipe that is slow blocks nothing else.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from crowdstream.broadcast.queues import DropQueue
from crowdstream.broadcast.target import Target
from crowdstream.system.restart_policy import RestartPolicy
from crowdstream.system.text import mask_passwords, printable

MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 15.0  # between two attempts; doubles
SETTLED_SECONDS = 30.0  # a connection that lasted longer counts as one that worked
BUFFER_SECONDS = 5.0  # of audio that waits for a slow receiver; older audio is dropped
STALL_SECONDS = 10.0  # without progress: the connection is dead
GET_SECONDS = 0.5  # between two looks whether the output was stopped

CONNECTING, LIVE, WAITING = "connecting", "live", "waiting"


class OutputError(Exception):
    """Why an output can't send, in a form for people."""


class Output(ABC):
    """One broadcast. `report` receives its state, from its own thread.

    `rate`: frames per second of the master. Subclasses connect in `session`, call `begin_sending`,
    and send until they are `stopped`, or raise `OutputError` or `OSError`.
    """


    def __init__(
        self, number: int, target: Target, rate: float, report: Callable[[dict[str, Any]], None]
    ) -> None:
        self.number = number
        self.target = target
        self.rate = rate
        self.queue: DropQueue[Any] = DropQueue(round(BUFFER_SECONDS * rate))
        self.connections = 0
        self.sent = 0  # bytes
        self.takes_frames = False
        """Whether `queue` receives blocks of frames now. That of an Icecast mount never does."""
        self.title = ("", "")  # artist and title
        self._report = report
        self._state: tuple[str, str] = (CONNECTING, "")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output {number}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Request the thread's end. Does not wait."""
        self._stop.set()
        self.queue.close()

    def join(self, seconds: float) -> None:
        """Wait up to `seconds` for the thread's end."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))

    @property
    def stopped(self) -> bool:
        """Whether the end was requested."""
        return self._stop.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def dropped_frames(self) -> int:
        """Frames that were dropped because the receiver, or this machine, was too slow."""
        return self.queue.dropped

    def state(self) -> dict[str, Any]:
        """The state and the counters, for control."""
        state, reason = self._state
        return {
            "event": "state", "id": self.number, "state": state, "reason": reason,
            "connections": self.connections, "sent": self.sent,
            "dropped": round(self.dropped_frames / self.rate, 2),
        }  # fmt: skip

    def set_title(self, artist: str, title: str) -> None:
        """Receive the audible track's title, from another thread."""
        self.title = (artist, title)

    @abstractmethod
    def session(self) -> None:
        """Connect and send."""

    def take_frames(self) -> None:
        """Begin to receive blocks of frames. What was played before would only be late."""
        self.queue.clear()
        self.takes_frames = True

    def begin_sending(self) -> None:
        """Report that the receiver has accepted the connection."""
        self.connections += 1
        self._set_state(LIVE, "")

    def take(self) -> Any:
        """Return the next item of the queue; None if there is none for a while."""
        return self.queue.get(GET_SECONDS)

    def _run(self) -> None:
        retries = RestartPolicy(MIN_RETRY_SECONDS, MAX_RETRY_SECONDS, settled=SETTLED_SECONDS)
        while not self.stopped:
            begin = time.monotonic()
            try:
                self.session()
                reason = "the connection has ended"
            except OutputError as error:
                reason = str(error)
            except OSError as error:
                reason = describe(error)
            except Exception as error:  # one broken output must not end the others
                reason = f"{type(error).__name__}: {error}"
            self.takes_frames = False
            if self.stopped:
                break
            self._set_state(WAITING, mask_passwords(printable(reason))[:200])
            self._stop.wait(retries.next_delay(time.monotonic() - begin))

    def _set_state(self, state: str, reason: str) -> None:
        if (state, reason) != self._state:
            self._state = (state, reason)
            self._report(self.state())


def describe(error: OSError) -> str:
    """The reason of a failed system call."""
    if isinstance(error, TimeoutError):
        return "the receiver does not respond"
    return error.strerror or str(error)
