"""The sequencer that reads replies: lost packets, refusals, and events between the replies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import build_msg
from pythonosc.osc_packet import OscPacket

from examples.sequencers import replies
from examples.sequencers.replies import Refused, Server, play

Message = tuple[str, list[Any]]


@contextmanager
def answering(answer: Callable[[Message], list[Message]]) -> Iterator[tuple[int, list[Message]]]:
    """Run a server that sends the replies of `answer` as one bundle; yields its port and input."""
    got: list[Message] = []
    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            try:
                packet, sender = own.recvfrom(65536)
            except TimeoutError:
                continue
            for timed in OscPacket(packet).messages:
                got.append((timed.message.address, timed.message.params))
                if said := answer(got[-1]):
                    bundle = OscBundleBuilder(IMMEDIATELY)
                    for address, arguments in said:
                        bundle.add_content(build_msg(address, arguments))
                    own.sendto(bundle.build().dgram, sender)

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


@contextmanager
def client(port: int) -> Iterator[Server]:
    server = Server("127.0.0.1", port)
    try:
        yield server
    finally:
        server.close()


def test_a_request_returns_its_values_and_keeps_events() -> None:
    def answer(message: Message) -> list[Message]:
        address = message[0]
        return [("/ended", [100, "a"]), ("/done", ["/other"]), ("/done", [address, 1100])]

    with answering(answer) as (port, _), client(port) as server:
        assert server.request("/deck/B/load", "b.wav") == [1100]
        assert server.wait_for("/ended", 60.0) == [100, "a"]
        assert server.wait_for("/ended", 0.01) is None


def test_a_refusal_raises_an_exception_with_the_reason() -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "/sync":
            return [("/synced", message[1])]
        return [("/fail", [message[0], "no such file"])]

    with answering(answer) as (port, _), client(port) as server:
        with pytest.raises(Refused, match="no such file"):
            server.request("/deck/A/load", "gone.wav")
        with pytest.raises(Refused, match="no such file"):
            server.command("/deck/A/play")


def test_a_command_without_a_reply_ends_with_synced() -> None:
    def answer(message: Message) -> list[Message]:
        return [("/synced", message[1])] if message[0] == "/sync" else []

    with answering(answer) as (port, got), client(port) as server:
        server.command("/deck/A/play")
        server.command("/deck/A/stop")
    assert [address for address, _ in got] == ["/deck/A/play", "/sync", "/deck/A/stop", "/sync"]
    assert got[1][1] != got[3][1], "a late reply is not mistaken for the next command's"


def test_an_unanswered_request_is_repeated_and_then_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "ANSWER_SECONDS", 0.05)
    with (
        answering(lambda _message: []) as (port, got),
        client(port) as server,
        pytest.raises(TimeoutError, match="no answer to /notify"),
    ):
        server.request("/notify", 1)
    assert got == [("/notify", [1])] * replies.MAX_TRIES
    with client(port) as server, pytest.raises(TimeoutError, match="is the server running"):
        server.request("/notify", 1)  # no program uses the port any more


def test_tracks_play_in_sequence_and_a_bad_one_is_skipped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded: list[int] = []

    def answer(message: Message) -> list[Message]:
        address, arguments = message
        if address.endswith("/load"):
            if arguments == ["bad.wav"]:
                return [("/fail", [address, "it is no audio file"])]
            loaded.append(100 if "A" in address else 1100)
            return [("/done", [address, loaded[-1]])]
        if address == "/sync":
            return [("/synced", arguments), ("/ended", [loaded[-1], "it"])]
        return [("/done", [address, 1, 64])] if address == "/notify" else []

    with answering(answer) as (port, got), client(port) as server:
        assert play(server, ["a.wav", "bad.wav", "b.wav", "c.wav"]) == 3
    told = capsys.readouterr()
    assert told.err == "bad.wav: it is no audio file\n"
    decks = [address for address, _ in got if address.endswith("/play")]
    assert decks == ["/deck/A/play", "/deck/B/play", "/deck/A/play"]
    assert "4 of 4: c.wav on deck A" in told.out
