"""Alerts: what is posted, and what happens if the other end is slow, hostile or absent."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.control.publish import alerts
from crowdstream.control.publish.alerts import (
    LAST_POSTS,
    MAX_AGE_SECONDS,
    MAX_POSTS,
    MAX_RETRY_SECONDS,
    MIN_RETRY_SECONDS,
    POSTS_SECONDS,
    TIMEOUT_SECONDS,
    Alerts,
    AlertSender,
    PostFailed,
    Target,
    post,
)
from crowdstream.control.publish.event_log import KINDS, Event
from tests.support.alert_receiver import AlertReceiver
from tests.support.server import until

SECRET = "tr0ub4dor"


def event(kind: str = "engine", text: str = "it died", number: float = 0) -> Event:
    """Return an event; a higher number is later."""
    return Event(1.7e9 + number, KINDS[kind], kind, text)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections to this machine go through no proxy."""
    monkeypatch.setenv("no_proxy", "*")
    alerts.make_opener.cache_clear()
    yield
    alerts.make_opener.cache_clear()


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    """A server that accepts everything."""
    with AlertReceiver() as made:
        yield made


class Transport:
    """Stands for the network: records posts, and fails those for which a failure is given."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.posts: list[dict[str, Any]] = []
        self.failures: list[PostFailed] = []
        self.attempts = 0
        self.always: PostFailed | None = None
        self.sender = AlertSender(
            f"https://dj:{SECRET}@example.org/{SECRET}", post=self.post, clock=lambda: self.now
        )

    def post(self, _to: Target, body: bytes, _headers: dict[str, str], timeout: float) -> None:
        """Record a post, or fail."""
        self.attempts += 1
        assert timeout == TIMEOUT_SECONDS
        if self.always or self.failures:
            raise self.always or self.failures.pop(0)
        self.posts.append(json.loads(body))

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds
        self.sender.wake()

    def idle(self) -> bool:
        """Whether nothing waits."""
        return self.sender.waiting == 0

    def await_attempts(self, count: int) -> None:
        """Wait until so many posts were attempted, and the latest has been evaluated."""

        def evaluated() -> bool:
            with self.sender._changed:  # result and next attempt belong together
                return self.attempts == count and self.sender._in_progress is None

        until(evaluated)


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A sender without a network, on a clock that moves on request."""
    made = Transport()
    yield made
    made.sender.close(made.now + 60.0)
    assert not made.sender._thread.is_alive()


def sent_to(url: str, form: str = "json", **options: Any) -> AlertSender:
    """Return a sender that has accepted one event."""
    sender = AlertSender(url, form, "booth:57120", **options)
    sender.offer(event())
    return sender


def close(sender: AlertSender) -> None:
    """End a sender's thread."""
    sender.close(sender._clock() + 60.0)
    assert not sender._thread.is_alive()


# Messages ----------------------------------------------------------------------------------------


def test_an_alert_is_posted_as_json(receiver: AlertReceiver) -> None:
    sender = sent_to(receiver.url("/hook?room=1"))
    until(lambda: sender.sent == 1)
    [request] = receiver.received
    assert (request.method, request.path) == ("POST", "/hook?room=1")
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "time": "2023-11-14T22:13:20.000Z", "level": "error", "kind": "engine",
        "text": "it died", "count": 1, "host": "booth:57120",
    }  # fmt: skip
    assert (sender.waiting, sender.failed) == (0, 0)
    close(sender)


def test_an_alert_is_posted_as_text_with_the_headers_of_ntfy(receiver: AlertReceiver) -> None:
    sender = AlertSender(receiver.url("/topic"), "text", "böoth\r\nX-Evil: 1")
    sender.offer(event("device_lost", "déjà vu"))
    until(lambda: sender.sent == 1)
    [request] = receiver.received
    assert request.body.decode() == "déjà vu"
    assert request.headers["Priority"] == "5"
    assert request.headers["Tags"] == "rotating_light,device_lost"
    assert request.headers["Title"].startswith("CrowdStream on b?oth")
    assert "X-Evil" not in request.headers
    close(sender)


def test_credentials_of_the_url_become_a_header(receiver: AlertReceiver) -> None:
    sender = sent_to(receiver.url("/topic", user=f"dj%40home:{SECRET}"))
    until(lambda: sender.sent == 1)
    [request] = receiver.received
    expected = base64.b64encode(f"dj@home:{SECRET}".encode()).decode()
    assert request.headers["Authorization"] == f"Basic {expected}"
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    close(sender)


def test_events_below_the_level_are_not_posted() -> None:
    posts: list[str] = []
    made = Alerts(
        ["http://a.example", "http://b.example"], "text", "error", 57120,
        lambda target, body, _headers, _timeout: posts.append(f"{target.url} {body.decode()}"),
    )  # fmt: skip
    for kind in ("started", "stall", "engine"):
        made.receive(event(kind, kind))
    until(lambda: made.counters()["alerts_sent"] == 2)
    assert sorted(posts) == ["http://a.example/ engine", "http://b.example/ engine"]
    assert made.counters() == {"alerts_sent": 2, "alerts_failed": 0, "alerts_waiting": 0}
    made.close(60.0)


# Retries and limits ------------------------------------------------------------------------------


def test_a_failed_post_is_retried_with_growing_pauses(transport: Transport) -> None:
    transport.failures = [PostFailed("no network") for _ in range(3)]
    transport.sender.offer(event())
    for attempt in (1, 2, 3):
        transport.await_attempts(attempt)
        pause = MIN_RETRY_SECONDS * 2 ** (attempt - 1)
        assert transport.sender._next_attempt == transport.now + pause
        transport.pass_time(pause)
    until(transport.idle)
    assert [one["text"] for one in transport.posts] == ["it died"]
    assert (transport.sender.sent, transport.sender.failed) == (1, 0)


def test_the_pause_between_attempts_is_limited(transport: Transport) -> None:
    transport.always = PostFailed("no network")
    transport.sender.offer(event())
    for attempt in range(1, 12):
        transport.await_attempts(attempt)
        pause = transport.sender._next_attempt - transport.now
        assert pause <= MAX_RETRY_SECONDS
        transport.pass_time(pause)
    transport.await_attempts(12)
    assert pause == MAX_RETRY_SECONDS


def test_an_alert_is_given_up_after_an_hour_and_later_ones_are_posted(
    transport: Transport,
) -> None:
    transport.always = PostFailed("no network")
    transport.sender.offer(event())
    transport.await_attempts(1)
    transport.pass_time(MAX_AGE_SECONDS)
    transport.await_attempts(2)
    assert (transport.sender.failed, transport.sender.waiting) == (1, 0)
    transport.always = None
    transport.sender.offer(event("device_lost", "gone"))
    transport.pass_time(MAX_RETRY_SECONDS)
    until(lambda: transport.sender.sent == 1)
    assert transport.posts[0]["kind"] == "device_lost"


def test_a_refused_alert_is_given_up_at_once(transport: Transport) -> None:
    transport.failures = [PostFailed("it answers with status 404", final=True)]
    transport.sender.offer(event())
    transport.await_attempts(1)
    assert (transport.sender.failed, transport.sender.waiting) == (1, 0)


def test_a_flood_is_merged_by_kind_and_its_size_is_told(transport: Transport) -> None:
    transport.failures = [PostFailed("no network")]
    transport.sender.offer(event(text="first"))
    transport.await_attempts(1)
    for number in range(1, 5000):
        transport.sender.offer(event(text=f"number {number}", number=number))
        transport.sender.offer(event("stall", number=number))
    assert transport.sender.waiting == 2
    transport.pass_time(MIN_RETRY_SECONDS)
    until(transport.idle)
    engine, stall = transport.posts
    assert engine["count"] == 5000
    assert engine["text"] == "number 4999 (and 4999 more of this kind)"
    assert stall["count"] == 4999


def test_posts_are_rate_limited_and_errors_come_first(transport: Transport) -> None:
    kinds = [kind for kind in KINDS if KINDS[kind] == "info"]
    for number in range(MAX_POSTS):
        transport.sender.offer(event(kinds[number % len(kinds)]))
        until(transport.idle)
    transport.sender.offer(event("stall"))
    transport.sender.offer(event("stall"))
    transport.sender.offer(event("engine"))
    transport.pass_time(POSTS_SECONDS - 1.0)
    assert len(transport.posts) == MAX_POSTS and transport.sender.waiting == 2
    transport.pass_time(1.0)
    until(transport.idle)
    assert [(one["kind"], one["count"]) for one in transport.posts[MAX_POSTS:]] == [
        ("engine", 1), ("stall", 2),
    ]  # fmt: skip


def test_a_few_more_posts_are_allowed_when_the_server_stops(transport: Transport) -> None:
    transport.sender.count_earlier([1.0] * MAX_POSTS)
    transport.sender.offer(event("started"))
    transport.sender.offer(event("stall"))
    transport.sender.offer(event("failed", "the server shuts down"))
    assert transport.posts == []
    close(transport.sender)
    assert [one["kind"] for one in transport.posts] == ["failed", "stall"]
    assert len(transport.posts) == LAST_POSTS


def test_a_server_that_is_restarted_again_and_again_does_not_post_each_time() -> None:
    posts: list[bytes] = []
    made = Alerts(
        ["http://a.example"], "text", "warning", 57120,
        lambda _target, body, _headers, _timeout: posts.append(body),
    )  # fmt: skip
    now = 1.7e9 + 10_000.0
    old = [event("engine", number=number) for number in range(MAX_POSTS)]
    flood = [event("broken_file", number=9_990 + number / 10) for number in range(10)]
    infos = [event("started", number=number) for number in range(9_000, 9_990, 100)]
    made.count_earlier([*old, *infos, *flood], now)
    assert len(made._senders[0]._posts) == 1, "one post for the flood"
    made.count_earlier([event("engine", number=9_401 + 110 * n) for n in range(MAX_POSTS)], now)
    made.receive(event("engine", "again", number=10_000))
    assert made.counters()["alerts_waiting"] == 1
    wait = made._senders[0]._wait()
    assert 0.0 < wait <= POSTS_SECONDS
    made.close(60.0)
    assert posts == [b"again"]


def test_earlier_posts_of_a_clock_that_was_wrong_are_not_counted() -> None:
    made = Alerts(["http://a.example"], "text", "warning", 57120, lambda *_: None)
    made.count_earlier([event("engine", number=100 * n) for n in range(20)], 1.7e9 - 60.0)
    assert len(made._senders[0]._posts) == 0
    made.close(60.0)


def test_an_unexpected_error_does_not_end_the_thread(transport: Transport) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    original, transport.sender._post = transport.sender._post, broken
    transport.sender.offer(event())
    until(lambda: transport.sender.failed == 1)
    transport.sender._post = original
    transport.sender.offer(event())
    transport.pass_time(MIN_RETRY_SECONDS)
    until(lambda: transport.sender.sent == 1)


# The other end -----------------------------------------------------------------------------------


def failure(url: str, timeout: float = 60.0) -> PostFailed:
    """Post to a URL; return how it failed."""
    with pytest.raises(PostFailed) as caught:
        post(Target.parse(url), b"x", {}, timeout)
    assert SECRET not in str(caught.value)
    return caught.value


def free_port() -> int:
    """A TCP port that no program listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unreachable_server_is_tried_again(scheme: str) -> None:
    error = failure(f"{scheme}://dj:{SECRET}@127.0.0.1:{free_port()}/{SECRET}")
    assert not error.final and "refused" in str(error)


def test_an_unknown_host_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(f"http://nowhere.example/{SECRET}")
    assert not error.final and str(error) == "Name or service not known"


def test_a_server_that_hangs_is_abandoned_and_tried_again(receiver: AlertReceiver) -> None:
    receiver.hang.set()
    error = failure(receiver.url(f"/{SECRET}"), timeout=0.2)
    assert not error.final and "no answer" in str(error)


@pytest.mark.parametrize(
    ("status", "final"),
    [(500, False), (503, False), (429, False), (408, False), (404, True), (401, True)],
)
def test_only_a_refusal_is_final(receiver: AlertReceiver, status: int, final: bool) -> None:
    receiver.statuses = [status]
    error = failure(receiver.url())
    assert error.final == final and str(error) == f"it answers with status {status}"


def test_an_alert_arrives_although_the_server_answered_500_twice(
    receiver: AlertReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MIN_RETRY_SECONDS", 0.01)
    receiver.statuses = [500, 500]
    sender = sent_to(receiver.url())
    until(lambda: sender.sent == 1)
    assert len(receiver.received) == 3
    close(sender)


@pytest.mark.parametrize("answer", [b"", b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0"])
def test_a_server_of_another_protocol_is_no_success(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        error = failure(f"http://127.0.0.1:{listening.getsockname()[1]}/{SECRET}")
        thread.join()
    assert not error.final


# Redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_is_posted_again(
    receiver: AlertReceiver, status: int
) -> None:
    receiver.statuses, receiver.location = [status], "/new"
    post(Target.parse(receiver.url("/old", user="dj:pw")), b"body", {}, 60.0)
    first, second = receiver.received
    assert (first.path, second.path) == ("/old", "/new")
    assert (second.method, second.body) == ("POST", b"body")
    assert second.headers["Authorization"] == first.headers["Authorization"]


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/", "http://127.0.0.2:{port}/", "http://127.0.0.1:1/",
        "http://127.0.0.1@example.org/", "//example.org/", "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/", "data:text/plain,x",
    ],
)  # fmt: skip
def test_a_redirect_elsewhere_is_refused(receiver: AlertReceiver, location: str) -> None:
    receiver.statuses, receiver.location = [307], location.format(port=receiver.port)
    assert failure(receiver.url("/", user=f"dj:{SECRET}")).final
    assert len(receiver.received) == 1


def test_a_redirect_may_change_to_https_but_not_back() -> None:
    refused = alerts._refused_redirect
    assert refused("https://example.org/", "http://example.org/", 307)
    assert not refused("http://example.org/", "https://example.org/", 307)
    assert refused("http://example.org/", "https://example.com/", 307)


def test_a_redirect_to_a_page_is_no_success(receiver: AlertReceiver) -> None:
    receiver.statuses, receiver.location = [303], "/thanks"
    assert failure(receiver.url()).final
    assert len(receiver.received) == 1


def test_endless_redirects_end(receiver: AlertReceiver) -> None:
    receiver.statuses, receiver.location = [307] * 100, "/again"
    assert failure(receiver.url()).final
    assert len(receiver.received) < 20


# Control -----------------------------------------------------------------------------------------


def test_a_hanging_server_delays_neither_control_nor_the_other_addresses() -> None:
    with AlertReceiver() as hanging, AlertReceiver() as working:
        hanging.hang.set()
        made = Alerts([hanging.url(), working.url()], "json", "warning", 57120)
        for number in range(100):
            made.receive(event("engine", number=number))
        until(lambda: made.counters()["alerts_sent"] >= 1 and len(hanging.received) == 1)
        assert made._senders[0].sent == 0 and made._senders[0].waiting >= 1
        until(lambda: made._senders[1].waiting == 0)
        made.close(0.0)
        assert made._senders[0]._thread.is_alive(), "control does not wait for it"
    made._senders[0]._thread.join(60.0)


def test_what_waits_is_posted_when_the_server_stops(receiver: AlertReceiver) -> None:
    made = Alerts([receiver.url()], "json", "info", 57120)
    made.receive(event("stopped", "the server has stopped"))
    made.close(60.0)
    assert [json.loads(one.body)["kind"] for one in receiver.received] == ["stopped"]
    assert not made._senders[0]._thread.is_alive()


def test_logs_show_no_part_of_the_url_but_the_host(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.failures = [PostFailed("no network"), PostFailed("status 404", final=True)]
    with caplog.at_level(logging.INFO):
        transport.sender.offer(event())
        transport.await_attempts(1)
        transport.pass_time(MIN_RETRY_SECONDS)
        transport.await_attempts(2)
        transport.sender.offer(event())
        transport.pass_time(MAX_RETRY_SECONDS)
        until(lambda: transport.sender.sent == 1)
        until(lambda: "accepted again" in caplog.text)
    assert SECRET not in caplog.text
    assert "alert to https://example.org failed: no network; trying again" in caplog.text
    assert "status 404; the alert is given up" in caplog.text


def test_a_long_outage_is_logged_once(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.always = PostFailed("no network")
    with caplog.at_level(logging.INFO):
        transport.sender.offer(event())
        for attempt in range(1, 8):
            transport.await_attempts(attempt)
            transport.pass_time(MAX_RETRY_SECONDS)
        transport.await_attempts(8)
    assert caplog.text.count("failed") == 1
