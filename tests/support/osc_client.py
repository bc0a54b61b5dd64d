"""An OSC client for tests and benchmarks, with its waiting functions."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage

from crowdstream.control.state.snapshotter import REST_SECONDS
from crowdstream.osc.socket import build

WAIT_SECONDS = 120.0  # timeout of all waits; generous, because the machine may be busy
# Between two checks of a condition. A check costs the server and this process a millisecond or two
# each, which is negligible if the interval is a tenth of the time waited so far. Forty checks per
# second of a long wait would be a tenth of a core.
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS, PAUSE_SHARE = 0.005, 0.1, 0.1


class ServerError(RuntimeError):
    """The server under test has ended or misbehaves."""


class Refused(ServerError):
    """The server has answered `/fail`."""


def until(
    condition: Callable[..., object], seconds: float = WAIT_SECONDS, what: str = "the condition"
) -> None:
    """Wait until `condition()` is true; raises `TimeoutError` after `seconds`."""
    begin = time.monotonic()
    while not condition():
        waited = time.monotonic() - begin
        if waited > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(min(max(MIN_PAUSE_SECONDS, PAUSE_SHARE * waited), MAX_PAUSE_SECONDS))


class OscClient:
    """Sends OSC to a server, usually on loopback, and receives its replies and notifications.

    `strict`: raise `Refused` when a `/fail` arrives while another reply is awaited.
    """

    def __init__(self, port: int, strict: bool = False, host: str = "127.0.0.1") -> None:
        self.strict = strict
        self._syncs = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))

    def __del__(self) -> None:
        # A test that fails leaves its clients open. Python would warn of their sockets in another
        # test, which would then fail, too.
        self._socket.close()

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message."""
        self.send_raw(build(address, arguments))

    def send_raw(self, packet: bytes) -> None:
        """Send any bytes as one packet."""
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.send(packet)

    def bundle(self, unix_seconds: float, *messages: tuple[Any, ...]) -> None:
        """Send messages, each `(address, argument, ...)`, as one time-tagged bundle."""
        builder = OscBundleBuilder(unix_seconds)  # type: ignore[arg-type]
        for address, *arguments in messages:
            builder.add_content(OscMessage(build(address, tuple(arguments))))
        self._socket.send(builder.build().dgram)

    def receive(self, seconds: float = WAIT_SECONDS) -> tuple[str, list[Any]]:
        """Return the next reply or notification as address and arguments; raises `TimeoutError`."""
        self._socket.settimeout(seconds)
        while True:
            try:
                message = OscMessage(self._socket.recv(65536))
            except ConnectionRefusedError:
                continue
            return message.address, list(message.params)

    def receive_until(self, address: str, seconds: float = WAIT_SECONDS) -> list[Any]:
        """Receive messages up to the next one with that address; return its arguments."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            received, values = self.receive(max(0.001, deadline - time.monotonic()))
            if received == address:
                return values
            if self.strict and received == "/fail":
                raise Refused(f"the server refused: {' '.join(map(str, values))}")
        raise TimeoutError(f"no {address} within {seconds:g} s")

    def request(
        self, address: str, *arguments: Any, answer: str, seconds: float = WAIT_SECONDS
    ) -> list[Any]:
        """Send a message, wait for the reply with that address, and return its arguments."""
        self.send(address, *arguments)
        return self.receive_until(answer, seconds)

    def synchronize(self) -> list[tuple[str, list[Any]]]:
        """Wait until everything sent so far is handled; return the messages received until then."""
        self._syncs += 1
        self.send("/sync", self._syncs)
        received: list[tuple[str, list[Any]]] = []
        while True:
            address, values = self.receive()
            if (address, values[-1:]) == ("/synced", [self._syncs]):
                return received
            received.append((address, values))

    def status(self) -> dict[str, Any]:
        """Return the named values of the server's status."""
        values = self.request("/status", answer="/status.reply")[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    def await_noted(self) -> None:
        """Wait until control has saved the effects of everything sent, so that they survive it."""
        self.synchronize()
        time.sleep(REST_SECONDS)  # control saves its state in the first turn after this pause
        self.synchronize()

    def await_frames(self, frames: int) -> None:
        """Wait until `frames` more frames have been rendered."""
        end = self.status()["frame"] + frames
        until(lambda: self.status()["frame"] >= end)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
