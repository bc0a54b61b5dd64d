"""OSC over UDP: receive without loss, and reply to the sender.

The control thread itself reads the sockets: it drains them completely before it parses anything, so
that a burst is queued in our memory (`fair_queue.py`) rather than in the kernel's buffer. Lost
packets are counted.

The interface of the OSC socket that the dispatcher needs: replies and counters.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from crowdstream.osc.acl import AllowList
from crowdstream.osc.codec import Malformed, Message, build, parse
from crowdstream.osc.fair_queue import FairQueue
from crowdstream.system.port_holders import in_use_by

__all__ = ["Malformed", "Message", "OscSocket", "PortTaken", "build", "parse"]

log = logging.getLogger(__name__)

TURN_SECONDS = 0.01  # of handling packets, before control's other work has its turn
MAX_DRAINED_PACKETS = 8192  # read before the queued ones are handled, however fast more arrive
RECEIVE_BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO_DROPS = 8
INODE_COLUMN = 9  # column of /proc/net/udp
MAX_PACKET_BYTES = 65536
OSC_PORT = 57120  # the default, which is also the default of sclang


_NO_ADDRESS = "this machine has no such address; set --osc-host to one of its own, or to 0.0.0.0"
_OTHER = "choose another port with --port"
ADVICE = {
    errno.EACCES: f"ports below 1024 are reserved for root; {_OTHER}",
    errno.EADDRNOTAVAIL: _NO_ADDRESS,
    socket.EAI_NONAME: _NO_ADDRESS,
    socket.EAI_AGAIN: _NO_ADDRESS,
}


class PortTaken(RuntimeError):
    """The UDP port can't be opened; the message names the reason and the remedy."""


def port_taken_message(host: str, port: int) -> str:
    """Return an error message that names the process using the port, and the remedy."""
    also = (
        "; sclang and SuperDirt also use 57120: see docs/how-to/supercollider-and-tidal.md"
        if port == OSC_PORT else ""
    )
    return (
        f"UDP port {port} on {host} is {in_use_by('udp', port)}: end that, or start this server "
        f"with --port {port + 10 if port < 65526 else port - 10} and send to that port{also}"
    )


# A client that resolves `localhost` may send to either loopback address, and one on a network with
# either protocol. UDP does not retry: a packet to an address without a listener is lost.
COMPANIONS = {"127.0.0.1": "::1", "localhost": "::1", "::1": "127.0.0.1"}
COMPANIONS["0.0.0.0"] = "::"  # nosec B104  # only if the user has set this host
MAX_TRIES = 8  # to find a port that is free for both protocols

# A machine may have several addresses, and a connected client accepts replies only from the one to
# which it sends. By default the system takes the address of the route back.
ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # nosec B104  # compared, not bound
IP_PKTINFO = 8
_IPV4_INFO = struct.Struct("=I4s4s")  # interface; local address; destination of the packet
_IPV6_INFO = struct.Struct("=16sI")  # local address; interface
INFO_BYTES = socket.CMSG_SPACE(_IPV6_INFO.size)
MAX_SENDER_HOSTS = 4096  # remembered with the address to which they send

_LocalAddress = tuple[int, int, bytes]
"""The address to which a host sends, as a control message of the system."""


def _local_address(level: int, kind: int, data: bytes) -> _LocalAddress | None:
    # The interface is left to the route: it may differ from the one on which packets arrive.
    if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
        _interface, local, _destination = _IPV4_INFO.unpack(data)
        return level, kind, _IPV4_INFO.pack(0, local, bytes(4))
    if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
        local, _interface = _IPV6_INFO.unpack(data)
        return level, kind, _IPV6_INFO.pack(local, 0)
    return None


class OscSocket:
    """The server's UDP sockets, and the queue of received packets. For the control thread.

    On a loopback address or on all addresses, it listens on both IPv4 and IPv6 if the machine has
    both. On all addresses, a reply is sent from the one to which its receiver sends. `received`
    counts packets that were read; `refused`, `limited` and `barred` those of them that are not
    handled (see `FairQueue`); `dropped` packets that the kernel lost before they could be read.
    """

    def __init__(
        self, host: str, port: int, allow: Sequence[str] = (), kept: Sequence[int] | None = None
    ) -> None:
        """Bind the sockets, or adopt the descriptors `kept`, which are bound already.

        Raises `PortTaken`.
        """
        if kept is None:
            self._sockets = self._bind_all(host, port)
            self._enlarge()
        else:
            self._sockets = [socket.socket(fileno=fd) for fd in kept]
        for one in self._sockets:
            one.setblocking(False)
        self._by_family = {one.family: one for one in self._sockets}
        self._on_all = {one for one in self._sockets if self._reports_addresses(one)}
        self._local_addresses: dict[str, _LocalAddress] = {}
        self._allow = AllowList(allow, host)
        self._queue = FairQueue(self._allow)
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
                    return [made]  # the machine has only one of the protocols
                if port:
                    log.warning(
                        "UDP port %d on %s is %s: clients that send there, which `localhost` may "
                        "resolve to, do not reach this server", number, companion,
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
                raise PortTaken(port_taken_message(host, port)) from error
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
                # `::` beside 0.0.0.0 is IPv6 only; alone it is both, whatever the system's default.
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(alone))
            made.bind((host, port))
        except (OSError, OverflowError):
            made.close()
            raise
        return made

    @staticmethod
    def _reports_addresses(one: socket.socket) -> bool:
        # Makes a socket that is bound to all addresses report the address of each packet.
        if one.getsockname()[0] not in ALL_ADDRESSES:
            return False
        options = (
            (socket.IPPROTO_IP, IP_PKTINFO) if one.family == socket.AF_INET
            else (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)
        )
        with contextlib.suppress(OSError):
            one.setsockopt(*options, 1)
            return True
        return False

    def to_state(self) -> list[int]:
        """Return the counters as JSON-compatible state; see `restore`."""
        queue = self._queue
        return [self.received, self.answers_lost, queue.barred, queue.limited, queue.refused]

    def restore(self, state: list[int]) -> None:
        """Continue the counters of an earlier control process."""
        queue = self._queue
        self.received, self.answers_lost, queue.barred, queue.limited, queue.refused = state

    def _enlarge(self) -> None:
        for one in self._sockets:
            try:
                one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except OSError:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def allow(self, networks: Sequence[str]) -> None:
        """Trust the senders of these networks from now on; see `AllowList`."""
        self._allow.change(networks)

    def filenos(self) -> list[int]:
        """Return the sockets' descriptors, for a selector."""
        return [one.fileno() for one in self._sockets]

    def drain(self) -> None:
        """Read all packets that have arrived into the queue."""
        for one in self._sockets:
            self._drain(one)

    def _drain(self, one: socket.socket) -> None:
        put = self._queue.put
        receive: Callable[[int], tuple[bytes, Any]] = one.recvfrom
        if one in self._on_all:
            receive = partial(self._receive_noting_address, one)
        for _ in range(MAX_DRAINED_PACKETS):
            try:
                packet, sender = receive(MAX_PACKET_BYTES)
            except ConnectionError:
                continue  # an earlier reply was rejected; this says nothing about received packets
            except OSError:
                return  # no more packets
            self.received += 1
            put(packet, sender)

    def _receive_noting_address(self, one: socket.socket, size: int) -> tuple[bytes, Any]:
        packet, messages, _flags, sender = one.recvmsg(size, INFO_BYTES)
        for message in messages:
            local = _local_address(*message)
            known = self._local_addresses
            if local is not None and known.get(sender[0]) != local:
                known[sender[0]] = local
                if len(known) > MAX_SENDER_HOSTS:
                    del known[next(iter(known))]
        return packet, sender

    def take(self, limit: int) -> Iterator[tuple[bytes, Any]]:
        """Yield up to `limit` packets with their senders in fair order, for `TURN_SECONDS`."""
        until = time.monotonic() + TURN_SECONDS
        for _ in range(limit):
            packet = self._queue.take()
            if packet is None:
                return
            yield packet
            if time.monotonic() > until:
                return

    @property
    def waiting(self) -> int:
        """Number of packets that were read and are not handled yet."""
        return self._queue.waiting

    @property
    def ready(self) -> bool:
        """Whether `take` would yield a packet now; queued packets may have to wait for tokens."""
        return self._queue.ready

    @property
    def refused(self) -> int:
        """Packets that were not queued: above their sender's rate, or without room."""
        return self._queue.refused

    @property
    def limited(self) -> int:
        """Of these, packets above their sender's rate."""
        return self._queue.limited

    @property
    def barred(self) -> int:
        """Packets of senders that are not on the allow list."""
        return self._queue.barred

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped because its buffer was full."""
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
        # Without the socket option (on an emulated processor), read the system's table, whose last
        # column counts dropped packets.
        inode = str(os.fstat(one.fileno()).st_ino)
        for table in ("/proc/net/udp", "/proc/net/udp6"):
            with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if len(fields) > INODE_COLUMN and fields[INODE_COLUMN] == inode:
                        return int(fields[-1])
        return 0

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message to the address `sender`; count it if it can't be sent."""
        try:
            packet = build(address, arguments)
        except (ValueError, OverflowError):
            self.answers_lost += 1
        else:
            self.answer_packet(sender, packet)

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Send one encoded packet to the address `sender`; count it if it can't be sent."""
        family = socket.AF_INET if len(sender) == 2 else socket.AF_INET6
        one = self._by_family.get(family, self._sockets[0])
        local = self._local_addresses.get(sender[0])
        if local is not None:
            # Fails if it is not an address of this machine any more, or is one of a group.
            with contextlib.suppress(OSError, ValueError, OverflowError):
                one.sendmsg((packet,), (local,), 0, sender)
                return
        try:
            one.sendto(packet, sender)
        except (OSError, ValueError, OverflowError):
            self.answers_lost += 1

    def close(self) -> None:
        """Close the sockets, which frees the port."""
        for one in self._sockets:
            one.close()


class ReplySocket(Protocol):
    """Sends replies, and counts lost packets."""

    @property
    def refused(self) -> int:
        """Packets above their sender's rate, or without room."""

    @property
    def limited(self) -> int:
        """Of these, packets above their sender's rate."""

    @property
    def barred(self) -> int:
        """Packets of senders that are not on the allow list."""

    @property
    def dropped(self) -> int:
        """Packets that the kernel lost."""

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message to `sender`."""

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Send one encoded packet to `sender`."""
