"""The HTTP interface of a running server for programs: access control and responses."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.support.server import WAIT_SECONDS, Running, SharedServer, until

TOKEN = "correct-horse-battery"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    options = ("--http", "--driver", "null", "--buffer-size", "256", "--http-token", TOKEN)
    with SharedServer(tmp_path_factory.mktemp("server"), *options) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


def fetch(
    running: Running, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request: status, headers, body."""
    place = urlsplit(running.page())
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_SECONDS)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def counters(running: Running) -> dict[tuple[str, str], float]:
    """All counters."""
    status, _, text = fetch(running, "GET", "/metrics")
    assert status == 200
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if family.type in ("counter", "histogram") and not sample.name.endswith("_sum")
    }


def test_commands_require_the_token_and_viewing_does_not(running: Running) -> None:
    assert fetch(running, "GET", "/healthz")[0] == 200
    assert fetch(running, "POST", "/api/deck/A/level", {"gain": 0.5})[0] == 401
    assert fetch(running, "POST", "/api/deck/A/level", {"gain": 0.5}, **KNOWN)[0] == 200
    until(lambda: running.client.status()["deck.A.level"] == 0.5)
    until(lambda: json.loads(fetch(running, "GET", "/deck/A/level")[2])["VALUE"][0] == 0.5)
    status, headers, _ = fetch(running, "GET", f"/?token={TOKEN}", Accept="text/html")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"].partition(";")[0]
    origin = running.page()
    written = fetch(running, "POST", "/api/deck/A/level", {"gain": 1}, Cookie=cookie, Origin=origin)
    assert written[0] == 200
    foreign = {"Cookie": cookie, "Origin": "http://evil.example"}
    assert fetch(running, "POST", "/api/deck/A/level", {"gain": 0}, **foreign)[0] == 403
    assert fetch(running, "GET", "/", Host="evil.example")[0] == 421
    info = json.loads(fetch(running, "GET", "/?HOST_INFO")[2])
    assert info["OSC_PORT"] == running.client._socket.getpeername()[1]
    wanted = {"deck.A", "mixer", "clock", "health"}
    until(lambda: wanted <= set(json.loads(fetch(running, "GET", "/api/picture")[2])))


def test_a_page_without_the_token_is_read_only(running: Running) -> None:
    url = running.page().replace("http", "ws", 1) + "/live"
    with pytest.raises(InvalidStatus):
        connect(url, origin=Origin("http://evil.example"))
    visitors: list[tuple[dict[str, str], bool]] = [({}, False), (KNOWN, True)]
    for headers, writes in visitors:
        with connect(url, additional_headers=headers) as page:
            heard: dict[str, Any] = {}
            while "hello" not in heard:
                heard = json.loads(page.recv(WAIT_SECONDS))
            assert heard["hello"]["write"] is writes
            page.send(json.dumps({"do": [1, "/deck/B/level", 0.25]}))
            while heard.get("end") != 1:
                heard = json.loads(page.recv(WAIT_SECONDS))
                if "answer" in heard:
                    assert not writes and "token" in heard["answer"][3]
    until(lambda: running.client.status()["deck.B.level"] == 0.25)


def test_counters_never_decrease_while_control_is_replaced(running: Running) -> None:
    for number in range(20):
        running.client.send("/deck/A/level", number / 20)
    restarts = ("crowdstream_control_restarts_total", "[]")
    running.client.await_noted()
    before = counters(running)
    known = running.client.status()["restarts_control"]
    running.child_named("control").send_signal(signal.SIGKILL)
    during = counters(running)
    until(lambda: running.client.status()["restarts_control"] > known)
    until(lambda: fetch(running, "GET", "/healthz")[0] == 200)
    until(lambda: counters(running)[restarts] == before[restarts] + 1)
    after = counters(running)
    for earlier, later in ((before, during), (during, after)):
        assert set(earlier) <= set(later)
        assert not [key for key, value in earlier.items() if later[key] < value]
    assert after[restarts] == before[restarts] + 1


def test_healthz_reports_a_stopped_engine(running: Running) -> None:
    until(lambda: fetch(running, "GET", "/healthz")[0] == 200)
    until(lambda: running.client.status()["standby"] != "none")
    engines = running.children_named("engine")
    for one in engines:
        one.send_signal(signal.SIGSTOP)
    try:
        status, body = 200, b""
        while status == 200:
            status, _, body = fetch(running, "GET", "/healthz")
        assert status == 503
        assert not json.loads(body)["frames_move"] and "engine" in json.loads(body)["reason"]
    finally:
        for one in engines:
            with contextlib.suppress(psutil.NoSuchProcess):  # already killed, because it hung
                one.send_signal(signal.SIGCONT)
    until(lambda: fetch(running, "GET", "/healthz")[0] == 200)
