"""A UDP socket whose packets carry the time at which the kernel received them."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any

SO_TIMESTAMPNS = 35  # from linux/asm-generic/socket.h, where Python does not name it
MAX_PACKETS = 256  # received in one turn: a flood must not delay the clock
_STAMP = struct.Struct("@ll")
MAX_AGE_SECONDS = 1.0


class TimedSocket:
    """For one thread. Addresses are those of the socket's family."""

    def __init__(self, family: int, host: str, port: int) -> None:
        """Raises `OSError` if the port is taken."""
        self.family = family
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind((host, port))
            self._socket.setblocking(False)
            with contextlib.suppress(OSError):  # without it, the time of reading counts
                self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """The port."""
        return int(self._socket.getsockname()[1])

    def resolve(self, host: str, port: int) -> Any:
        """Return an address to send to, IPv4 if there is one. Raises `OSError`; may block."""
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
        except OSError:
            if self.family != socket.AF_INET6:
                raise
            return socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_DGRAM)[0][4]
        address = found[0][4]
        if self.family == socket.AF_INET6:
            return (f"::ffff:{address[0]}", address[1], 0, 0)
        return address

    def fileno(self) -> int:
        """Descriptor, readable when a packet has arrived."""
        return self._socket.fileno()

    def send(self, data: bytes, to: Any) -> None:
        """Send a packet; one that the system refuses is lost like others."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, to)

    def receive(self) -> list[tuple[bytes, Any, float]]:
        """Return packets that have arrived: data, sender, and monotonic time (s) of arrival."""
        found: list[tuple[bytes, Any, float]] = []
        while len(found) < MAX_PACKETS:
            try:
                data, notes, _flags, sender = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error about an earlier packet
                continue
            now = time.monotonic()
            for level, kind, content in notes:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = _STAMP.unpack_from(content)
                    # The kernel's stamp is of the time of day, which may be set at any moment.
                    age = time.time() - (seconds + nanoseconds * 1e-9)
                    if 0.0 <= age < MAX_AGE_SECONDS:
                        now -= age
            found.append((data, sender, now))
        return found

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
