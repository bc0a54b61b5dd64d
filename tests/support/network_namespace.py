"""A private network for a test: the addresses of several machines, all in one namespace.

    unshare -rn python -m tests.support.network_namespace <folder>

The addresses are assigned to the namespace's loopback device, so real sockets can be bound to them.
None of them is a loopback address: to a server they are other machines. The results are printed as
one JSON object, for `test_network.py`.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pythonosc.osc_message import OscMessage

from crowdstream.osc.codec import build
from tests.support.server import Running, server

SERVER, FRIEND, STRANGER = "10.77.0.1", "10.77.0.2", "10.77.0.3"
SERVER_6, STRANGER_6 = "fd77::1", "fd77:1::3"
FLOOD = 20_000  # packets
FLOOD_AT_ONCE = 100
ROUNDS = 20  # round trips to the server, after which all earlier packets are handled
NULL = ("--driver", "null", "--cache-mb", "64", "--standby", "off")
IFF_UP = 1
SIOCSIFFLAGS, SIOCSIFADDR = 0x8914, 0x8916  # from linux/sockios.h


def set_up() -> None:
    """Enable the namespace's loopback device and assign the addresses to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
        for number, host in enumerate((SERVER, FRIEND, STRANGER)):
            name, packed = f"lo:{number}".encode(), socket.inet_aton(host)
            request = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, packed)
            fcntl.ioctl(control, SIOCSIFADDR, request)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        for host in (SERVER_6, STRANGER_6):
            packed = socket.inet_pton(socket.AF_INET6, host)
            request = struct.pack("16sIi", packed, 128, socket.if_nametoindex("lo"))
            fcntl.ioctl(control, SIOCSIFADDR, request)


class Peer:
    """A socket on one of the addresses that sends to the server."""

    def __init__(self, own: str, to: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in own else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((own, 0))
        # Not connected: with all addresses on one machine, a reply may come from any of them.
        self._to = (to, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, address: str, *arguments: Any) -> int:
        """Send one message; return its size in bytes."""
        return self._socket.sendto(build(address, arguments), self._to)

    def received(self) -> list[bytes]:
        """Return all packets that have arrived."""
        found = []
        try:
            while True:
                found.append(self._socket.recv(65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return found

    def settled(self, running: Running) -> list[bytes]:
        """Return all packets once the server has handled everything that was sent before."""
        packets: list[bytes] = []
        for _ in range(ROUNDS):
            synchronize(running)
            packets += self.received()
        return packets

    def ask(self, running: Running, address: str, *arguments: Any) -> dict[str, Any]:
        """Send a message; return its size, that of the replies, and their contents."""
        sent = self.send(address, *arguments)
        packets = self.settled(running)
        return {
            "sent": sent,
            "got": sum(map(len, packets)),
            "said": [[message.address, *message.params] for message in map(OscMessage, packets)],
        }


def synchronize(running: Running) -> None:
    """Make a round trip to the server, again if the system drops the packet in a flood."""
    deadline = time.monotonic() + 120
    while True:
        try:
            running.client.request("/sync", 0, answer="/synced", seconds=2.0)
            return
        except TimeoutError:
            if time.monotonic() > deadline:
                raise


def during_a_flood(running: Running, flood: Peer, sequencer: Peer) -> dict[str, Any]:
    """Count the replies to one sender while another one floods the server."""
    answers = 0
    begin = time.monotonic()
    for _ in range(FLOOD // FLOOD_AT_ONCE):
        for _ in range(FLOOD_AT_ONCE):
            flood.send("/deck/A/level", 0.0)
        sequencer.send("/version")
        answers += len(sequencer.received())
    answers += len(sequencer.settled(running))
    return {"answered": answers, "flood_seconds": time.monotonic() - begin}


def with_a_list(running: Running) -> dict[str, Any]:
    """Test a server that admits one address."""
    with (
        Peer(FRIEND, SERVER, running.port) as friend,
        Peer(STRANGER, SERVER, running.port) as stranger,
    ):
        found: dict[str, Any] = {
            "friend": friend.ask(running, "/status"),
            "stranger": stranger.ask(running, "/status"),
            "barred": running.client.status()["barred"],
            **during_a_flood(running, stranger, friend),
        }
        found["level"] = running.client.status()["deck.A.level"]
        found["status"] = running.client.status()
        return found


def without(running: Running) -> dict[str, Any]:
    """Test a server that admits everyone, over both versions of IP."""
    found: dict[str, Any] = {}
    for name, own, to in (
        ("mapped", STRANGER, SERVER), ("six", STRANGER_6, SERVER_6),
        ("local", "127.0.0.1", "127.0.0.1"), ("local_six", "::1", "::1"),
    ):
        with Peer(own, to, running.port) as peer:
            found[name] = {
                question: peer.ask(running, question)
                for question in ("/status", "/notify", "/version")
            }
    with (
        Peer("127.0.0.1", "127.0.0.1", running.port) as sequencer,
        Peer(STRANGER, SERVER, running.port) as stranger,
    ):
        found |= during_a_flood(running, stranger, sequencer)
    found["status"] = running.client.status()
    return found


def main(arguments: Sequence[str]) -> int:
    """Set up the addresses, run both servers, and print the results."""
    folder = Path(arguments[0])
    set_up()
    found = {}
    for name, see, options in (
        ("list", with_a_list, ("--osc-host", "0.0.0.0", "--osc-allow", f"{FRIEND}/32")),
        ("open", without, ("--osc-host", "::")),
    ):
        own = folder / name
        own.mkdir()
        with server(own, *NULL, *options) as running:
            found[name] = {**see(running), "log": running.log()}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
