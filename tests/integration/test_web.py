"""Pages of a running server: their state, and recovery after processes die."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.support.offline_server import RATE, count, write
from tests.support.server import WAIT_SECONDS, Running, SharedServer, ended, server, until

NULL = ("--http", "--driver", "null", "--buffer-size", "256", "--standby", "off")
LATENCY_SECONDS = 0.1  # the built-in clock has two blocks

@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer) -> Iterator[Running]:
    """A server with a page, shared with other tests; all levels are 1."""
    made = shared.get()
    for deck in "ABCD":
        made.client.send(f"/deck/{deck}/level", 1.0)
    until(lambda: all(made.client.status()[f"deck.{deck}.level"] == 1.0 for deck in "ABCD"))
    yield made
    while Visitor.opened:
        Visitor.opened.pop().close()


class Visitor:
    """A page without a browser: its received state, and its requests."""

    opened: ClassVar[list[Visitor]] = []

    def __init__(self, url: str) -> None:
        Visitor.opened.append(self)
        self._open = contextlib.ExitStack()
        # On a busy machine a page may wait longer than the interval between pings.
        connection = connect(
            url.replace("http", "ws", 1) + "/live", ping_interval=None, close_timeout=0.1
        )
        self._socket: Connection = self._open.enter_context(connection)
        self.picture: dict[str, Any] = {}
        self.messages: list[dict[str, Any]] = []
        self._numbers = 0

    def receive(self, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Receive the next message."""
        message: dict[str, Any] = json.loads(self._socket.recv(seconds))
        self.picture.update(message.get("picture", {}))
        self.messages.append(message)
        return message

    def until(self, condition: Any) -> dict[str, Any]:
        """Receive until a message meets a condition; returns that message."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            message = self.receive()
            if condition(message):
                return message
        raise TimeoutError(str(self.messages[-5:]))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._socket.send(json.dumps(message))

    def do(self, address: str, *arguments: Any) -> list[list[Any]]:
        """Send a command; returns its replies."""
        self._numbers += 1
        number = self._numbers
        self.send({"do": [number, address, *arguments]})
        self.until(lambda message: message.get("end") == number)
        answers = [one["answer"] for one in self.messages if "answer" in one]
        return [answer[1:] for answer in answers if answer[0] == number]

    def close(self) -> None:
        """Close the connection."""
        self._open.close()


def visit(running: Running) -> Visitor:
    """A page that has received the initial state."""
    visitor = Visitor(running.page())
    visitor.until(lambda message: "hello" in message)
    visitor.until(lambda _message: "deck.A" in visitor.picture)
    return visitor


def test_a_change_by_one_page_reaches_all_pages_and_osc(running: Running) -> None:
    one, other = visit(running), visit(running)
    assert one.do("/deck/B/level", 0.25) == []
    running.client.send("/deck/C/level", 0.75)
    for visitor in (one, other):
        visitor.until(lambda _: visitor.picture["deck.B"]["level"] == 0.25)  # noqa: B023
        visitor.until(lambda _: visitor.picture["deck.C"]["level"] == 0.75)  # noqa: B023
    until(lambda: running.client.status()["deck.B.level"] == 0.25)
    begin = time.monotonic()
    frame = running.client.status()["frame"]
    now = one.until(lambda message: message.get("now", {}).get("frame", 0) > frame + RATE)["now"]
    # The time at which that frame is audible on this machine's clock: now, plus the card's latency.
    assert begin < now["at"] <= now["t"] + LATENCY_SECONDS
    assert begin < now["t"] < time.monotonic()
    assert len(now["decks"]) == 4


def test_failed_commands_of_a_page_are_answered(running: Running) -> None:
    visitor = visit(running)
    assert visitor.do("/deck/A/level", 99.0)[0][:2] == ["/fail", "/deck/A/level"]
    assert visitor.do("/nothing")[0][:2] == ["/fail", "/nothing"]
    assert visitor.do("/notify", 1)[0][:2] == ["/fail", "/notify"]
    assert visitor.do("/deck/A/level", [1])[0][:2] == ["/fail", "/deck/A/level"]
    assert visitor.do("/status")[0][0] == "/status.reply"


def test_a_load_is_answered_when_it_is_done(running: Running, tmp_path: Path) -> None:
    track = str(write(tmp_path / "numbers.wav", count(5)))
    visitor = visit(running)
    answers = visitor.do("/deck/A/load", track)
    while not answers:
        answers = [one["answer"][1:] for one in visitor.messages if "answer" in one]
        visitor.receive()
    assert answers[0][:2] == ["/done", "/deck/A/load"]
    visitor.until(lambda _: visitor.picture["deck.A"]["state"] == "ready")
    assert visitor.do("/deck/A/play") == []
    visitor.until(lambda message: message.get("now", {}).get("decks", [[0, 0, 0]])[0][2] == 1)


@pytest.mark.parametrize("text", ["[", "7", "[" * 20000, json.dumps({"do": []}), '{"do": "x"}'])
def test_invalid_messages_disconnect_no_other_page(running: Running, text: str) -> None:
    one, other = Visitor(running.page()), visit(running)
    one._socket.send(text)
    assert other.do("/deck/B/level", 0.5) == []
    other.until(lambda _: other.picture["deck.B"]["level"] == 0.5)


def test_a_page_that_does_not_read_blocks_nobody(running: Running) -> None:
    lazy = Visitor(running.page())
    other = visit(running)
    for step in range(200):
        other.do("/deck/B/level", step / 200)
    other.until(lambda _: other.picture["deck.B"]["level"] == 199 / 200)
    lazy.until(lambda _: lazy.picture.get("deck.B", {}).get("level") == 199 / 200)


def test_a_killed_web_process_restarts_on_the_same_port(running: Running) -> None:
    visitor = visit(running)
    url = running.page()
    running.client.send("/deck/D/level", 0.5)
    web = running.child_named("web")
    web.kill()
    with pytest.raises(ConnectionClosed):
        visitor.until(lambda _: False)
    running.client.status()
    until(lambda: served(url))
    again = visit(running)
    again.until(lambda _: again.picture["deck.D"]["level"] == 0.5)
    assert int(running.child_named("web").pid) != int(web.pid)
    asked = urllib.request.Request(f"{url}/api/events", method="POST")
    with urllib.request.urlopen(asked) as answer:
        assert b"the web process died and is being restarted" in answer.read()
    assert again.picture["events"][-1]["kind"] == "web"


def test_pages_stay_open_while_control_is_replaced(running: Running) -> None:
    visitor = visit(running)
    visitor.do("/deck/D/level", 0.5)
    running.client.await_noted()
    before = running.client.status()["restarts_control"]
    control, web = running.child_named("control"), running.child_named("web").pid
    control.send_signal(signal.SIGKILL)
    until(lambda: running.client.status()["restarts_control"] > before)
    assert running.client.status()["deck.D.level"] == 0.5
    assert visitor.do("/deck/D/level", 0.75) == []
    visitor.until(lambda _: visitor.picture["deck.D"]["level"] == 0.75)
    assert running.child_named("web").pid == web


def test_playback_continues_without_a_free_http_port_and_the_page_appears_later(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with server(tmp_path, *NULL, "--http-port", str(port)) as running:
            until(lambda: "no web page" in running.log())
            until(lambda: f"127.0.0.1:{port}" in running.log())
            assert running.client.status()["driver"] == "null"
            taken.close()
            assert running.page() == f"http://127.0.0.1:{port}"


def served(url: str) -> bool:
    """Whether the page is served."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_page_receives_waveforms_after_an_earlier_request_for_metrics(
    running: Running, tmp_path: Path
) -> None:
    track = str(write(tmp_path / "numbers.wav", count(5)))
    running.client.request("/deck/A/load", track, answer="/done")
    with urllib.request.urlopen(running.page() + "/metrics") as answer:
        assert b"crowdstream" in answer.read()
    # Control was asked for its state already, and does not send all of it again.
    told = visit(running).until(lambda message: "wave" in message)["wave"]
    assert (told["deck"], told["stem"]) == ("A", 0)


def test_the_web_process_ends_with_the_server(running: Running) -> None:
    url = running.page()
    assert served(url)
    web = running.child_named("web")
    running.process.terminate()
    assert running.process.wait(WAIT_SECONDS) == 0
    assert not served(url)
    until(lambda: ended(web))
