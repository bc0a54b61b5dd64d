"""OSC over UDP: receiving without loss, answering the sender.

The socket is read by the control thread itself, whatever has come at once and before anything
is parsed, so that a burst waits in a list of ours rather than in the kernel's buffer; what is
lost is counted.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

from crowdstream.control.packets import Malformed, Message, build, parse

__all__ = ["Malformed", "Message", "OscSocket", "PortTaken", "build", "parse"]

log = logging.getLogger(__name__)

BACKLOG = 100_000  # packets that may wait; more are refused and counted
BACKLOG_BYTES = 64 << 20  # and their size: packets of 64 kB must not fill the memory
DRAINED_AT_ONCE = 8192  # then the packets that wait have their turn, however fast more come
RECEIVE_BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO_DROPS = 8
INODE = 9  # column of the table of sockets
BIGGEST = 65536


_NO_ADDRESS = "this machine has no such address; --osc-host wants one of its own, or 0.0.0.0"
ADVICE = {
    errno.EADDRINUSE: "another server may be running; end it, or choose another with --port",
    errno.EACCES: "ports below 1024 are kept for root; choose another with --port",
    errno.EADDRNOTAVAIL: _NO_ADDRESS,
    socket.EAI_NONAME: _NO_ADDRESS,
    socket.EAI_AGAIN: _NO_ADDRESS,
}


class PortTaken(RuntimeError):
    """The UDP port can't be had; the message says why and what to do."""


class OscSocket:
    """The server's UDP socket and the packets that wait.

    `received`, `refused` and `dropped` count packets taken in, given up for want of room
    here, and lost by the kernel before they could be read.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            reason = getattr(error, "strerror", None) or str(error)
            advice = ADVICE.get(getattr(error, "errno", None) or 0, ADVICE[errno.EADDRINUSE])
            raise PortTaken(
                f"UDP port {port} on {host} can't be used ({reason}): {advice}"
            ) from error
        self._socket.setblocking(False)
        self._enlarge()
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._waiting_bytes = 0
        self.port = int(self._socket.getsockname()[1])
        self.received = 0
        self.refused = 0
        self.answers_lost = 0

    def _enlarge(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def fileno(self) -> int:
        """Descriptor, for a selector."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Take in what has arrived."""
        receive = self._socket.recvfrom
        for _ in range(DRAINED_AT_ONCE):
            try:
                packet, sender = receive(BIGGEST)
            except ConnectionError:
                continue  # an earlier answer bounced: nothing to do with what comes in
            except OSError:
                return  # nothing more has come
            self.received += 1
            if len(self._waiting) >= BACKLOG or self._waiting_bytes >= BACKLOG_BYTES:
                self.refused += 1
            else:
                self._waiting.append((packet, sender))
                self._waiting_bytes += len(packet)

    def take(self, most: int) -> Iterator[tuple[bytes, Any]]:
        """Up to `most` packets with their senders, oldest first."""
        for _ in range(min(most, len(self._waiting))):
            packet, sender = self._waiting.popleft()
            self._waiting_bytes -= len(packet)
            yield packet, sender

    @property
    def waiting(self) -> int:
        """Packets taken in and not yet handled."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Packets that the kernel threw away because its buffer was full."""
        with contextlib.suppress(OSError):
            data = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            words = struct.unpack(f"{len(data) // 4}I", data)
            if len(words) > MEMINFO_DROPS:
                return int(words[MEMINFO_DROPS])
        return self._dropped_by_table()

    def _dropped_by_table(self) -> int:
        # Where the option is not to be had (an emulated processor): the system's own table, whose
        # last column is what was dropped.
        inode = str(os.fstat(self._socket.fileno()).st_ino)
        for table in ("/proc/net/udp", "/proc/net/udp6"):
            with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if len(fields) > INODE and fields[INODE] == inode:
                        return int(fields[-1])
        return 0

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message to whoever sent from `sender`; what can't be sent is counted."""
        try:
            self._socket.sendto(build(address, arguments), sender)
        except (OSError, ValueError, OverflowError):
            self.answers_lost += 1

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
