"""Connection to a server that is available, unavailable, back, restarted, or refusing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from crowdstream.top.client import MAX_EARLIER, SILENT_SECONDS, SUBSCRIBE_SECONDS, Client
from crowdstream.top.readings import BAD, FLOOR, OK, WARN, Readings
from tests.support.server import until
from tests.support.top_terminal import Server, status


class Talk:
    """A server, a client, and a clock that moves only on request."""

    def __init__(self) -> None:
        self.server = Server()
        self.readings = Readings("127.0.0.1", self.server.port)
        self.client = Client(self.readings, 5.0)
        self.now = 0.0

    def turn(self, seconds: float = 1.0, messages: int = 1) -> None:
        """Let time pass: the client polls, the server replies, the client receives the reply."""
        self.now += seconds
        self.client.tick(self.now)
        before = self.readings.status
        self.server.serve(messages)
        self.hear(lambda: self.readings.status is not before)

    def hear(self, condition: Callable[[], bool]) -> None:
        """Receive until the condition is true; no time passes."""

        def heard() -> bool:
            self.client._receive(self.now)
            return condition()

        until(heard)

    def said(self) -> list[str]:
        """Return the texts of the log."""
        return [entry.text for entry in self.readings.log]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """A client and its server, both closed in all cases."""
    talk = Talk()
    yield talk
    talk.client.close()
    talk.server.close()


def test_the_client_polls_subscribes_and_unsubscribes(talk: Talk) -> None:
    talk.turn()
    assert talk.readings.answers
    assert talk.readings.text("deck.A.track") == "night drive"
    talk.turn(1.0, 4)
    assert talk.server.heard[1:] == [
        ("/status",), ("/notify", 1), ("/meters", 5.0), ("/events", MAX_EARLIER),
    ]  # fmt: skip
    talk.client.close()
    talk.server.serve(2)
    assert talk.server.heard[-2:] == [("/meters", 0.0), ("/notify", 0)]


def test_meters_and_events_are_stored(talk: Talk) -> None:
    talk.turn()
    talk.server.say("/meter", "master", -3.0, -10.0, -14.0)
    talk.server.say("/ended", 100, "night drive")
    talk.server.say("/meter", "master", "strange")
    talk.hear(lambda: talk.said()[-1].endswith("ended"))
    assert talk.readings.meter("master").held(talk.now) == -3.0


def test_the_client_subscribes_again_when_the_server_is_back(talk: Talk) -> None:
    talk.turn()
    talk.turn(1.0, 4)
    port = talk.server.port
    talk.server.close()
    for _ in range(3):
        talk.now += SILENT_SECONDS
        talk.client.tick(talk.now)
    assert not talk.readings.answers
    assert talk.readings.trouble == "no program listens on that port"
    assert talk.readings.text("deck.A.track") == "night drive"  # the last known value
    talk.server = Server(port)
    talk.server.status = status(frame=100)
    talk.turn()
    assert talk.readings.answers
    assert talk.said()[-3:] == [
        "the server no longer answers", "the server answers again",
        "the server was restarted",
    ]  # fmt: skip
    talk.turn(1.0, 4)
    assert ("/notify", 1) in talk.server.heard
    assert talk.readings.number("frame") == 100


def test_a_quick_restart_is_detected_and_subscribed_again(talk: Talk) -> None:
    talk.turn()
    talk.turn(0.5, 4)
    talk.server.status = status(frame=5, A_state="empty", A_track="")
    talk.turn(0.5)
    assert talk.said()[-1] == "the server was restarted"
    talk.turn(0.5, 4)
    assert talk.server.heard[-3][0] == "/notify"


def test_the_subscription_is_renewed_regularly(talk: Talk) -> None:
    talk.turn()
    talk.turn(0.5, 4)
    for _ in range(int(SUBSCRIBE_SECONDS) - 1):
        talk.turn(1.0)
    assert talk.server.heard.count(("/notify", 1)) == 1
    talk.turn(1.0, 3)
    assert talk.server.heard.count(("/notify", 1)) == 2


def test_a_server_that_refuses_the_client_is_reported(talk: Talk) -> None:
    talk.turn()
    talk.server.say("/fail", "/status", "see --osc-allow")
    talk.hear(lambda: "refuses this client" in talk.readings.trouble)
    assert "see --osc-allow" in talk.readings.trouble


def test_the_clients_own_messages_are_not_counted(talk: Talk) -> None:
    talk.turn()
    talk.turn(1.0, 4)
    talk.server.status = status(messages=100 + 4 + 40)
    talk.turn(1.0)
    assert talk.readings.osc_rate == pytest.approx(20.0, abs=1.0)


def test_a_meter_without_updates_becomes_silent(talk: Talk) -> None:
    talk.turn()
    meter = talk.readings.meter("master")
    meter.update(-3.0, -10.0, -14.0, talk.now)
    talk.client.tick(talk.now + SUBSCRIBE_SECONDS)
    assert meter.peak == -3.0
    talk.client.tick(talk.now + 2 * SUBSCRIBE_SECONDS)
    assert meter.peak == FLOOR


def test_malformed_packets_are_ignored(talk: Talk) -> None:
    talk.turn()
    talk.server._socket.sendto(b"/status.reply\0\0\0,sss", talk.server._client)
    talk.turn()
    assert talk.readings.answers


EARLIER = ("2026-11-20T23:04:05.123Z", "error", "device_lost", "the sound device is gone")
LATER = ("2026-11-21T22:04:05.123Z", "warning", "loader", "the loader died")


def test_events_from_before_the_connection_are_shown_before_its_own_lines(talk: Talk) -> None:
    talk.server.events = [EARLIER, LATER]
    talk.turn()
    talk.turn(1.0, 4)
    talk.hear(lambda: LATER[3] in talk.said())
    assert talk.said() == [EARLIER[3], LATER[3], "the server answers"]
    assert [entry.grade for entry in talk.readings.log] == [BAD, WARN, OK]


def test_an_event_is_shown_once_although_it_is_received_in_three_forms(talk: Talk) -> None:
    """As the notification of its own, as `/event`, and in the list after a restart."""
    talk.turn()
    talk.turn(1.0, 4)
    talk.hear(lambda: talk.client._has_events)
    talk.server.say("/device", 0)
    talk.server.say("/event", *EARLIER)
    talk.hear(lambda: EARLIER[3] in talk.said())
    talk.server.events = [EARLIER]
    talk.server.status = status(frame=5)
    talk.turn(0.5)
    talk.turn(0.5, 4)
    talk.hear(lambda: talk.client._has_events)
    assert talk.said().count(EARLIER[3]) == 1
    assert [one for one in talk.said() if "device" in one] == [EARLIER[3]]


def test_a_server_without_an_event_log_is_asked_once(talk: Talk) -> None:
    talk.turn()
    talk.server.say("/fail", "/events", "unknown address")
    talk.server.say("/device", 0)
    talk.hear(lambda: "the sound device is gone" in talk.said())
    assert not any("/events" in one for one in talk.said())
    talk.turn(1.0, 3)
    assert talk.server.heard[-1][0] == "/meters"


@pytest.mark.parametrize("values", [(), (1,), (1, "x", "y"), (1, "no time", "error", "a", "b")])
def test_a_malformed_list_of_events_is_ignored(talk: Talk, values: tuple[object, ...]) -> None:
    talk.turn()
    talk.server.say("/events.reply", *values)
    talk.hear(lambda: talk.client._has_events)
    assert talk.said() == ["the server answers"]
