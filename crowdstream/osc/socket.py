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

from crowdstream.osc.acl import AllowList
from crowdstream.osc.codec import Malformed, Message, build, parse
from crowdstream.osc.fair_queue import FairQueue
from crowdstream.system.port_holders import in_use_by

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
OSC_PORT = 57120  # the default, and that of SuperCollider's language


_NO_ADDRESS = "this machine has no such address; --osc-host wants one of its own, or 0.0.0.0"
_OTHER = "choose another with --port"
ADVICE = {
    errno.EACCES: f"ports below 1024 are kept for root; {_OTHER}",
    errno.EADDRNOTAVAIL: _NO_ADDRESS,
    socket.EAI_NONAME: _NO_ADDRESS,
    socket.EAI_AGAIN: _NO_ADDRESS,
}


class PortTaken(RuntimeError):
    """The UDP port can't be had; the message says why and what to do."""


def taken(host: str, port: int) -> str:
    """The process that holds the port, and the remedy."""
    also = (
        "; sclang and SuperDirt use 57120, too: see docs/how-to/supercollider-and-tidal.md"
        if port == OSC_PORT else ""
    )
    return (
        f"UDP port {port} on {host} is {in_use_by('udp', port)}: end that, or start this server "
        f"with --port {port + 10 if port < 65526 else port - 10} and send to that port{also}"
    )


# A client that looks `localhost` up may send to either loopback, and one on a network to either
# protocol. UDP has no second try: what arrives where nobody listens is lost.
COMPANIONS = {"127.0.0.1": "::1", "localhost": "::1", "::1": "127.0.0.1"}
COMPANIONS["0.0.0.0"] = "::"  # nosec B104  # for whoever has set that
MAX_TRIES = 8  # to find a free port that both protocols have


class OscSocket:
    """The server's UDP sockets and the packets that wait.

    On a loopback address or all addresses it listens with IPv4 and IPv6, where the machine has
    both. `received` counts packets read, `refused`, `limited` and `barred` those of them that are
    not carried out (see `Inbox`), and `dropped` what the kernel lost before it could be read.
    """

    def __init__(
        self, host: str, port: int, allow: Sequence[str] = (), kept: Sequence[int] | None = None
    ) -> None:
        """Raises `PortTaken`. `kept`: descriptors of sockets that are bound there already."""
        if kept is None:
            self._sockets = self._bind_all(host, port)
            self._enlarge()
        else:
            self._sockets = [socket.socket(fileno=fd) for fd in kept]
        for one in self._sockets:
            one.setblocking(False)
        self._by_family = {one.family: one for one in self._sockets}
        self._inbox = FairQueue(AllowList(allow))
        self.port = int(self._sockets[0].getsockname()[1])
        self.received = 0
        self.answers_lost = 0

    @classmethod
    def _bind_all(cls, host: str, port: int) -> list[socket.socket]:
        for _ in range(MAX_TRIES):
            made = cls._bind(host, port)
            companion = COMPANIONS.get(host)
            if companion is None:
                return [made]
            number = made.getsockname()[1]
            try:
                return [made, cls._open(companion, number, alone=True)]
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return [made]  # a machine with one protocol only
                if port:
                    log.warning(
                        "UDP port %d on %s is %s: clients that send there, as `localhost` may "
                        "mean, do not reach this server", number, companion,
                        in_use_by("udp", number),
                    )
                    return [made]
            made.close()
        raise PortTaken(f"no UDP port is free on both {host} and {companion}")

    @classmethod
    def _bind(cls, host: str, port: int) -> socket.socket:
        try:
            return cls._open(host, port)
        except (OSError, OverflowError) as error:
            code = getattr(error, "errno", None) or 0
            if code == errno.EADDRINUSE:
                raise PortTaken(taken(host, port)) from error
            reason = getattr(error, "strerror", None) or str(error)
            raise PortTaken(
                f"UDP port {port} on {host} can't be used ({reason}): {ADVICE.get(code, _OTHER)}"
            ) from error

    @staticmethod
    def _open(host: str, port: int, alone: bool = False) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                # `::` beside 0.0.0.0 is IPv6 alone; by itself it is both, whatever the system says.
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(alone))
            made.bind((host, port))
        except (OSError, OverflowError):
            made.close()
            raise
        return made

    def to_state(self) -> list[int]:
        """What was counted, as JSON holds it; see `restore`."""
        inbox = self._inbox
        return [self.received, self.answers_lost, inbox.barred, inbox.limited, inbox.refused]

    def restore(self, note: list[int]) -> None:
        """Go on counting from what was noted."""
        inbox = self._inbox
        self.received, self.answers_lost, inbox.barred, inbox.limited, inbox.refused = note

    def _enlarge(self) -> None:
        for one in self._sockets:
            try:
                one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except OSError:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def filenos(self) -> list[int]:
        """Descriptors, for a selector."""
        return [one.fileno() for one in self._sockets]

    def drain(self) -> None:
        """Take in what has arrived."""
        for one in self._sockets:
            self._drain(one)

    def _drain(self, one: socket.socket) -> None:
        receive, put = one.recvfrom, self._inbox.put
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
    def ready(self) -> bool:
        """Whether `take` gives a packet now: not all that wait may be carried out at once."""
        return self._inbox.ready

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
        return sum(map(self._dropped_by, self._sockets))

    def _dropped_by(self, one: socket.socket) -> int:
        with contextlib.suppress(OSError):
            data = one.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            words = struct.unpack(f"{len(data) // 4}I", data)
            if len(words) > MEMINFO_DROPS:
                return int(words[MEMINFO_DROPS])
        return self._dropped_by_table(one)

    @staticmethod
    def _dropped_by_table(one: socket.socket) -> int:
        # Where the option is not to be had (an emulated processor): the system's own table, whose
        # last column is what was dropped.
        inode = str(os.fstat(one.fileno()).st_ino)
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
        family = socket.AF_INET if len(sender) == 2 else socket.AF_INET6
        one = self._by_family.get(family, self._sockets[0])
        try:
            one.sendto(packet, sender)
        except (OSError, ValueError, OverflowError):
            self.answers_lost += 1

    def close(self) -> None:
        """Free the port."""
        for one in self._sockets:
            one.close()
