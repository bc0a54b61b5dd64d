"""The service manager's end of the notification socket, as in systemd."""

from __future__ import annotations

import contextlib
import socket


class Manager:
    """Receives notifications; `all` contains the datagrams so far."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.all: list[str] = []

    def heard(self) -> list[str]:
        """Return the datagrams received since the last call."""
        new = []
        with contextlib.suppress(BlockingIOError):
            while True:
                new.append(self._socket.recv(4096).decode())
        self.all += new
        return new

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
