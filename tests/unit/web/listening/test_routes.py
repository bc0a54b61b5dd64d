"""The WebSocket: who may listen, what is said to whom, what becomes of one that stalls."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from crowdstream.web.listening import routes
from crowdstream.web.listening.chunks import HEAD
from tests.support.listening_page import Site, tone
from tests.support.server import server, until
from tests.support.tone_desk import ToneDesk

SECONDS = 30.0


class Ear:
    """A listener without a browser: gathers chunks and texts, and reports what has come."""

    def __init__(self, url: str, query: str = "", queue: int | None = None) -> None:
        address = url.rstrip("/").replace("http", "ws", 1) + "/listen" + query
        self._open = contextlib.ExitStack()
        connection = connect(address, compression=None, max_queue=queue, ping_interval=None)
        self.socket: ClientConnection = self._open.enter_context(connection)
        self.texts: list[dict[str, Any]] = []
        self.chunks: list[tuple[tuple[Any, ...], bytes]] = []

    def take(self, seconds: float = SECONDS) -> None:
        """One message."""
        message = self.socket.recv(seconds)
        if isinstance(message, str):
            self.texts.append(json.loads(message))
            return
        head = HEAD.unpack_from(message)
        self.chunks.append((head, message[HEAD.size :]))
        if len(self.chunks) % 10 == 0:
            self.socket.send(json.dumps({"have": head[5] + head[2]}))

    def hear(self, chunks: int) -> None:
        """So many chunks more."""
        end = len(self.chunks) + chunks
        while len(self.chunks) < end:
            self.take()

    def samples(self) -> np.ndarray:
        """What came as 16-bit PCM, left channel, as floats."""
        parts = [np.frombuffer(data, "<i2")[::2] for head, data in self.chunks if head[0] == 1]
        return np.concatenate(parts) / 32768

    def close(self) -> None:
        self._open.close()


def refusal(url: str, query: str) -> tuple[str, int]:
    ear = Ear(url, query)
    with pytest.raises(ConnectionClosed):
        while True:
            ear.take()
    assert ear.socket.close_code is not None
    ear.close()
    return str(ear.texts[0]["refused"]), ear.socket.close_code


def test_what_is_asked_for_wrongly_is_refused_with_the_reason() -> None:
    with ToneDesk() as source, Site(source.desk) as site:
        assert refusal(site.url, "?bus=kitchen") == ("bus: master or cue", 1008)
        assert refusal(site.url, "?format=mp3") == ("format: pcm16 or opus", 1008)
        ear = Ear(site.url, "?bus=cue&format=pcm16")
        ear.hear(5)
        assert ear.texts[0]["hello"]["bus"] == "cue" and ear.texts[0]["hello"]["rate"] == 44100
        ear.socket.send(json.dumps({"ping": 1.5}))
        while len(ear.texts) < 2:
            ear.take()
        came, server_time = ear.texts[1]["pong"]
        assert came == 1.5 and abs(server_time - time.monotonic()) < SECONDS
        ear.close()


@pytest.mark.parametrize(
    "message",
    ["", "[]", "{", '{"have": "x"}', '{"have": 1e999}', '{"have": true}', "x" * 500, b"x"],
)
def test_what_no_listener_says_ends_it(message: str | bytes) -> None:
    with ToneDesk() as source, Site(source.desk) as site:
        ear = Ear(site.url)
        ear.socket.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                ear.take()
        ear.close()
        until(lambda: not source.desk.taps["on"].any())


def test_there_is_a_limit_and_a_place_that_is_left_is_free() -> None:
    with ToneDesk() as source, Site(source.desk, most=3) as site, contextlib.ExitStack() as stack:
        ears = [stack.enter_context(contextlib.closing(Ear(site.url))) for _ in range(3)]
        for ear in ears:
            ear.hear(1)
        reason, code = refusal(site.url, "")
        assert code == 1013 and "3 are listening already" in reason
        ears[0].close()

        def free() -> bool:
            ear = stack.enter_context(contextlib.closing(Ear(site.url)))
            ear.take()
            return "hello" in ear.texts[0]

        until(free)


def test_one_who_stalls_is_told_and_let_go_and_the_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crowdstream.web.listening.listener.GIVE_UP_SECONDS", 1.5)
    monkeypatch.setattr("crowdstream.web.listening.listener.STEP_SECONDS", 0.3)
    with ToneDesk() as source, Site(source.desk) as site:
        stalled, good = Ear(site.url, queue=1), Ear(site.url)
        good.hear(250)  # 5 s, in which the other one says and reads nothing
        heads = [head for head, _ in good.chunks]
        assert all(head[0] == 1 for head in heads)
        frames = np.array([head[5] for head in heads])
        assert (np.diff(frames) == 882).all()
        with pytest.raises(ConnectionClosed):
            while True:
                stalled.take()
        told = [text["format"] for text in stalled.texts if "format" in text]
        assert told == ["mulaw", "mulaw-mono"]
        assert stalled.socket.close_code == 1013
        assert "too slow" in str(stalled.socket.close_reason)
        good.close()
        stalled.close()


def test_listening_goes_on_when_the_engine_is_killed(tmp_path: Path) -> None:
    with server(tmp_path, "--http", "--driver", "null", "--buffer-size", "256") as running:
        ear = Ear(running.page())
        ear.hear(10)
        running.client.send("/test_tone", 1000.0)
        ear.hear(75)
        sound = ear.samples()
        first = int(np.flatnonzero(np.abs(sound) > 0.001)[0])
        hertz, _, rest = tone(sound[first + 4000 : first + 30000], 44100, 1000.0)
        assert abs(hertz - 1000.0) < 0.01 and rest < -50.0
        running.below_named("engine").send_signal(signal.SIGKILL)
        last = ear.chunks[-1][0][5]
        ear.hear(100)
        frames = [head[5] for head, _ in ear.chunks]
        assert frames == sorted(frames) and frames[-1] - last > 80 * 882
        ear.close()


def test_routes_ask_for_nothing_but_a_desk() -> None:
    source = ToneDesk()
    assert [route.path for route in routes(source)] == ["/listen"]  # type: ignore[attr-defined]
    source.desk.close()
