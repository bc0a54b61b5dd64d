"""The long night's web clients receive the expected replies from a real server."""

from __future__ import annotations

import selectors
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.long_night.browsers import DeafListener, Listener, RudeTab, Scraper, Tab
from benchmarks.long_night.line import ReplyTracker
from benchmarks.long_night.visitors import Visitor
from tests.support.server import WAIT_SECONDS, Running, SharedServer, ended, until


class ServerAccess:
    """Access to a server; counts replies that have arrived and replies that are late."""

    def __init__(self, running: Running) -> None:
        self.http_port = int(running.page().rpartition(":")[2].strip("/"))
        self.arrived: Counter[str] = Counter()
        self.late: Counter[str] = Counter()

    def reply_tracker(self) -> ReplyTracker:
        """Return a tracker for one client."""
        return ReplyTracker(
            lambda key, _seconds: self.arrived.update([key.partition(" 1")[0]]),
            lambda key, _sent: self.late.update([key]),
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    options = ("--http", "--driver", "null", "--buffer-size", "256", "--standby", "off")
    with SharedServer(tmp_path_factory.mktemp("visited"), *options) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


def serve(visitors: list[Visitor], done: object) -> None:
    """Serve the clients until a condition holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline
        with selectors.DefaultSelector() as selector:
            for visitor in visitors:
                visitor.tick()
                if visitor.fileno() >= 0:
                    selector.register(visitor, selectors.EVENT_READ)
            for key, _ in selector.select(0.02):
                key.fileobj.read()  # type: ignore[union-attr]
    for visitor in visitors:
        visitor.leave()


def test_all_clients_receive_the_expected_replies(running: Running) -> None:
    access = ServerAccess(running)
    kinds = (Tab, Listener, Scraper, RudeTab, DeafListener)
    wanted = {"hello of /live", "hello of /listen", "sound of /listen", "/live"}

    def served() -> bool:
        fetched = sum(number for key, number in access.arrived.items() if key.startswith("HTTP "))
        return wanted <= set(access.arrived) and fetched >= 2

    serve([kind(access, WAIT_SECONDS) for kind in kinds], served)
    assert not access.late
    assert running.client.status()["driver"] == "null"


def test_a_page_reconnects_after_the_web_process_was_killed(running: Running) -> None:
    access = ServerAccess(running)
    tab = Tab(access, WAIT_SECONDS)
    clients: list[Visitor] = [tab]
    killed = False

    def reconnected() -> bool:
        nonlocal killed
        if not killed and access.arrived["hello of /live"]:
            killed = True
            web = running.child_named("web")
            web.kill()
            until(lambda: ended(web))
        return access.arrived["hello of /live"] == 2

    serve(clients, reconnected)
