"""OSC over UDP: receiving without loss, answering the sender.

The socket is read by the control thread itself, whatever has come at once and before anything
is parsed, so that a burst waits in our memory (`inbox.py`) rather than in the kernel's buffer;
what is lost is counted.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from crowdstream.control.allow import AllowList
from crowdstream.control.inbox import Inbox
from crowdstream.control.packets import Malformed, Message, build, parse

__all__ = ["Malformed", "Message", "OscSocket", "PortTaken", "build", "parse"]

log = logging.getLogger(__name__)

TURN_SECONDS = 0.01  # after which other things have their turn, however many packets wait
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

    `received` counts packets read, `refused`, `limited` and `barred` those of them that are not
    carried out (see `Inbox`), and `dropped` what the kernel lost before it could be read.
    """

    def __init__(
        self, host: str, port: int, allow: Sequence[str] = (), kept: int | None = None
    ) -> None:
        """Raises `PortTaken`. `kept`: the descriptor of a socket that is bound there already."""
        if kept is None:
            self._socket = self._bind(host, port)
            self._enlarge()
        else:
            self._socket = socket.socket(fileno=kept)
        self._socket.setblocking(False)
        self._inbox = Inbox(AllowList(allow))
        self.port = int(self._socket.getsockname()[1])
        self.received = 0
        self.answers_lost = 0

    @staticmethod
    def _bind(host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.bind((host, port))
        except (OSError, OverflowError) as error:
            made.close()
            reason = getattr(error, "strerror", None) or str(error)
            advice = ADVICE.get(getattr(error, "errno", None) or 0, ADVICE[errno.EADDRINUSE])
            raise PortTaken(
                f"UDP port {port} on {host} can't be used ({reason}): {advice}"
            ) from error
        return made

    def noted(self) -> list[int]:
        """What was counted, as JSON holds it; see `restore`."""
        inbox = self._inbox
        return [self.received, self.answers_lost, inbox.barred, inbox.limited, inbox.refused]

    def restore(self, note: list[int]) -> None:
        """Go on counting from what was noted."""
        inbox = self._inbox
        self.received, self.answers_lost, inbox.barred, inbox.limited, inbox.refused = note

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
        receive, put = self._socket.recvfrom, self._inbox.put
        for _ in range(DRAINED_AT_ONCE):
            try:
                packet, sender = receive(BIGGEST)
            except ConnectionError:
                continue  # an earlier answer bounced: nothing to do with what comes in
            except OSError:
                return  # nothing more has come
            self.received += 1
            put(packet, sender)

    def take(self, most: int) -> Iterator[tuple[bytes, Any]]:
        """Up to `most` packets with their senders, who take turns; as many as there is time for."""
        until = time.monotonic() + TURN_SECONDS
        for _ in range(most):
            packet = self._inbox.take()
            if packet is None:
                return
            yield packet
            if time.monotonic() > until:
                return

    @property
    def waiting(self) -> int:
        """Packets taken in and not yet handled."""
        return self._inbox.waiting

    @property
    def refused(self) -> int:
        """Packets that were not let wait: above their sender's rate, or without room."""
        return self._inbox.refused

    @property
    def limited(self) -> int:
        """Of these, packets above their sender's rate."""
        return self._inbox.limited

    @property
    def barred(self) -> int:
        """Packets of senders that are not on the allow list."""
        return self._inbox.barred

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
            packet = build(address, arguments)
        except (ValueError, OverflowError):
            self.answers_lost += 1
        else:
            self.answer_packet(sender, packet)

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Send one packet to whoever sent from `sender`; what can't be sent is counted."""
        try:
            self._socket.sendto(packet, sender)
        except (OSError, ValueError, OverflowError):
            self.answers_lost += 1

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
