"""What systemd is told: that the server is ready, how it is doing, that it still plays.

The protocol of sd_notify(3): lines of `NAME=value` as one datagram to the socket that
$NOTIFY_SOCKET names. Outside of systemd there is no such socket, and nothing is said.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Mapping

STATUS_SECONDS = 5.0  # from one status to the next, where no watchdog asks for more


class Notifier:
    """Speaks to the service manager. Nothing here waits, and nothing raises.

    With a watchdog (`$WATCHDOG_USEC`) a sign of life goes out twice in its time, but only while
    the frames move on: that control's loop turns does not mean that anything is heard.
    $WATCHDOG_PID names the process that systemd started, which need not be this one, so it is not
    looked at.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address`: of the socket, "" for none; `watchdog_seconds`: 0 for no watchdog."""
        self._monotonic = monotonic
        self._watchdog = watchdog_seconds > 0.0
        self._interval = watchdog_seconds / 2 if self._watchdog else STATUS_SECONDS
        self._next = math.inf  # nothing is said before the server is ready
        self._frame = -1
        self._status = ""
        # "@" stands for the zero byte of an address without a file; all else is of no use here.
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._heard = address[:1] in ("/", "@")

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """The one that the service manager asks for."""
        try:
            watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        except ValueError:
            watchdog = 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog)

    def starting(self, status: str, seconds: float) -> None:
        """The start goes on, and may take so many seconds from now without another word."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", f"STATUS={status}")

    def ready(self, frame: int, status: str) -> None:
        """The server plays; `frame`: where it is, `status`: one line for `systemctl status`."""
        self._frame = frame
        self._status = status
        self._next = self._monotonic() + self._interval
        self._send("READY=1", f"STATUS={status}")

    def tick(self, frame: int, status: Callable[[], str]) -> None:
        """Call often; says something when it is time to, and the frames have moved on."""
        now = self._monotonic()
        if not self._heard or now < self._next or frame == self._frame:
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
        """The server ends because it was asked to. Nothing is said after that."""
        self._next = math.inf
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if self._heard:
            # A manager that is gone or behind: the next sign of life may reach it.
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way,
            ):
                way.setblocking(False)
                way.sendto("\n".join(lines).encode(), self._address)
