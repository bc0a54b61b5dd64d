"""Watchers receive every client's changes in order, and are not flooded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from crowdstream.commands.registry import TABLE
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.publish.change_feed import FLOOD, MAX_BYTES, SEND_SECONDS, newest, packets
from crowdstream.control.publish.subscribers import SILENT_SECONDS
from crowdstream.offline.session import WALL
from crowdstream.osc.codec import BUNDLE, build, parse
from tests.support.offline_server import ME, Rig, at_once, bundle_at
from tests.unit.control.state.test_snapshotter import RestartableRig

OTHER = ("127.0.0.1", 50001)
STRANGER = ("192.0.2.7", 50000)


def received(rig: Rig, client: Any = ME) -> list[tuple[Any, ...]]:
    """The changes received by a client so far."""
    return [values for sender, said, values in rig.answers.said
            if said == "/changed" and sender == client]


def test_watchers_receive_every_clients_changes_in_order(rig: Rig) -> None:
    rig.send("/changes/subscribe")
    rig.send("/changes/subscribe", 1, sender=OTHER)
    assert rig.heard("/done") == [
        ("/changes/subscribe", number, MAX_SUBSCRIBERS) for number in (0, 1)
    ]
    rig.send("/mix/level", 0.5)
    rig.send("/deck/b/eq/low", 0.25, 1.0, sender=OTHER)
    rig.core.perform([("/set_meter", (3,), lambda *_: None, None)])
    rig.raw(at_once(build("/mix/crossfader", (1.0,)), build("/clock/quantize", ("bar",))))
    rig.seconds(0.05)
    expected = [
        ("/mix/level", 0.5), ("/deck/B/eq/low", 0.25, 1.0), ("/set_meter", 3),
        ("/mix/crossfader", 1.0), ("/clock/quantize", "bar"),
    ]
    assert received(rig) == expected
    assert received(rig, OTHER) == expected


def test_clients_that_do_not_watch_receive_nothing(rig: Rig) -> None:
    rig.send("/notify", 1)
    rig.send("/changes/subscribe", 1, sender=OTHER)
    rig.send("/changes/subscribe", 0, sender=OTHER)
    rig.send("/mix/level", 0.5)
    rig.seconds(0.05)
    assert not rig.heard("/changed")


def test_queries_and_failed_commands_are_not_reported(rig: Rig, steady: str) -> None:
    rig.send("/changes/subscribe")
    rig.send("/notify")
    for command in TABLE.commands:
        if not command.changes and not any(arg.low for arg in command.args):
            rig.send(command.address.replace("{deck}", "A").replace("{bus}", "1"), *(
                [1] if command.args else []
            ))
    rig.send("/mix/level", 9.0)
    rig.send("/deck/A/play")
    rig.send("/nothing")
    told_before = len(rig.fails())
    rig.send("/play", "B", steady)
    rig.core.voice_allocator.free_voices = lambda: 0  # type: ignore[method-assign]
    rig.run(1024)  # its start fails, and nothing is reported: the load did not fail
    rig.send("/deck/B/play")  # fails without raising
    assert len(rig.fails()) == told_before + 2
    rig.send("/mix/level", 0.5)
    rig.seconds(0.05)
    assert received(rig) == [("/play", "B", steady), ("/mix/level", 0.5)]


def test_only_queries_are_not_changes() -> None:
    silent = [command.address for command in TABLE.commands if not command.changes]
    assert {"/status", "/notify", "/changes/subscribe", "/sync", "/meters"} <= set(silent)
    # DJ reports are published as the server's own events; detector readings as movement.
    reports = {"/dj/answer", "/dj/state", "/dance/person_count"}
    reports |= {f"/dance/{part}_movement" for part in ("head", "arms", "legs")}
    # Messages of controllers are published as the commands that they send.
    reports |= {"/midi/attach", "/midi/message"}
    for command in TABLE.commands:
        assert command.changes or command.answers or command.address in reports, command.address


def test_arguments_are_reported_as_received(rig: Rig, steady: str) -> None:
    rig.send("/changes/subscribe")
    rig.send("/cue", "a", steady)
    rig.send("/cue", "B", steady, 0.5)
    rig.seconds(0.1)
    rig.send("/start_group", "A", "B", 3.0)
    rig.send("/start_group", "B")
    rig.send("/deck_levels", 1.0, 0.5)
    rig.send("/deck/A/fx/insert", 1, "echo", "beats", 0.5)
    rig.seconds(0.05)
    assert received(rig) == [
        ("/cue", "A", steady), ("/cue", "B", steady, 0.5), ("/start_group", 3.0, "A", "B"),
        ("/start_group", 0.0, "B"),
        ("/deck_levels", 1.0, 0.5), ("/deck/A/fx/insert", 1, "echo", "beats", 0.5),
    ]


def test_scheduled_commands_are_reported_when_they_run(rig: Rig) -> None:
    rig.send("/changes/subscribe")
    rig.raw(bundle_at(WALL + 1.0, "/mix/level", 0.5))
    rig.send("/clock/at", 4.0, "/mix/crossfader", 0.0)
    rig.seconds(0.4)
    assert received(rig) == [("/clock/at", 4.0, "/mix/crossfader", 0.0)]
    rig.seconds(0.2)
    assert received(rig)[1:] == [("/mix/level", 0.5)]
    rig.seconds(1.0)
    assert received(rig)[2:] == [("/mix/crossfader", 0.0)]


@pytest.mark.parametrize("interval", [1, 3])
def test_in_a_flood_the_newest_value_arrives_within_50_ms(rig: Rig, interval: int) -> None:
    rig.send("/changes/subscribe")
    rig.block = 44  # a millisecond
    sent: dict[float, float] = {}
    seen: list[tuple[float, float]] = []
    count = 0
    for step in range(300):
        for _ in range(20 if step % interval == 0 and step < 200 else 0):
            count += 1
            value = count / 16384
            sent[value] = rig.time
            rig.send("/mix/level", value)
            rig.send("/deck/A/level", value)
        rig.step()
        for said in received(rig)[len(seen):]:
            seen.append((rig.time, said[1]))
    assert count > 1300
    values = [value for _, value in seen]
    assert values == sorted(values) and values[-2:] == [count / 16384] * 2
    turns = sorted({when for when, _ in seen})
    assert min(b - a for a, b in itertools.pairwise(turns)) > 0.9 * SEND_SECONDS
    assert len(seen) == 2 * len(turns)
    # Each change was reported in time, itself or a newer one.
    news = iter(turns)
    turn = next(news)
    for when in sorted(sent.values()):
        while turn < when:
            turn = next(news)
        assert turn - when < 0.05


def test_below_a_flood_all_changes_are_reported(rig: Rig) -> None:
    rig.send("/changes/subscribe")
    for step in range(FLOOD):
        rig.send("/mix/level", step / 64)
    rig.seconds(0.05)
    assert [values[1] for values in received(rig)] == [step / 64 for step in range(FLOOD)]
    for number in range(1, 6):
        for gain in (0.25, 0.5, 0.75, 1.0):
            rig.send("/mix/route", "A", "bus1", gain)
            rig.send("/clock/meter", number)
    rig.seconds(0.05)
    assert received(rig)[FLOOD:] == [
        *[("/clock/meter", number) for number in range(1, 5)],
        ("/mix/route", "A", "bus1", 1.0), ("/clock/meter", 5),
    ]


def test_the_newest_change_keeps_its_position() -> None:
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("/a", (1, 0.5)), ("/b", ()), ("/a", (2, 0.5)), ("/a", (1, 0.75)), ("/c", ("x",)),
        ("/c", ("y",)),
    ]
    assert newest(changes) == [
        ("/b", ()), ("/a", (2, 0.5)), ("/a", (1, 0.75)), ("/c", ("x",)), ("/c", ("y",))
    ]


def test_many_changes_are_packed_without_ip_fragmentation() -> None:
    changes: list[tuple[str, tuple[Any, ...]]] = [
        (f"/deck/A/stem/{number % 8}/eq", (number, "é" * (number % 50))) for number in range(200)
    ]
    changes.append(("/load", ("x" * 5000,)))
    changes.append(("/mix/level", (0.5,)))
    packed = list(packets(changes))
    assert 2 < len(packed) < 30
    heard = [message for packet in packed for _, message in parse(packet)]
    assert [(values[0], values[1:]) for _, values in heard] == changes
    assert [len(packet) > MAX_BYTES for packet in packed].count(True) == 1
    assert all(moment is None for packet in packed for moment, _ in parse(packet))
    assert list(packets(changes[:1])) == [build("/changed", (changes[0][0], *changes[0][1]))]
    assert next(packets(changes[:2])).startswith(BUNDLE)


def test_untrusted_senders_may_not_watch(rig: Rig) -> None:
    rig.send("/changes/subscribe", 1, sender=STRANGER)
    assert rig.heard("/done") == []
    assert rig.fails() == ["/changes/subscribe only for --osc-allow"]
    rig.send("/mix/level", 0.5)
    rig.seconds(0.05)
    assert received(rig, STRANGER) == []


def test_the_longest_silent_watcher_is_removed(rig: Rig) -> None:
    for number in range(MAX_SUBSCRIBERS):
        rig.send("/changes/subscribe", sender=("127.0.0.1", 40000 + number))
    rig.send("/changes/subscribe")
    assert rig.fails() == [f"/changes/subscribe {MAX_SUBSCRIBERS} clients are subscribed already"]
    rig.time += SILENT_SECONDS + 1
    for number in set(range(MAX_SUBSCRIBERS)) - {5}:
        rig.send("/version", sender=("127.0.0.1", 40000 + number))
    rig.send("/changes/subscribe")
    assert rig.heard("/done")[-1] == ("/changes/subscribe", 5, MAX_SUBSCRIBERS)


def test_the_program_that_hosts_the_server_can_watch_and_listen(rig: Rig) -> None:
    said: list[tuple[Any, ...]] = []
    heard: list[tuple[str, tuple[Any, ...]]] = []
    rig.core.changes.listen(lambda address, values: heard.append((address, values)))
    rig.core.perform([("/changes/subscribe", (), lambda *values: said.append(values), None)])
    rig.send("/mix/level", 0.5)
    rig.send("/mix/crossfader", 0.5)
    rig.seconds(0.05)
    assert said[1:] == [("/changed", "/mix/level", 0.5), ("/changed", "/mix/crossfader", 0.5)]
    assert heard == [("/mix/level", (0.5,)), ("/mix/crossfader", (0.5,))]


def test_watchers_stay_subscribed_when_control_is_replaced(tmp_path: Path) -> None:
    with RestartableRig() as rig:
        rig.send("/changes/subscribe")
        rig.send("/changes/subscribe", 1, sender=OTHER)
        rig.send("/changes/subscribe", 0, sender=OTHER)
        rig.note()
        rig.restart_control()
        rig.send("/mix/level", 0.5)
        rig.seconds(0.05)
        assert received(rig) == [("/mix/level", 0.5)]
        assert received(rig, OTHER) == []
