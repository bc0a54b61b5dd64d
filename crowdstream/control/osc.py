"""OSC over UDP: receiving without loss, parsing without trust, answering the sender.

python-osc parses and builds the packets. The socket is read by the control thread itself,
whatever has come at once and before anything is parsed, so that a burst waits in a list of
ours rather than in the kernel's buffer; what is lost is counted.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

log = logging.getLogger(__name__)

BACKLOG = 100_000  # packets that may wait; more are refused and counted
RECEIVE_BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO_DROPS = 8
BIGGEST = 65536
DEEPEST = 16  # bundles within bundles
IMMEDIATELY_SECONDS = 1e-3 - 2208988800  # a time tag of 1 means now; see OSC 1.0


class Malformed(ValueError):
    """A packet that is not OSC."""


class PortTaken(RuntimeError):
    """The UDP port can't be had; the message says why and what to do."""


def parse(packet: bytes) -> Iterator[tuple[float | None, OscMessage]]:
    """Messages of a packet in order, each with its time (Unix seconds; None for now).

    Raises `Malformed`, before anything is yielded of a packet that is not whole.
    """
    return iter(_parse(packet))


def _parse(packet: bytes) -> list[tuple[float | None, OscMessage]]:
    try:
        if OscBundle.dgram_is_bundle(packet):
            return _of_bundle(OscBundle(packet), 0)
        if OscMessage.dgram_is_message(packet):
            return [(None, OscMessage(packet))]
    except Malformed:
        raise
    except Exception as error:  # noqa: BLE001  (the parser raises what it likes on bad input)
        raise Malformed(f"not an OSC packet: {error}") from error
    raise Malformed("not an OSC packet: it begins with neither / nor #bundle")


def _of_bundle(bundle: OscBundle, depth: int) -> list[tuple[float | None, OscMessage]]:
    if depth > DEEPEST:
        raise Malformed(f"bundles nested more than {DEEPEST} deep")
    moment: float | None = float(bundle.timestamp)
    if bundle.timestamp <= IMMEDIATELY_SECONDS:
        moment = None
    found: list[tuple[float | None, OscMessage]] = []
    for content in bundle:
        if isinstance(content, OscBundle):
            found += _of_bundle(content, depth + 1)
        else:
            found.append((moment, content))
    return found


def build(address: str, arguments: tuple[Any, ...]) -> bytes:
    """One OSC message. ints are sent as i (h when they need it), floats as f."""
    builder = OscMessageBuilder(address)
    for value in arguments:
        if isinstance(value, bool):
            builder.add_arg(int(value), "i")
        elif isinstance(value, int):
            builder.add_arg(value, "i" if -(2**31) <= value < 2**31 else "h")
        elif isinstance(value, float):
            builder.add_arg(value, "f")
        else:
            builder.add_arg(str(value), "s")
    return bytes(builder.build().dgram)


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
            raise PortTaken(
                f"UDP port {port} on {host} can't be used ({reason}): another server may be "
                "running; end it, or choose another with --port"
            ) from error
        self._socket.setblocking(False)
        self._enlarge()
        self._waiting: deque[tuple[bytes, Any]] = deque()
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
        """Take in everything that has arrived."""
        receive = self._socket.recvfrom
        while True:
            try:
                packet, sender = receive(BIGGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier answer bounced: nothing to do with what comes in
            self.received += 1
            if len(self._waiting) >= BACKLOG:
                self.refused += 1
            else:
                self._waiting.append((packet, sender))

    def take(self, most: int) -> Iterator[tuple[bytes, Any]]:
        """Up to `most` packets with their senders, oldest first."""
        for _ in range(min(most, len(self._waiting))):
            yield self._waiting.popleft()

    @property
    def waiting(self) -> int:
        """Packets taken in and not yet handled."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Packets that the kernel threw away because its buffer was full."""
        try:
            data = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
        except OSError:
            return 0
        words = struct.unpack(f"{len(data) // 4}I", data)
        return int(words[MEMINFO_DROPS]) if len(words) > MEMINFO_DROPS else 0

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message to whoever sent from `sender`; what can't be sent is counted."""
        try:
            self._socket.sendto(build(address, arguments), sender)
        except OSError:
            self.answers_lost += 1

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
