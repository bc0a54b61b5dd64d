"""Replies to strangers are never more than four times as long as their packets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.replies import MAX_AMPLIFICATION, NO_SUBSCRIPTION, TOO_LONG_REPLY
from crowdstream.control.scheduler import MAX_SCHEDULED_BY_STRANGERS
from crowdstream.osc.codec import build
from tests.support.offline_server import ME, Rig, at_once, bundle, level, write

ADDRESSES = sorted(TABLE._exact)


def stranger(port: int = 9) -> tuple[str, int]:
    return ("192.0.2.1", port)


def bytes_sent(rig: Rig) -> Counter[Any]:
    """Count the bytes of all replies to each sender."""
    sent: Counter[Any] = Counter()
    for to, address, arguments in rig.answers.said:
        sent[to] += len(build(address, arguments))
    return sent


def sent_to(rig: Rig, sender: Any) -> int:
    """Count the bytes of all replies to one sender."""
    return bytes_sent(rig)[sender]


def a_value(arg: Arg, track: str) -> Any:
    """Return a valid value for an argument."""
    if arg.type == "*":
        return 1
    if arg.choices:
        return arg.choices[0]
    if arg.name == "path":
        return track
    if arg.type == "s":
        return "/status"
    low = 0.0 if arg.low is None else arg.low
    value = min(max(1.0, low), low + 1 if arg.high is None else arg.high)
    return int(value) if arg.type == "i" else float(value)


def requests(track: str) -> Iterator[bytes]:
    """Yield packets to each address with valid, without, and with invalid arguments."""
    for address in ADDRESSES:
        command, _known = TABLE.find(address)
        right = [a_value(arg, track) for arg in command.args]
        for arguments in (right, [], [*right, 1, 2, 3], ["?"] * len(right)):
            yield build(address, tuple(arguments))
    yield b"/status\0"
    yield b"/x\0\0"
    yield b"nonsense"
    yield b"?"
    yield b"#bundle\0"
    yield bundle(-5.0, build("/stop_stem", (100,)))  # late
    yield at_once(*[build("/status", ())] * 20)
    yield at_once(*[build("/version", ()), build("/status", ()), build("/sync", (1,))] * 5)


@pytest.fixture
def open_rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(record_folder=tmp_path / "none")
    yield rig
    rig.close()


def test_no_command_of_the_table_amplifies(
    open_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = open_rig
    track = str(write(tmp_path / "a.wav", level(1)))
    every = list(requests(track))
    assert len(every) > 4 * 200
    answered = longer = 0
    for number, packet in enumerate(every):
        rig.core.handle_packet(packet, stranger(number))
        rig.core.handle_packet(packet, ("127.0.0.1", number))
        if number % 50 == 0:
            rig.run(256)
    rig.seconds(2)  # for later replies, and for events
    rig.core.notify("/underrun", "device", 1, 0.0)
    sent = bytes_sent(rig)
    for number, packet in enumerate(every):
        got = sent[stranger(number)]
        assert got <= MAX_AMPLIFICATION * len(packet), packet
        answered += got > 0
        longer += sent["127.0.0.1", number] > MAX_AMPLIFICATION * len(packet)
    assert answered > 600, "most packets get a reply, so it is the limit that keeps them short"
    assert longer > 50, "trusted senders receive complete replies"
    assert rig.status()["withheld"] > 50


def test_random_packets_are_not_amplified_either(open_rig: Rig) -> None:
    source = random.Random(1)
    packets = []
    for number in range(2000):
        parts = [build(source.choice(ADDRESSES), ()) for _ in range(source.randint(1, 5))]
        packets.append(at_once(*parts)[: source.randint(1, 400) & ~3 or 1])
        open_rig.core.handle_packet(packets[-1], stranger(number))
    sent = bytes_sent(open_rig)
    for number, packet in enumerate(packets):
        assert sent[stranger(number)] <= MAX_AMPLIFICATION * len(packet)


def test_a_reply_that_is_too_long_is_counted_and_replaced(open_rig: Rig) -> None:
    open_rig.core.handle_packet(build("/status", ()), stranger())
    assert open_rig.answers.said == [(stranger(), "/fail", ("/status", TOO_LONG_REPLY))]
    assert open_rig.status()["withheld"] == 1
    open_rig.core.handle_packet(build("/version", ()), stranger())
    assert len(open_rig.heard("/version.reply")) == 1, "a reply that fits is sent"


def test_trusted_senders_receive_complete_replies() -> None:
    rig = Rig(osc_allow=["192.0.2.0/24"])
    try:
        for sender in (stranger(), ME, ("::ffff:192.0.2.5", 1, 0, 0)):
            rig.core.handle_packet(build("/status", ()), sender)
        assert len(rig.heard("/status.reply")) == 3
    finally:
        rig.close()


def test_strangers_can_not_subscribe(open_rig: Rig) -> None:
    rig = open_rig
    for message in (("/notify", 1), ("/meters", 30.0), ("/meters", 30.0, "all")):
        rig.core.handle_packet(build(message[0], message[1:]), stranger())
    rig.core.handle_packet(build("/clock/ticks", (24,)), stranger())
    assert [said[2][1] for said in rig.answers.said[:3]] == [NO_SUBSCRIPTION] * 3
    assert "not subscribed" in rig.fails()[3]
    before = sent_to(rig, stranger())
    rig.core.notify("/underrun", "device", 1, 0.0)
    rig.seconds(1)
    assert sent_to(rig, stranger()) == before
    rig.core.handle_packet(build("/notify", (0,)), stranger())
    rig.core.handle_packet(build("/meters", (0.0,)), stranger())
    assert len(rig.fails()) == 4, "unsubscribing is always allowed"


def test_no_reply_is_sent_to_a_failure(open_rig: Rig) -> None:
    """Two servers, each with the other as forged sender, would exchange replies endlessly."""
    for sender in (stranger(), ME):
        open_rig.core.handle_packet(build("/fail", ("/x", "unknown address")), sender)
    assert not open_rig.answers.said
    assert open_rig.core.failures == 2


def test_scheduled_messages_of_strangers_do_not_displace_others(open_rig: Rig) -> None:
    rig = open_rig
    batch = [build("/deck_levels", (0.5,))] * 100
    for _ in range(MAX_SCHEDULED_BY_STRANGERS // 100 + 10):
        rig.core.handle_packet(bundle(1.0, *batch), stranger())
    assert rig.status()["waiting"] == MAX_SCHEDULED_BY_STRANGERS // 100 * 100
    message = build("/clock/at", (2.5, "/deck_levels", 0.5))
    for _ in range(200):
        rig.core.handle_packet(message, stranger())
    assert rig.status()["waiting"] == MAX_SCHEDULED_BY_STRANGERS
    before = len(rig.fails())
    rig.raw(bundle(1.0, *batch))
    rig.raw(message)
    assert (rig.status()["waiting"], len(rig.fails())) == (MAX_SCHEDULED_BY_STRANGERS + 101, before)
    rig.seconds(1.5)
    assert rig.status()["waiting"] == 0
    rig.core.handle_packet(message, stranger())
    for _ in range(MAX_SCHEDULED_BY_STRANGERS // 100):
        rig.core.handle_packet(bundle(9.0, *batch), stranger())
    assert rig.status()["waiting"] == MAX_SCHEDULED_BY_STRANGERS // 100 * 100, (
        "their places are free again"
    )
