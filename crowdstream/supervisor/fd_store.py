"""Store of file descriptors that the supervisor keeps for the next control process.

Control hands descriptors over with a name and a note; its successor receives all of them. As the
supervisor holds copies, neither the port nor the children's pipes close when control dies.
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

MAX_FDS = 8  # per message
MESSAGE_BYTES = 1 << 16
SEND_SECONDS = 1.0  # limit for sending, so that a stopped supervisor does not block control
PR_SET_PDEATHSIG = 1
BEAT_SECONDS = 1.0  # between two heartbeats of control


class StoredDescriptor(NamedTuple):
    """Stored descriptors with their note."""

    fds: list[int]
    note: dict[str, Any]


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive the next message and its descriptors; None when the other side has ended.

    Raises `BlockingIOError` when there is none.
    """
    try:
        data, fds, _flags, _address = socket.recv_fds(connection, MESSAGE_BYTES, MAX_FDS)
    except ConnectionError:  # killed before it had read everything sent to it
        return None
    for fd in fds:
        os.set_inheritable(fd, False)  # no other process may hold a pipe that keeps a child alive
    return (json.loads(data), list(fds)) if data else None


class FdStore:
    """Control's side of the store. Without a connection everything ends with control.

    `kept`: what an earlier control process left. `deaths`: number of earlier control processes
    that died; `reason`: how the latest of them died. `upgrade`: what the supervisor knows about an
    upgrade in progress, None without one.
    """

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection = connection
        self._beat_at = 0.0
        self._waits: bool | None = None  # what `report_waiting` has reported
        self.kept: dict[str, StoredDescriptor] = {}
        self.deaths = 0
        self.reason = ""
        self.upgrade: dict[str, Any] | None = None
        if connection is not None:
            self._take_over(connection)

    def _take_over(self, connection: socket.socket) -> None:
        while True:
            received = receive(connection)
            if received is None:
                raise EOFError("the supervisor has ended")
            message, fds = received
            if "deaths" in message:
                self.deaths, self.reason = int(message["deaths"]), str(message["reason"])
                self.upgrade = message.get("upgrade")
                break
            self.kept[message["keep"]] = StoredDescriptor(fds, message["note"])
        connection.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether a supervisor keeps what is stored."""
        return self._connection is not None

    def keep(self, name: str, fds: Sequence[int], note: dict[str, Any]) -> None:
        """Store copies of descriptors under a name, replacing earlier ones."""
        self._send({"keep": name, "note": note}, fds)

    def drop(self, name: str, failed: bool = False) -> None:
        """Remove the copies stored under a name. `failed`: the process they belong to has died."""
        self.kept.pop(name, None)
        self._send({"drop": name, "failed": failed})

    def drop_rest(self) -> None:
        """Remove everything in `kept`: processes that nothing has taken over exit.

        Those are of optional parts of another version, which this one does not have.
        """
        for name, stored in list(self.kept.items()):
            close_all(stored.fds)
            self.drop(name)

    def ready(self, **about: Any) -> None:
        """Report readiness: from now on a dead or hung control process is restarted.

        `about` describes the server to the supervisor (see `supervisor.upgrade`).
        """
        self._send({"ready": True, **about})

    def report_upgrade(self, **report: Any) -> None:
        """Report the progress of an upgrade."""
        self._send({"upgrade": report})

    def messages(self) -> list[dict[str, Any]]:
        """Return the supervisor's messages that have arrived."""
        found: list[dict[str, Any]] = []
        if self._connection is not None:
            with contextlib.suppress(OSError):
                while (received := receive(self._connection)) is not None:
                    found.append(received[0])
        return found

    def send_heartbeat(self) -> None:
        """Send a heartbeat if one is due; call this often."""
        now = time.monotonic()
        if self._connection is not None and now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            with contextlib.suppress(OSError):
                self._connection.send(b'{"alive": true}')

    def report_waiting(self, waits: bool) -> None:
        """Report whether playback waits for its sound device; call this often.

        Meanwhile no frame is rendered, which an upgrade must not take for a fault.
        """
        if waits != self._waits:
            self._waits = waits
            self._send({"waits_for_device": waits})

    def report_exit(self, status: int) -> None:
        """Report that control exits on purpose with this exit status."""
        self._send({"leave": status})

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if self._connection is None:
            return
        data = [json.dumps(message).encode()]
        # If the supervisor has ended, this process ends with it: errors need no handling.
        with contextlib.suppress(OSError):
            try:
                socket.send_fds(self._connection, data, list(fds))
            except BlockingIOError:
                select.select([], [self._connection], [], SEND_SECONDS)
                socket.send_fds(self._connection, data, list(fds))


def end_with_parent(connection: socket.socket) -> None:
    """Make the kernel kill this process when the supervisor, its parent, ends for any reason.

    The other processes then lose the pipes that keep them alive. Raises `EOFError` when the
    supervisor has ended already: its end of `connection` closes before its children get another
    parent, even if it has sent messages before.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    poll = select.poll()
    poll.register(connection, 0)
    if poll.poll(0):
        raise EOFError("the supervisor has ended")


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
