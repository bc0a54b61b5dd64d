"""Calls: their replies, failures, lost packets, restarts and time-outs, without a network."""

from __future__ import annotations

import random
from typing import Any

import pytest

from crowdstream.client.connection import (
    MAX_DATAGRAM_BYTES,
    RENEW_SECONDS,
    RESEND_SECONDS,
    STATUS_SECONDS,
    Call,
    Command,
    Connection,
)
from crowdstream.client.errors import CommandFailed, CommandLate, NoReply, ServerUnavailable
from crowdstream.client.subscriptions import Feed, changes, events, feedback, ticks
from crowdstream.osc.codec import build, bundle, parse

TIMEOUT = 5.0


class Line:
    """A connection whose packets are kept in `sent`, with a clock that tests advance.

    `closed`: no program listens. Each refused packet is reported by the next send, or by `report`.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.sent: list[list[tuple[Any, ...]]] = []
        self.closed = False
        self.reported = True
        self.connection = Connection(self._transmit, lambda: self.now, lambda: self.now + 1e9)

    def _transmit(self, packet: bytes) -> None:
        if not self.reported:
            self.reported = True
            raise ConnectionRefusedError
        if self.closed:
            self.reported = False
            return
        self.sent.append([(m.address, *m.params) for _time, m in parse(packet)])

    def report(self) -> None:
        """Report the refused packet, as a receiving socket does."""
        self.reported = True
        self.connection.on_refused()

    def call(self, address: str, *arguments: Any, **times: float) -> Call:
        """Start a call."""
        return self.connection.start([Command(address, arguments)], TIMEOUT, 60.0, **times)

    def reply(self, address: str, *arguments: Any) -> None:
        """Receive a message."""
        self.connection.receive(build(address, arguments))

    def pong(self, packet: int = -1) -> None:
        """Receive the `/pong` of a packet that was sent."""
        self.reply("/pong", self.sent[packet][-1][1])

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.connection.tick()


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_command_without_reply_is_complete_with_its_pong(line: Line) -> None:
    call = line.call("/deck/A/level", 0.5)
    assert [message[0] for message in line.sent[0]] == ["/deck/A/level", "/ping"]
    assert not call.finished
    line.pong()
    assert call.result() == ()


def test_a_command_that_takes_time_is_complete_with_done(line: Line) -> None:
    call = line.call("/deck/A/load", "x.wav")
    line.pong()
    line.advance(30.0)
    assert not call.finished
    line.reply("/done", "/deck/B/load", 1100)
    assert not call.finished
    line.reply("/done", "/deck/A/load", 100)
    assert call.result() == (100,)


def test_a_query_returns_its_values(line: Line) -> None:
    call = line.call("/version")
    line.reply("/version.reply", "crowdstream", 0, 1)
    assert call.result() == ("crowdstream", 0, 1)
    listed = line.call("/deck/A/fx/list")
    line.reply("/deck/A/fx/list.reply", 1, "echo")
    line.reply("/deck/A/fx/list.reply", 3, "reverb")
    line.reply("/done", "/deck/A/fx/list", 2)
    assert listed.result() == ((1, "echo"), (3, "reverb"))
    parts = line.call("/dj/status")
    line.reply("/dj/status.reply", 1, 2, 2, "}")
    line.reply("/dj/status.reply", 1, 1, 2, "{")
    assert len(parts.result()) == 2


def test_a_failure_belongs_to_the_call_whose_pong_follows(line: Line) -> None:
    good, bad = line.call("/deck/A/level", 0.5), line.call("/deck/A/level", 9.0)
    line.pong(0)
    line.reply("/fail", "/deck/A/level", "out of range")
    line.pong(1)
    assert good.result() == ()
    with pytest.raises(CommandFailed, match="out of range") as found:
        bad.result()
    assert (found.value.address, found.value.reason) == ("/deck/A/level", "out of range")


def test_a_late_failure_of_a_command_that_takes_time(line: Line) -> None:
    call = line.call("/deck/A/load", "x.wav")
    line.pong()
    line.reply("/fail", "/deck/A/load", "no audio")
    assert isinstance(call.error, CommandFailed)


def test_a_late_command_raises_and_a_failure_takes_precedence(line: Line) -> None:
    late = line.call("/deck/A/play", at=5.0)
    assert line.sent[0][-1][2] == 1, "the engine must have received it"
    line.reply("/late", "/deck/A/play", 0.25)
    line.pong()
    assert isinstance(late.error, CommandLate) and late.error.seconds == 0.25
    both = line.call("/deck/*/play")
    line.reply("/late", "/deck/*/play", 0.25)
    line.reply("/fail", "/deck/*/play", "no track")
    line.pong()
    assert isinstance(both.error, CommandFailed)
    assert [type(one) for one in both.error.others] == [CommandLate]


def test_a_scheduled_command_returns_when_it_was_received(line: Line) -> None:
    call = line.call("/record/start", "x.wav", at=line.now + 1e9 + 60.0)
    assert line.sent[0][-1][2] == 0
    line.pong()
    assert call.result() == ()
    line.reply("/fail", "/record/start", "disk full")
    assert [problem.address for problem in line.connection.problems] == ["/record/start"]
    with pytest.raises(CommandFailed, match="disk full"):
        line.connection.raise_problems()
    line.connection.raise_problems()


def test_a_command_at_a_beat_is_wrapped(line: Line) -> None:
    call = line.call("/deck/A/level", 0.5, at_beat=64.0)
    assert line.sent[0][0] == ("/clock/at", 64.0, "/deck/A/level", 0.5)
    line.reply("/fail", "/clock/at", "cannot be scheduled")
    line.pong()
    assert isinstance(call.error, CommandFailed)
    with pytest.raises(ValueError, match="not at both"):
        line.call("/deck/A/level", 0.5, at=1.0, at_beat=1.0)


def test_a_lost_packet_is_sent_again_if_the_command_is_idempotent(line: Line) -> None:
    call = line.call("/deck/A/level", 0.5)
    line.advance(RESEND_SECONDS)
    assert line.sent[1] == line.sent[0] and line.connection.resent == 1
    line.pong()
    assert call.result() == ()
    line.pong()  # the second copy's
    line.reply("/fail", "/deck/A/level", "out of range")
    assert not line.connection.problems


def test_a_lost_packet_is_not_sent_again_if_the_command_acts_each_time(line: Line) -> None:
    call = line.call("/deck/A/jump", 4.0)
    line.advance(TIMEOUT - 0.01)
    assert len(line.sent) == 1 and not call.finished
    line.advance(0.01)
    with pytest.raises(NoReply, match="may have been carried out"):
        call.result()
    assert line.connection.due() == float("inf")


def test_the_packet_of_a_refused_port_is_sent_again_whatever_it_contains(line: Line) -> None:
    line.closed = True
    call = line.call("/deck/A/jump", 4.0)
    line.report()
    assert line.connection.due() == pytest.approx(line.now + 0.1)
    line.advance(0.1)
    line.closed = False
    line.report()
    line.advance(0.1)
    assert [message[0] for message in line.sent[0]] == ["/deck/A/jump", "/ping"]
    line.pong()
    assert call.result() == ()


def test_nothing_is_repeated_if_any_of_several_packets_may_have_been_refused(line: Line) -> None:
    line.call("/deck/A/jump", 4.0)
    jump = line.call("/deck/A/jump", 4.0)
    line.closed = True
    line.report()
    line.advance(1.0)
    assert len(line.sent) == 2 and not jump.refused


def test_a_port_without_a_program_is_reported(line: Line) -> None:
    line.closed = True
    call = line.call("/status")
    for _ in range(60):
        if not line.reported:
            line.report()
        line.advance(0.1)
    with pytest.raises(ServerUnavailable):
        call.result()


def test_an_earlier_server_that_does_not_know_ping_completes_calls(line: Line) -> None:
    call = line.call("/deck/A/level", 0.5)
    line.reply("/fail", "/ping", "unknown address")
    assert call.result() == ()


def test_a_bundle_reports_all_failures(line: Line) -> None:
    commands = [Command("/deck/A/level", (9.0,)), Command("/deck/B/jump", (1.0,))]
    call = line.connection.start(commands, TIMEOUT, 60.0, at=line.now + 1e9)
    line.reply("/fail", "/deck/A/level", "out of range")
    line.reply("/fail", "/deck/B/jump", "not loaded")
    line.pong()
    assert isinstance(call.error, CommandFailed) and len(call.error.others) == 1
    assert not call.repeatable


def test_a_packet_that_is_too_long_is_refused(line: Line) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        line.call("/dj/folders", "x" * MAX_DATAGRAM_BYTES)
    assert not line.sent


def test_malformed_and_strange_packets_are_ignored(line: Line) -> None:
    feed = changes()
    line.connection.add_feed(feed)
    call = line.call("/dj/status")
    for packet in (b"", b"nonsense", build("/pong", ()), build("/pong", ("x",)),
                   build("/fail", ()), build("/done", ()), build("/changed", ()),
                   build("/dj/status.reply", (1,))):
        line.connection.receive(packet)
    assert not call.finished and not feed.items


def test_no_reply_of_another_program_raises(line: Line) -> None:
    dice = random.Random(7)
    feeds: list[Feed[Any]] = [changes(), events(), ticks(24), feedback((), True)]
    for feed in feeds:
        line.connection.add_feed(feed)
    addresses = [
        "/pong", "/fail", "/late", "/done", "/synced", "/status.reply", "/dj/status.reply",
        "/fx/modules.reply", "/changed", "/event", "/clock/tick", "/deck/A/level", "/version.reply",
    ]  # fmt: skip
    values = ["/deck/A/level", "/dj/status", "/ping", "x", 0, -1, 2**40, 1.5, float("nan"),
              float("inf"), None]
    for _ in range(2000):
        command = dice.choice(["/deck/A/level", "/dj/status", "/fx/modules", "/status", "/sync"])
        line.call(command, *([1] if command == "/sync" else []))
        count = dice.randint(0, 6)
        line.reply(dice.choice(addresses), *(dice.choice(values) for _ in range(count)))
        line.advance(dice.choice([0.0, 0.1, 1.0]))
    line.advance(200.0)
    assert not line.connection._calls


# Subscriptions --------------------------------------------------------------------------------


def status(frame: int) -> bytes:
    """A status reply with this frame."""
    return build("/status.reply", (*range(9), "frame", frame, "sample_rate", 44100.0))


def test_changes_arrive_in_bundles(line: Line) -> None:
    feed = changes()
    assert line.connection.add_feed(feed) == [Command("/changes/subscribe", (1,))]
    line.connection.receive(bundle([
        build("/changed", ("/deck/A/level", 0.5)), build("/changed", ("/deck/A/stop",)),
    ]))  # fmt: skip
    assert [item.address for item in feed.items] == ["/deck/A/level", "/deck/A/stop"]


def test_a_restart_is_detected_and_all_subscriptions_are_made_again(line: Line) -> None:
    feeds: list[Feed[Any]] = [changes(), ticks(24), feedback(("/deck/A",), False)]
    for feed in feeds:
        line.connection.add_feed(feed)
    line.advance(STATUS_SECONDS)
    assert line.sent == [[("/status",)]]
    line.connection.receive(status(90000))
    line.advance(STATUS_SECONDS)
    line.connection.receive(status(500))
    assert [feed.restarts for feed in feeds] == [1, 1, 1]
    assert [packet[0] for packet in line.sent[2:]] == [
        ("/changes/subscribe", 1), ("/notify", 1), ("/clock/ticks", 24),
        ("/feedback", 1, 0, "/deck/A"),
    ]  # fmt: skip


def test_a_port_that_was_closed_is_a_restart_too(line: Line) -> None:
    feed = changes()
    line.connection.add_feed(feed)
    line.closed = True
    line.advance(STATUS_SECONDS)
    line.report()
    line.closed = False
    line.advance(STATUS_SECONDS)
    line.connection.receive(status(500))
    line.connection.receive(status(501))
    assert feed.restarts == 1
    assert line.sent[-1] == [("/changes/subscribe", 1)]


def test_subscriptions_are_renewed_and_end_when_nobody_needs_them(line: Line) -> None:
    first, second = events(), ticks(24)
    line.connection.add_feed(first)
    line.connection.add_feed(second)
    for _ in range(int(RENEW_SECONDS / STATUS_SECONDS)):
        line.advance(STATUS_SECONDS)
    assert line.sent[-1] == [("/notify", 1)]
    line.sent.clear()
    line.connection.remove_feed(first)
    assert not line.sent
    line.connection.remove_feed(second)
    line.connection.remove_feed(second)
    assert line.sent == [[("/clock/ticks", 0)], [("/notify", 0)]]


def test_a_subscription_with_other_arguments_is_refused(line: Line) -> None:
    line.connection.add_feed(ticks(24))
    with pytest.raises(ValueError, match="other arguments"):
        line.connection.add_feed(ticks(48))


def test_a_closed_connection_ends_its_calls_and_subscriptions(line: Line) -> None:
    feed = changes()
    line.connection.add_feed(feed)
    call = line.call("/deck/A/load", "x.wav")
    line.connection.close()
    assert feed.closed and isinstance(call.error, NoReply)
    assert line.sent[-1] == [("/changes/subscribe", 0)]
    with pytest.raises(RuntimeError, match="closed"):
        line.call("/status")
    with pytest.raises(RuntimeError, match="closed"):
        line.connection.add_feed(feed)
