"""Notification of systemd: readiness, status and watchdog.

The protocol is sd_notify(3): lines of `NAME=value` in one datagram to the socket named by
$NOTIFY_SOCKET. Outside systemd there is no such socket and nothing is sent.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Mapping

CLOCK = time.CLOCK_MONOTONIC  # by which the manager recognizes a reload that it has requested
STATUS_SECONDS = 5.0  # between two status messages, where there is no watchdog


class Notifier:
    """Sends notifications to the service manager. Never blocks and never raises.

    With a watchdog (`$WATCHDOG_USEC`) a keep-alive is sent twice per timeout, but only while
    the frame count advances: a running control loop does not prove that audio is playing. It need
    not advance while playback waits for a sound device.
    $WATCHDOG_PID is ignored: it names the process that systemd started, which need not be this
    one.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address` of the socket, "" for none; `watchdog_seconds` is 0 without a watchdog."""
        self._monotonic = monotonic
        self._watchdog = watchdog_seconds > 0.0
        self._interval = watchdog_seconds / 2 if self._watchdog else STATUS_SECONDS
        self._next = math.inf  # nothing is sent before the server is ready
        self._frame = -1
        self._status = ""
        # "@" stands for the zero byte of an abstract address; other kinds are not supported.
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._enabled = address[:1] in ("/", "@")

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Create a notifier as requested by the service manager's environment variables."""
        try:
            watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        except ValueError:
            watchdog = 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog)

    def starting(self, status: str, seconds: float) -> None:
        """Report start-up progress; the next report may take up to `seconds`."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", f"STATUS={status}")

    def ready(self, frame: int, status: str) -> None:
        """Report that the server plays, at `frame`, with one line for `systemctl status`.

        The first keep-alive is due at once: an earlier control process may have died just before
        it would have sent one, and READY is none.
        """
        self._frame = frame
        self._status = status
        self._send("READY=1", f"STATUS={status}")
        # Last: the control thread, which sends keep-alives, runs already.
        self._next = self._monotonic() + (0.0 if self._watchdog else self._interval)

    def reloading(self) -> None:
        """Report that the settings are being read again; see `reloaded`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(CLOCK) // 1000}")

    def reloaded(self, status: str) -> None:
        """Report that the settings have been read, with one line for `systemctl status`.

        The keep-alive stays due: frequent reloads must not delay it.
        """
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def tick(self, frame: int, status: Callable[[], str], waits: bool = False) -> None:
        """Send a keep-alive and the status if due and the frame has advanced; call often.

        `waits`: playback waits for its sound device.
        """
        now = self._monotonic()
        if not self._enabled or now < self._next or (frame == self._frame and not waits):
            return
        self._next = now + self._interval
        self._frame = frame
        lines = ["WATCHDOG=1"] if self._watchdog else []
        if (text := status()) != self._status:
            self._status = text
            lines.append(f"STATUS={text}")
        if lines:
            self._send(*lines)

    def stopping(self) -> None:
        """Report a regular shutdown. Nothing is sent after that."""
        self._next = math.inf
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if self._enabled:
            # If the manager is gone or its queue is full, the next keep-alive may succeed.
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection,
            ):
                connection.setblocking(False)
                connection.sendto("\n".join(lines).encode(), self._address)
