"""A small OSC client: one UDP socket that sends messages and bundles, and receives replies."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket, ParseError

from crowdstream.demo.plan import Argument, Message

MAX_DATAGRAM = 65536


@dataclass(frozen=True)
class Answer:
    """A message received from the server."""

    address: str
    arguments: tuple[object, ...]


def _built(address: str, arguments: Iterable[Argument]) -> OscMessage:
    builder = OscMessageBuilder(address=address)
    for argument in arguments:
        builder.add_arg(argument)
    return builder.build()


class OscClient:
    """Client of a server on this machine. It owns its socket: `close` it, or use ``with``."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("", 0) if host != "127.0.0.1" else (host, 0))
        self._socket.setblocking(False)

    def __enter__(self) -> OscClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, address: str, *arguments: Argument) -> None:
        """Send one message that takes effect on arrival."""
        self._socket.sendto(_built(address, arguments).dgram, self.target)

    def send_at(self, at: float, messages: Iterable[Message]) -> None:
        """Send a bundle whose messages take effect exactly at the Unix time `at`, in seconds."""
        builder = OscBundleBuilder(at)  # type: ignore[arg-type]  # takes Unix seconds as well
        for message in messages:
            builder.add_content(_built(message.address, message.arguments))
        self._socket.sendto(builder.build().dgram, self.target)

    def receive(self, wait: float) -> list[Answer]:
        """Return received messages, waiting up to `wait` seconds for one; skip malformed ones."""
        received: list[Answer] = []
        ready, _, _ = select.select([self._socket], [], [], max(wait, 0.0))
        while ready:
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except (BlockingIOError, ConnectionError):
                break
            try:
                timed = OscPacket(datagram).messages
            except ParseError:
                continue
            received.extend(
                Answer(item.message.address, tuple(item.message.params)) for item in timed
            )
        return received
