"""The client of Icecast against a server that the test plays: requests, refusals, bad networks."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crowdstream.broadcast import icecast, outputs
from crowdstream.broadcast.icecast import IcecastOutput
from crowdstream.broadcast.stream import Stream
from crowdstream.broadcast.target import parse
from tests.support.broadcasts import RATE, music
from tests.support.fake_icecast import CONTINUE, FakeServer
from tests.support.osc_client import until

BLOCK = 4410


class Rig:
    """An output to a fake server, with the states it has reported."""

    def __init__(self, answers: list[bytes | None], query: str = "") -> None:
        self.server = FakeServer(answers)
        self.states: list[dict[str, Any]] = []
        target = parse(f"icecast://dj:pa%3Ass@127.0.0.1:{self.server.port}/a%20b.mp3?{query}")
        self.stream = Stream(target.format, target.bitrate, float(RATE))
        self.stream.start()
        self.output = IcecastOutput(1, target, self.stream, self.states.append)
        self.output.start()

    def feed(self, seconds: float = 1.0) -> None:
        """Encode some music."""
        sound = music(seconds)
        for begin in range(0, len(sound), BLOCK):
            self.stream.queue.put(sound[begin : begin + BLOCK], BLOCK)

    def fed(self, condition: bool) -> bool:
        """Encode more, and return the condition: for those that need it."""
        self.feed(0.25)
        return condition

    def reason(self) -> str:
        """The latest reason."""
        return str(self.states[-1]["reason"]) if self.states else ""

    def close(self) -> None:
        """End everything."""
        self.output.stop()
        self.stream.stop()
        self.server.close()
        self.output.join(20.0)
        assert not self.output.alive


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(outputs, "MIN_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(outputs, "MAX_RETRY_SECONDS", 0.05)
    rigs: list[Rig] = []

    def made(answers: list[bytes | None], query: str = "") -> Rig:
        rigs.append(Rig(answers, query))
        return rigs[-1]

    yield made
    for rig in rigs:
        rig.close()


def test_the_request_names_the_stream(make: Callable[..., Rig]) -> None:
    rig = make([CONTINUE], "name=The%20Club&genre=Techno&public=1&bitrate=128")
    until(lambda: rig.output.connections == 1)
    lines = rig.server.requests[0].decode().split("\r\n")
    assert lines[0] == "PUT /a%20b.mp3 HTTP/1.1"
    pair = base64.b64encode(b"dj:pa:ss").decode()
    for line in (
        f"Host: 127.0.0.1:{rig.server.port}", f"Authorization: Basic {pair}",
        "Content-Type: audio/mpeg", "Ice-Public: 1", "Ice-Name: The Club", "Ice-Genre: Techno",
        "Ice-Audio-Info: samplerate=44100;channels=2;bitrate=128", "Expect: 100-continue",
    ):
        assert line in lines
    rig.feed(2.0)
    until(lambda: rig.server.received and len(rig.server.received[0]) > 20_000)
    assert rig.output.state()["sent"] > 20_000


def test_a_title_is_sent_beside_the_stream(make: Callable[..., Rig]) -> None:
    rig = make([CONTINUE])
    until(lambda: rig.output.connections == 1)
    rig.output.set_title("Künstler", "A & B")
    until(lambda: len(rig.server.requests) == 2)
    first = rig.server.requests[1].decode().split("\r\n")[0]
    assert first == (
        "GET /admin/metadata?mount=%2Fa+b.mp3&mode=updinfo&charset=UTF-8"
        "&song=K%C3%BCnstler+-+A+%26+B HTTP/1.1"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.0 401 Authentication Required\r\n\r\n", "refuses the user or the password"),
        (b"HTTP/1.0 403 Mountpoint in use\r\n\r\n", "used by another source"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\nMountpoint in use", "used by another source"),
        (b"HTTP/1.0 403 too many sources connected\r\n\r\n", "no room for another source"),
        (b"HTTP/1.0 403 Content-type not supported\r\n\r\n", "does not support this format"),
        (b"HTTP/1.0 404 \x1b[31mGone\r\n\r\n", "refuses the stream: 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
        (b"x" * 20_000, "does not speak HTTP"),
    ],
)
def test_refusals_are_named_and_tried_again(
    make: Callable[..., Rig], answer: bytes, reason: str
) -> None:
    rig = make([answer, answer, CONTINUE])
    until(lambda: rig.output.connections == 1)
    assert any(reason in one["reason"] for one in rig.states), rig.states
    assert not any("\x1b" in one["reason"] for one in rig.states)
    assert rig.states[-1]["state"] == "live"


def test_a_half_open_connection_is_given_up(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icecast, "CONNECT_SECONDS", 0.05)
    rig = make([None, CONTINUE])
    until(lambda: rig.output.connections == 1)
    assert "does not respond" in rig.states[0]["reason"]


def test_a_connection_that_is_cut_is_made_again(make: Callable[..., Rig]) -> None:
    rig = make([CONTINUE])
    until(lambda: rig.output.connections == 1)
    for count in range(2, 5):
        rig.server.cut()
        until(lambda count=count: rig.fed(rig.output.connections == count))
    assert rig.output.state()["dropped"] == 0.0, "what nobody could receive is not dropped"


def test_a_server_that_stops_reading_costs_the_oldest_audio(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(icecast, "STALL_SECONDS", 1.0)
    rig = make([CONTINUE], "bitrate=320")
    until(lambda: rig.output.connections == 1)
    rig.server.reads.clear()
    until(lambda: rig.fed(rig.output.queue.dropped > 0 or rig.output.connections > 1))
    assert rig.output.queue.frames <= outputs.BUFFER_SECONDS * RATE
    until(lambda: rig.fed(any("does not respond" in one["reason"] for one in rig.states)))
    rig.server.reads.set()
    until(lambda: rig.fed(rig.states[-1]["state"] == "live"))


HOUR = 3600.0


class VirtualStop(threading.Event):
    """The request to stop an output; its waits take no time. `at_hour` is called after an hour."""

    def __init__(self, at_hour: Callable[[], None]) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._at_hour = at_hour

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return sum(self.waits)

    def wait(self, timeout: float | None = None) -> bool:
        before = self.now
        self.waits.append(timeout or 0.0)
        if before < HOUR <= self.now:
            self._at_hour()
        return self.is_set()


def test_an_outage_of_an_hour_is_reported_once_and_ends_with_the_present_title(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    servers: list[FakeServer] = []
    stop = VirtualStop(lambda: servers.append(FakeServer([CONTINUE], port=port)))
    monkeypatch.setattr(outputs, "time", SimpleNamespace(monotonic=lambda: stop.now))
    states: list[dict[str, Any]] = []
    stream = Stream("mp3", 128, float(RATE))
    stream.start()
    target = parse(f"icecast://a:b@127.0.0.1:{port}/live.mp3?bitrate=128")
    output = IcecastOutput(1, target, stream, states.append)
    monkeypatch.setattr(output, "_stop", stop)
    output.set_title("Artist", "Night Train")  # while there is no server
    output.start()
    until(lambda: servers and len(servers[0].requests) == 2)
    assert [one["state"] for one in states] == ["waiting", "live"]
    assert states[0]["reason"] == "Connection refused"
    assert HOUR <= stop.now < HOUR + outputs.MAX_RETRY_SECONDS + 1.0
    assert stop.waits == sorted(stop.waits), "the delay grows"
    assert max(stop.waits) <= outputs.MAX_RETRY_SECONDS * 1.2 and len(stop.waits) < HOUR / 12.0
    assert b"song=Artist+-+Night+Train" in servers[0].requests[1]
    output.stop()
    stream.stop()
    servers[0].close()
    output.join(20.0)
    assert not output.alive


def test_an_unknown_host_is_named() -> None:
    states: list[dict[str, Any]] = []
    stream = Stream("flac", 0, float(RATE))
    target = parse("icecast://a:geheim@host.invalid/live.flac")
    output = IcecastOutput(1, target, stream, states.append)
    output.start()
    until(lambda: states and states[-1]["state"] == "waiting")
    output.stop()
    assert "host.invalid is not known" in states[-1]["reason"]


def test_mounts_of_a_stream_receive_the_same_audio() -> None:
    server = FakeServer([CONTINUE])
    stream = Stream("opus", 64, 48000.0)
    stream.start()
    mounts = [parse(f"icecast://a:b@127.0.0.1:{server.port}/{name}?format=opus") for name in "ab"]
    both = [IcecastOutput(n, one, stream, lambda _: None) for n, one in enumerate(mounts)]
    for one in both:
        one.start()
    until(lambda: all(one.connections for one in both))
    silence = np.zeros((4800, 2), np.float32)

    def both_sent() -> bool:
        stream.queue.put(silence, 4800)
        return all(one.sent > 5000 for one in both)

    until(both_sent)
    for one in both:
        one.stop()
    stream.stop()
    first, second = (bytes(one) for one in server.received)
    size = min(len(first), len(second))
    assert first[:size] == second[:size] and first[:4] == b"OggS"
    server.close()
