"""Sending to lighting programs and DMX receivers: one thread per target, which may block.

A target that is gone, slow or refuses is reported once and tried again with growing pauses. What
it has not taken in time is discarded: lights that follow late are worse than none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import platform
import select
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from crowdstream.lights.discovery import find_os2l
from crowdstream.lights.dmx import artnet_packet, sacn_group, sacn_packet
from crowdstream.settings.light_target import (
    ARTNET,
    BROADCAST,
    MULTICAST,
    OS2L,
    SACN,
    LightTarget,
)
from crowdstream.system.restart_policy import RestartPolicy

MAX_QUEUE = 32  # items; a target that takes none for this long gets only newer ones
MAX_AGE_SECONDS = 0.25  # an item that has waited longer is discarded
MIN_PAUSE, MAX_PAUSE = 0.5, 15.0  # s between two attempts; doubles
SETTLED_SECONDS = 10.0
CONNECT_SECONDS = 3.0
IDLE_SECONDS = 0.5  # without an item, after which a connection is looked at
SEND_SECONDS = 1.0  # for a connection to take a message, and a half-open one to be noticed
REFUSED_SECONDS = 0.1  # after which datagrams that were not refused are being received
RECOVERED_SECONDS = 4.0  # the same after a failure: an address that nobody has fails after 3 s
TTL = 8  # of multicast: through a few routers, not out of the building
SOURCE_NAME = "CrowdStream"
TERMINATIONS = 3  # E1.31, 6.2.6: packets that end a stream


class Output(ABC):
    """A target, and the thread that sends to it. `changed` is called in that thread.

    `state`: searching, sending or failed; `reason`: why it is not sending. Counters: `sent` items,
    `lost` items that were discarded, `failures` times that it stopped working.
    """

    def __init__(self, target: LightTarget, changed: Callable[[], None]) -> None:
        self.target = target
        self.state, self.reason = "searching", ""
        self.sent = self.lost = self.failures = 0
        self._changed = changed
        self._items: deque[tuple[float, Any]] = deque()
        self._ready = threading.Condition()
        self._closing = threading.Event()
        self._restarts = RestartPolicy(MIN_PAUSE, MAX_PAUSE, settled=SETTLED_SECONDS)
        self._thread = threading.Thread(target=self._run, name=f"to {target.text}", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def offer(self, item: Any) -> None:
        """Queue an item. Never waits."""
        with self._ready:
            if len(self._items) >= MAX_QUEUE:
                self._items.popleft()
                self.lost += 1
            self._items.append((time.monotonic(), item))
            self._ready.notify()

    def close(self) -> None:
        """Stop sending, without waiting."""
        self._closing.set()
        with self._ready:
            self._ready.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread after `close`."""
        self._thread.join(seconds)

    def values(self) -> dict[str, Any]:
        """State and counters as JSON values."""
        return {
            "target": self.target.text, "state": self.state, "reason": self.reason,
            "sent": self.sent, "lost": self.lost, "failures": self.failures,
        }  # fmt: skip

    @abstractmethod
    def open(self) -> None:
        """Connect, or raise `OSError` with a reason in words."""

    @abstractmethod
    def send(self, item: Any) -> None:
        """Send one item, or raise `OSError`."""

    @abstractmethod
    def check(self) -> None:
        """Look at the connection while there is nothing to send; raise `OSError` if it is lost."""

    @abstractmethod
    def end(self) -> None:
        """Disconnect. Must not raise, and may be called without a connection."""

    def _run(self) -> None:
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                self.open()
                self._send_all()
            except OSError as error:
                if self._closing.is_set():
                    break
                self._set("failed", error.strerror or str(error))
            finally:
                self.end()
            self._closing.wait(self._restarts.next_delay(time.monotonic() - begun))
            with self._ready:
                self.lost += len(self._items)
                self._items.clear()
        self.end()

    def _works(self, seconds: float) -> bool:
        # Whether a connection that has lasted for some seconds without an error works.
        return True

    def _send_all(self) -> None:
        begun = time.monotonic()
        while True:
            with self._ready:
                if not self._items and not self._closing.is_set():
                    self._ready.wait(IDLE_SECONDS)
                if self._closing.is_set():
                    return
                since, item = self._items.popleft() if self._items else (0.0, None)
            if item is None:
                self.check()
                continue
            if time.monotonic() - since > MAX_AGE_SECONDS:
                self.lost += 1
                continue
            self.send(item)
            self.sent += 1
            if self._works(time.monotonic() - begun):
                self._set("sending", "")

    def _set(self, state: str, reason: str) -> None:
        if (state, reason) != (self.state, self.reason):
            if state == "failed" and self.state != "failed":
                self.failures += 1
            self.state, self.reason = state, reason
            self._changed()


def _in_words(error: OSError, target: LightTarget) -> OSError:
    # The same error with a reason that names the receiver.
    where = f"{target.host or 'the receiver'}, port {target.port}"
    match error.errno:
        case errno.ECONNREFUSED:
            reason = f"nothing receives at {where}"
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            reason = f"there is no route to {where}: check the network, or set interface="
        case errno.EADDRNOTAVAIL:
            reason = f"this machine has no interface {target.interface}"
        case _:
            text = "it does not respond" if isinstance(error, TimeoutError) else error.strerror
            reason = f"{where}: {text or error}"
    return OSError(error.errno or 0, reason)


class DmxOutput(Output):
    """sACN or Art-Net. Items are the values of the channels of the map."""

    def __init__(self, target: LightTarget, changed: Callable[[], None]) -> None:
        super().__init__(target, changed)
        self._socket: socket.socket | None = None
        self._sequence = 0
        # The same machine is the same source after a restart; two servers on it are two.
        self._cid = uuid.uuid5(uuid.NAMESPACE_DNS, f"{platform.node()}/{target.text}")

    def open(self) -> None:
        """Make a socket that is connected to the receiver."""
        target = self.target
        hosts = {MULTICAST: sacn_group(target.universe), BROADCAST: "255.255.255.255"}
        try:
            family, _, _, _, address = socket.getaddrinfo(
                hosts.get(target.host, target.host), target.port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = made = socket.socket(family, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if family == socket.AF_INET:
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
            if target.interface:
                made.bind((target.interface, 0))
                if family == socket.AF_INET:
                    packed = socket.inet_aton(target.interface)
                    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
            made.connect(address)
        except OSError as error:
            raise _in_words(error, target) from error

    def _works(self, seconds: float) -> bool:
        # A datagram that nobody receives is refused later, or after the address was not resolved.
        return seconds >= (RECOVERED_SECONDS if self.state == "failed" else REFUSED_SECONDS)

    def send(self, item: bytes) -> None:
        """Send one universe."""
        assert self._socket is not None
        slots = bytes(self.target.channel - 1) + item
        try:
            self._socket.send(self._packet(slots))
        except OSError as error:
            raise _in_words(error, self.target) from error

    def check(self) -> None:
        """Datagrams need no connection."""

    def _packet(self, slots: bytes, terminated: bool = False) -> bytes:
        target = self.target
        if target.kind == ARTNET:
            self._sequence = self._sequence % 255 + 1  # 0 would switch the sequence off
            return artnet_packet(target.universe, slots, self._sequence)
        self._sequence = (self._sequence + 1) % 256
        return sacn_packet(
            target.universe, slots, self._sequence, self._cid, SOURCE_NAME, target.priority,
            terminated,
        )

    def end(self) -> None:
        """End the stream and close the socket."""
        made, self._socket = self._socket, None
        if made is None:
            return
        with contextlib.suppress(OSError):
            slots = bytes(self.target.channel - 1 + 16)
            for _ in range(TERMINATIONS if self._closing.is_set() else 0):
                made.send(self._packet(slots, self.target.kind == SACN))
        made.close()


class Os2lOutput(Output):
    """An OS2L program. Items are messages, which are sent as JSON."""

    def __init__(self, target: LightTarget, changed: Callable[[], None]) -> None:
        super().__init__(target, changed)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Find the program, and connect to it."""
        target = self.target
        address = (target.host, target.port)
        if not target.host:
            found = find_os2l(target.interface, self._closing)
            if found is None:
                raise OSError(0, "no OS2L program has announced itself (_os2l._tcp)")
            address = found
        try:
            self._socket = made = socket.create_connection(address, CONNECT_SECONDS)
        except OSError as error:
            raise _in_words(error, target) from error
        made.settimeout(SEND_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = round(1000 * SEND_SECONDS)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        self._set("sending", "")

    def send(self, item: Mapping[str, Any]) -> None:
        """Send one message."""
        assert self._socket is not None
        try:
            self._discard_feedback(self._socket)
            self._socket.sendall(json.dumps(item, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise _in_words(error, self.target) from error

    def check(self) -> None:
        """Notice that the program has ended, although nothing plays."""
        assert self._socket is not None
        try:
            self._discard_feedback(self._socket)
        except OSError as error:
            raise _in_words(error, self.target) from error

    @staticmethod
    def _discard_feedback(made: socket.socket) -> None:
        # The program reports the state of its buttons; unread reports would block it.
        while select.select([made], [], [], 0.0)[0]:
            if not made.recv(65536):
                raise OSError(errno.ECONNRESET, "the program has closed the connection")

    def end(self) -> None:
        """Close the connection."""
        made, self._socket = self._socket, None
        if made is not None:
            made.close()


def make_output(target: LightTarget, changed: Callable[[], None]) -> Output:
    """Return the output for a target; `start` it."""
    return (Os2lOutput if target.kind == OS2L else DmxOutput)(target, changed)
