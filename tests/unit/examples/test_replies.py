"""The sequencer that reads replies: tracks in sequence, a bad one, and no server."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from crowdstream.client import Client
from crowdstream.osc.codec import build, bundle, parse
from examples.sequencers import replies
from tests.support.server import free_port

Message = tuple[str, tuple[Any, ...]]


@contextmanager
def answering() -> Iterator[tuple[int, list[Message]]]:
    """Run a server whose tracks end at once; yields its port and input. `bad.wav` is no audio."""
    got: list[Message] = []
    ended = threading.Event()
    loaded: list[int] = []

    def answer(address: str, arguments: tuple[Any, ...]) -> list[Message]:
        if address == "/ping":
            return [("/pong", arguments[:1])]
        if address.endswith("/load"):
            if arguments == ("bad.wav",):
                return [("/fail", (address, "it is no audio file"))]
            loaded.append(100 if "A" in address else 1100)
            return [("/done", (address, loaded[-1]))]
        if address.endswith("/play"):
            return [("/ended", (loaded[-1], "it"))]
        return [("/done", (address, 1, 64))] if address == "/notify" else []

    def listen() -> None:
        while not ended.is_set():
            try:
                packet, sender = own.recvfrom(65536)
            except TimeoutError:
                continue
            for _time, message in parse(packet):
                got.append((message.address, message.params))
                if said := answer(*got[-1]):
                    own.sendto(bundle([build(*one) for one in said]), sender)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(0.02)
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield own.getsockname()[1], got
        finally:
            ended.set()
            thread.join()


def test_tracks_play_in_sequence_and_a_bad_one_is_skipped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering() as (port, got), Client(port=port) as server:
        assert replies.play(server, ["a.wav", "bad.wav", "b.wav", "c.wav"]) == 3
    told = capsys.readouterr()
    assert told.err == "bad.wav: it is no audio file\n"
    decks = [address for address, _ in got if address.endswith("/play")]
    assert decks == ["/deck/A/play", "/deck/B/play", "/deck/A/play"]
    assert "4 of 4: c.wav on deck A" in told.out


def test_a_server_that_is_not_running_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["replies.py", "a.wav", "--port", str(free_port())])
    monkeypatch.setattr("crowdstream.client.sync_client.TIMEOUT_SECONDS", 0.2)
    assert replies.main() == 1
    assert "no program listens" in capsys.readouterr().err
