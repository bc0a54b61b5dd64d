"""A controller over UDP: through either loopback, with a reply port, and across a failover."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.osc.codec import build, parse
from tests.support.server import WAIT_SECONDS, Running, SharedServer, ended, until

NULL = ("--driver", "null", "--buffer-size", "256", "--standby", "off")
Said = tuple[Any, ...]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made.get()


class Controller:
    """A client that sends from one port and receives on another, like TouchOSC."""

    def __init__(self, running: Running, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._out = socket.socket(family, socket.SOCK_DGRAM)
        self._out.connect((host, running.port))
        self._home = socket.socket(family, socket.SOCK_DGRAM)
        self._home.bind((host, 0))
        self._home.settimeout(WAIT_SECONDS)
        self._waiting: list[Said] = []
        self.port = int(self._home.getsockname()[1])

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._out.close()
        self._home.close()

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message."""
        self._out.send(build(address, arguments))

    def await_message(self, *wanted: Any) -> None:
        """Receive messages until one begins with `wanted`."""
        while True:
            while self._waiting:
                if self._waiting.pop(0)[: len(wanted)] == wanted:
                    return
            self._waiting = [
                (one.address, *one.params) for _, one in parse(self._home.recv(65536))
            ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_controller_gets_values_at_its_port_through_either_loopback(
    running: Running, host: str
) -> None:
    with Controller(running, host) as controller:
        controller.send("/notify", 1.0, float(controller.port))
        controller.await_message("/done", "/notify")
        controller.send("/feedback", 1, 0)
        controller.await_message("/mix/level", 1.0)
        controller.send("/mix/level", 0.25)  # its own: not sent back
        controller.send("/sync", 1)
        controller.await_message("/synced", 1)
        running.client.send("/mix/level", 0.5)
        controller.await_message("/mix/level", 0.5)
        controller.send("/nothing")
        controller.await_message("/fail", "/nothing")
        running.client.await_noted()
        control = running.child_named("control")
        control.send_signal(signal.SIGKILL)
        until(lambda: ended(control))
        controller.await_message("/mix/level", 0.5)  # the new control sends all values first
        running.client.send("/mix/level", 1.0)
        controller.await_message("/mix/level", 1.0)
        controller.send("/status")
        controller.await_message("/status.reply")
