"""The stream's WebSocket: refusals, limits, and stalled listeners."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from crowdstream.web.streaming import routes
from tests.support.listening_client import ListeningClient
from tests.support.listening_page import Site
from tests.support.server import until
from tests.support.tone_desk import ToneDesk

CHUNK = 882  # frames: 20 ms


def refusal(url: str, query: str) -> tuple[str, int]:
    client = ListeningClient(url, query)
    with pytest.raises(ConnectionClosed):
        while True:
            client.take()
    assert client.socket.close_code is not None
    client.close()
    return str(client.texts[0]["refused"]), client.socket.close_code


def test_invalid_requests_are_refused_with_the_reason() -> None:
    with ToneDesk() as source, Site(source.desk) as site:
        assert refusal(site.url, "?bus=kitchen") == ("bus must be one of master, cue", 1008)
        assert refusal(site.url, "?format=mp3") == ("format must be one of pcm16, opus", 1008)
        client = ListeningClient(site.url, "?bus=cue&format=pcm16")
        client.take_chunks(5)
        hello = client.texts[0]["hello"]
        assert hello["bus"] == "cue" and hello["rate"] == 44100
        before = time.monotonic()
        client.socket.send(json.dumps({"ping": 1.5}))
        while len(client.texts) < 2:
            client.take()
        came, server_time = client.texts[1]["pong"]
        assert came == 1.5 and before <= server_time <= time.monotonic()
        client.close()


@pytest.mark.parametrize(
    "message",
    ["", "[]", "{", '{"have": "x"}', '{"have": 1e999}', '{"have": true}', "x" * 500, b"x"],
)
def test_invalid_reports_close_the_connection(message: str | bytes) -> None:
    with ToneDesk() as source, Site(source.desk) as site:
        client = ListeningClient(site.url)
        client.socket.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                client.take()
        client.close()
        until(lambda: not source.desk.taps["on"].any())


def test_listeners_are_limited_and_slots_are_freed() -> None:
    with ToneDesk() as source, Site(source.desk, most=3) as site, contextlib.ExitStack() as stack:
        clients = [ListeningClient(site.url) for _ in range(3)]
        for client in clients:
            stack.callback(client.close)
            client.take_chunks(1)
        reason, code = refusal(site.url, "")
        assert code == 1013 and "the limit of 3 listeners" in reason
        clients[0].close()

        def free() -> bool:
            client = stack.enter_context(contextlib.closing(ListeningClient(site.url)))
            client.take()
            return "hello" in client.texts[0]

        until(free)


def test_a_stalled_listener_is_disconnected_without_affecting_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crowdstream.web.streaming.broadcast.GIVE_UP_SECONDS", 1.5)
    monkeypatch.setattr("crowdstream.web.streaming.broadcast.STEP_SECONDS", 0.3)
    # On a busy machine the good listener's thread may report late.
    monkeypatch.setattr("crowdstream.web.streaming.broadcast.SLOW_SECONDS", 60.0)
    source = ToneDesk()
    with contextlib.closing(source.desk), Site(source.desk) as site:
        stalled, good = ListeningClient(site.url, reports=False), ListeningClient(site.url)
        until(lambda: site.station.listeners == 2 and source.desk.taps["on"].any())
        # One listener never reports; the good one takes each chunk before the next.
        while site.station.listeners == 2:
            source.write(CHUNK)
            good.take_chunks(1)
        for _ in range(50):
            source.write(CHUNK)
            good.take_chunks(1)
        heads = [head for head, _ in good.chunks]
        assert all(head[0] == 1 for head in heads)
        frames = np.array([head[5] for head in heads])
        assert (np.diff(frames) == CHUNK).all()
        with pytest.raises(ConnectionClosed):
            while True:
                stalled.take()
        told = [text["format"] for text in stalled.texts if "format" in text]
        assert told == ["mulaw", "mulaw-mono"]
        assert stalled.socket.close_code == 1013
        assert "too slow" in str(stalled.socket.close_reason)
        good.close()
        stalled.close()


def test_the_routes_need_only_a_desk() -> None:
    source = ToneDesk()
    assert [route.path for route in routes(source)] == ["/listen"]  # type: ignore[attr-defined]
    source.desk.close()
