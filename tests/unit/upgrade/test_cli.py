"""`crowdstream upgrade` where there is nothing to upgrade."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdstream.supervisor.upgrade import address_of
from crowdstream.system.installation import Installation
from crowdstream.upgrade.cli import upgrade

PORT = 200_000 + os.getpid()  # no UDP port has this number


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(address_of(PORT))
        made.listen()
        yield made


def greet(listener: socket.socket, message: bytes) -> threading.Thread:
    """Answer one client."""

    def answer() -> None:
        client, _address = listener.accept()
        with client:
            client.send(message)
            client.recv(100)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade([".", "--port", str(PORT)]) == 1
    error = capsys.readouterr().err
    assert f"no server that can be upgraded has OSC port {PORT}" in error and "--port" in error


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b'{"refused": "only the server\'s user"}', "only the server's user"),
        (b"{}", "is not a CrowdStream server"),
        (b"x", "no server that can be upgraded"),
    ],
)
def test_a_program_that_does_not_greet(
    listener: socket.socket, capsys: pytest.CaptureFixture[str], message: bytes, reason: str
) -> None:
    thread = greet(listener, message)
    assert upgrade([".", "--port", str(PORT)]) == 1
    thread.join()
    assert reason in capsys.readouterr().err


def test_a_wrong_path_is_reported_before_anything_is_requested(
    listener: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Installation.own()
    hello = {
        "running": own, "started": own, "layout": "abc", "protocol": 1, "pid": 1, "busy": "",
        "service": False, "environment": {},
    }  # fmt: skip
    thread = greet(listener, json.dumps(hello).encode())
    assert upgrade([str(tmp_path), "--port", str(PORT)]) == 2
    thread.join()
    assert "is not CrowdStream" in capsys.readouterr().err


@pytest.mark.parametrize("trial", ["0", "4000", "x"])
def test_a_wrong_trial_is_refused(capsys: pytest.CaptureFixture[str], trial: str) -> None:
    with pytest.raises(SystemExit) as raised:
        upgrade([".", "--trial", trial])
    assert raised.value.code == 2 and "--trial" in capsys.readouterr().err
