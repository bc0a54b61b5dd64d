"""What outlives control: descriptors that the guardian keeps for the next control process.

Control hands them over with a name and a note; the one after it gets all of them back. As the
guardian holds copies, neither the port nor the children's pipes close when control dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_FDS = 8  # in one message
MESSAGE_BYTES = 1 << 16
SEND_SECONDS = 1.0  # a guardian that is stopped does not hold control up
PR_SET_PDEATHSIG = 1
BEAT_SECONDS = 1.0  # between two signs of life of control


class StoredDescriptor(NamedTuple):
    """Descriptors, and what was noted about them."""

    fds: list[int]
    note: dict[str, Any]


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None when the other side has ended.

    Raises `BlockingIOError` when there is none.
    """
    try:
        data, fds, _flags, _address = socket.recv_fds(connection, MESSAGE_BYTES, MAX_FDS)
    except ConnectionError:  # it was killed before it had read all that was sent to it
        return None
    for fd in fds:
        os.set_inheritable(fd, False)  # no other process may hold a lifeline
    return (json.loads(data), list(fds)) if data else None


class FdStore:
    """Control's side. Without a connection nobody keeps anything: everything ends with control.

    `kept`: what an earlier control left. `deaths`: how many died before; `reason`: of what the
    latest did.
    """

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection = connection
        self._beat_at = 0.0
        self.kept: dict[str, StoredDescriptor] = {}
        self.deaths = 0
        self.reason = ""
        if connection is not None:
            self._take_over(connection)

    def _take_over(self, connection: socket.socket) -> None:
        while True:
            received = receive(connection)
            if received is None:
                raise EOFError("the guardian has ended")
            message, fds = received
            if "deaths" in message:
                self.deaths, self.reason = int(message["deaths"]), str(message["reason"])
                break
            self.kept[message["keep"]] = StoredDescriptor(fds, message["note"])
        connection.setblocking(False)

    @property
    def guarded(self) -> bool:
        """Whether somebody keeps what is handed over."""
        return self._connection is not None

    def keep(self, name: str, fds: Sequence[int], note: dict[str, Any]) -> None:
        """Have copies of descriptors kept under a name, in the place of what was there."""
        self._send({"keep": name, "note": note}, fds)

    def drop(self, name: str) -> None:
        """Have the copies under a name closed."""
        self.kept.pop(name, None)
        self._send({"drop": name})

    def ready(self) -> None:
        """From now on control is started anew when it dies, and has to give signs of life."""
        self._send({"ready": True})

    def beat(self) -> None:
        """Give a sign of life; call it often."""
        now = time.monotonic()
        if self._connection is not None and now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            with contextlib.suppress(OSError):
                self._connection.send(b'{"alive": true}')

    def leave(self, status: int) -> None:
        """Control ends on purpose, with this exit status."""
        self._send({"leave": status})

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if self._connection is None:
            return
        data = [json.dumps(message).encode()]
        # The guardian's end is the end of this process too: nothing is to be done here.
        with contextlib.suppress(OSError):
            try:
                socket.send_fds(self._connection, data, list(fds))
            except BlockingIOError:
                select.select([], [self._connection], [], SEND_SECONDS)
                socket.send_fds(self._connection, data, list(fds))


def end_with_parent(connection: socket.socket) -> None:
    """Have this process killed when the guardian, which started it, ends, however that ends.

    The others then lose their lifelines. Raises `EOFError` when it has ended already: its end of
    `connection` is closed before its children get another parent, whatever it has sent before.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    poll = select.poll()
    poll.register(connection, 0)
    if poll.poll(0):
        raise EOFError("the guardian has ended")


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
