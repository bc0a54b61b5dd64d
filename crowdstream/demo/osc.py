"""The demo's connection: sends messages and bundles, and returns what has been received."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from crowdstream.client.endpoint import Endpoint
from crowdstream.demo.plan import Argument, Message
from crowdstream.osc.codec import Malformed, build, bundle, parse


@dataclass(frozen=True)
class Answer:
    """A message received from the server."""

    address: str
    arguments: tuple[object, ...]


class OscClient:
    """Client of a server on this machine. It owns its socket: `close` it, or use ``with``."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._endpoint = Endpoint(host, port)
        self.port = self._endpoint.port

    def __enter__(self) -> OscClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._endpoint.close()

    def send(self, address: str, *arguments: Argument) -> None:
        """Send one message that takes effect on arrival."""
        self._send(build(address, arguments))

    def send_at(self, at: float, messages: Iterable[Message]) -> None:
        """Send a bundle whose messages take effect exactly at the Unix time `at`, in seconds."""
        self._send(bundle([build(one.address, one.arguments) for one in messages], at))

    def _send(self, packet: bytes) -> None:
        try:
            self._endpoint.send(packet)
        except ConnectionRefusedError:  # reports an earlier packet; this one was not sent
            self._endpoint.send(packet)

    def receive(self, wait: float) -> list[Answer]:
        """Return received messages, waiting up to `wait` seconds for one; skip malformed ones."""
        received: list[Answer] = []
        until = time.monotonic() + wait
        while True:
            left = 0.0 if received else max(0.0, until - time.monotonic())
            try:
                packet = self._endpoint.receive(left)
            except ConnectionRefusedError:  # the server is still starting
                continue
            if packet is None:
                return received
            try:
                messages = parse(packet)
            except Malformed:
                continue
            received += [Answer(message.address, message.params) for _time, message in messages]
