"""The health check for monitoring."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.types import ASGIApp

from crowdstream.web.api import healthz
from tests.support.web_client import FakeWeb, ask


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    return web.app(healthz.routes(web))  # type: ignore[arg-type]


@contextmanager
def playing(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An engine whose frame counter advances, even on a busy machine."""
    monkeypatch.setattr(healthz, "FRAMES_SECONDS", 60.0)
    ends = threading.Event()

    def move() -> None:
        while not ends.is_set():
            web.desk.clock["frame"] += 256
            time.sleep(0.005)

    engine = threading.Thread(target=move)
    engine.start()
    try:
        yield
    finally:
        ends.set()
        engine.join()


def test_a_playing_server_is_healthy(
    web: FakeWeb, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with playing(web, monkeypatch):
        answer = ask(app, "GET", "/healthz")
    assert answer.status == 200
    assert answer.json == {"ok": True, "frames_move": True, "control_answers": True}


def test_a_stalled_engine_is_unhealthy(
    web: FakeWeb, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthz, "FRAMES_SECONDS", 0.1)
    answer = ask(app, "GET", "/healthz")
    assert answer.status == 503
    assert not answer.json["frames_move"] and "engine" in answer.json["reason"]


def test_an_unresponsive_control_is_unhealthy(
    web: FakeWeb, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.link.busy = True
    with playing(web, monkeypatch):
        answer = ask(app, "GET", "/healthz")
    assert answer.status == 503
    assert answer.json["reason"] == "control does not respond"
