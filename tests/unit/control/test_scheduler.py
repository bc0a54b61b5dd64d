"""Scheduled messages: long waits are reported, and messages can be listed and cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.control.publish.state_view import StateView
from crowdstream.control.scheduler import (
    MAX_LISTED,
    MAX_SCHEDULED_BY_STRANGERS,
    MIN_REPORTED_WAIT_SECONDS,
)
from crowdstream.offline.session import WALL
from crowdstream.osc.codec import build
from tests.support.offline_server import ME, Rig, at_once, bundle
from tests.unit.control.state.test_snapshotter import RestartableRig

OTHER = ("127.0.0.1", 50001)
STRANGER = ("192.0.2.7", 50000)
HOUR, DAY = 3600.0, 86400.0


def received(rig: Rig, address: str, who: Any = ME) -> list[tuple[Any, ...]]:
    """Return the arguments of all messages to a sender with this address."""
    return [values for sender, said, values in rig.answers.said if (sender, said) == (who, address)]


def held(rig: Rig) -> list[str]:
    """Return the addresses of all scheduled messages."""
    return [one.entry[0] for one in rig.core.scheduler.listed()]


@pytest.mark.parametrize("seconds", [MIN_REPORTED_WAIT_SECONDS + 1, 90.0, HOUR, 3 * DAY])
def test_the_sender_of_a_distant_bundle_is_notified_of_the_wait(
    rig: Rig, seconds: float
) -> None:
    rig.raw(bundle(seconds, build("/mix/level", (0.5,)), build("/deck/A/stop", ())))
    ((address, wait, count, number),) = received(rig, "/waiting")
    assert (address, count) == ("/mix/level", 2)
    assert wait == pytest.approx(seconds, abs=1e-2)
    rig.send("/cancel/number", number)
    assert received(rig, "/done") == [("/cancel/number", 2)]


def test_a_bundle_a_few_seconds_ahead_is_not_reported(rig: Rig) -> None:
    for seconds in (-1.0, 0.0, 0.2, 2.0, MIN_REPORTED_WAIT_SECONDS - 1):
        rig.raw(bundle(seconds, build("/mix/level", (0.5,))))
    assert not rig.heard("/waiting")


def test_each_time_of_nested_bundles_is_reported(rig: Rig) -> None:
    level = build("/mix/level", (0.5,))
    rig.raw(bundle(100.0, level, bundle(200.0, level, level)))
    assert [(round(wait), count) for _, wait, count, _ in received(rig, "/waiting")] == [
        (100, 1), (200, 2),
    ]


@pytest.mark.parametrize("address", ["/reset", "/clock/reset", "/mixer_cleanup"])
def test_a_reset_discards_all_messages_sent_before_it(rig: Rig, address: str) -> None:
    rig.raw(bundle(5.0, build("/mix/level", (0.5,)), build("/mix/level", (0.25,))))
    rig.packet(bundle(HOUR, build("/mix/level", (0.75,))), OTHER)
    rig.send("/clock/at", 64.0, "/mix/level", 0.1)
    rig.send(address)
    assert len(rig.core.scheduler) == 0
    assert received(rig, "/cancelled") == [(address, 3)]
    assert received(rig, "/cancelled", OTHER) == [(address, 1)]
    rig.raw(bundle(1.0, build("/mix/level", (0.5,))))
    assert held(rig) == ["/mix/level"]
    rig.seconds(1.2)
    assert StateView(rig.core).changes()["mixer"]["master_level"] == 0.5


def test_a_scheduled_reset_discards_only_messages_sent_before_it(rig: Rig) -> None:
    rig.raw(bundle(9.0, build("/mix/level", (0.5,))))
    rig.raw(bundle(2.0, build("/reset", ()), build("/deck/A/level", (0.5,))))
    rig.raw(bundle(3.0, build("/mix/cue/level", (0.25,))))
    rig.raw(bundle(2.0, build("/mix/cue/level", (0.75,))))
    rig.seconds(2.2)
    assert held(rig) == ["/mix/cue/level"]
    rig.seconds(1.0)
    rig.run(2048)
    assert StateView(rig.core).changes()["mixer"]["cue_level"] == 0.25
    assert rig.status()["deck.A.level"] == 0.5


@pytest.fixture
def full(rig: Rig) -> Rig:
    """A rig with scheduled messages for decks A and B, with new and old addresses."""
    messages = [
        ("/deck/A/play", ()), ("/deck/A/eq/low", (0.5,)), ("/deck/b/eq/low", (0.5,)),
        ("/fade", ("A", 0.0, 2.0)), ("/fade", ("B", 0.0, 2.0)), ("/start_group", (0.0, "A", "B")),
        ("/stop_stem", (100,)), ("/stop_stem", (1100,)), ("/schedule_c_at", ()),
        ("/mix/level", (0.5,)), ("/deck/{A,B}/level", (0.5,)),
    ]  # fmt: skip
    for number, (address, arguments) in enumerate(messages):
        rig.raw(bundle(20.0 + number, build(address, arguments)))
    rig.send("/clock/at", 400.0, "/deck/A/stop")
    rig.answers.said.clear()
    return rig


def test_cancel_without_arguments_cancels_everything(full: Rig) -> None:
    full.send("/cancel")
    assert received(full, "/done") == [("/cancel", 12)]
    assert len(full.core.scheduler) == 0
    assert not received(full, "/cancelled"), "the reply reports it already"
    full.send("/cancel", 1.0)
    full.send("/cancel", 0.0)
    assert received(full, "/done")[1:] == [("/cancel", 0)]


def test_cancelling_a_deck_includes_old_addresses(full: Rig) -> None:
    full.send("/cancel", "a")
    assert held(full) == [
        "/deck/b/eq/low", "/fade", "/stop_stem", "/schedule_c_at", "/mix/level", "/deck/B/level",
    ]
    assert received(full, "/done") == [("/cancel", 7)]
    full.send("/cancel", "B", "C")
    assert held(full) == ["/mix/level"]


def test_cancelling_an_address_includes_addresses_below_it(full: Rig) -> None:
    full.send("/cancel", "/deck/*/eq", "/mix")
    assert not {"/deck/A/eq/low", "/deck/b/eq/low", "/mix/level"} & set(held(full))
    full.send("/cancel", "/deck/A")
    assert held(full) == [
        "/fade", "/fade", "/start_group", "/stop_stem", "/stop_stem", "/schedule_c_at",
        "/deck/B/level",
    ]


def test_the_rest_of_a_cancelled_pattern_or_bundle_still_acts(rig: Rig) -> None:
    rig.raw(bundle(2.0, build("/deck/*/level", (0.5,)), build("/mix/level", (0.25,))))
    rig.send("/clock/at", 4.0, "/deck/*/eq/low", 0.5)
    rig.send("/cancel", "/mix", "C")
    rig.seconds(2.2)
    status = rig.status()
    assert [status[f"deck.{letter}.level"] for letter in "ABCD"] == [0.5, 0.5, 1.0, 0.5]
    assert [status[f"deck.{letter}.low"] for letter in "ABCD"] == [0.5, 0.5, 1.0, 0.5]
    assert StateView(rig.core).changes()["mixer"]["master_level"] == 1.0


def test_other_senders_are_notified_of_a_cancellation(rig: Rig) -> None:
    rig.packet(bundle(HOUR, build("/mix/level", (0.5,))), OTHER)
    rig.send("/cancel", "/mix/*")
    assert received(rig, "/cancelled", OTHER) == [("/cancel", 1)]
    assert received(rig, "/done") == [("/cancel", 1)]


@pytest.mark.parametrize(
    ("what", "reason"),
    [(["E"], "an address"), (["/deck/["], "without ]"), (["/x"] * 33, "the maximum is 32")],
)
def test_an_invalid_selection_to_cancel_is_refused(full: Rig, what: list[str], reason: str) -> None:
    before = held(full)
    full.send("/cancel", *what)
    assert reason in full.fails()[0]
    assert held(full) == before


def test_cancelling_an_unknown_number_is_refused(full: Rig) -> None:
    full.send("/cancel/number", 99)
    assert "no scheduled message has number 99" in full.fails()[0]


def test_scheduled_messages_are_listed_in_order_of_time(full: Rig) -> None:
    full.raw(bundle(15.0, build("/mix/crossfader", (0.5,))))
    assert held(full)[0] == "/mix/crossfader"
    full.send("/cancel", "/mix/crossfader")
    full.send("/waiting")
    ((count, *values),) = received(full, "/waiting.reply")
    assert count == 12
    numbers, seconds, addresses = values[::3], values[1::3], values[2::3]
    assert len(set(numbers)) == 12
    assert seconds == sorted(seconds)
    assert addresses[0] == "/deck/A/play"
    assert addresses[-1] == "/deck/A/stop"
    for _ in range(MAX_LISTED):
        full.raw(bundle(30.0, build("/mix/level", (0.5,))))
    full.send("/waiting")
    assert len(received(full, "/waiting.reply")[1]) == 1 + 3 * MAX_LISTED


def test_pages_show_scheduled_messages(full: Rig) -> None:
    picture = StateView(full.core)
    shown = picture.changes()["waiting"]
    assert shown["count"] == 12
    first = shown["messages"][1]
    assert (first["address"], first["arguments"], first["sender"]) == (
        "/deck/A/eq/low", "0.5", ME[0],
    )
    assert first["at"] == pytest.approx(WALL + 21.0, abs=0.01)
    full.run(1024)
    assert "waiting" not in picture.changes(), "the passage of time is not a change"
    full.send("/cancel/number", first["number"])
    assert picture.changes()["waiting"]["count"] == 11


def test_cancelling_frees_the_places_of_strangers(rig: Rig) -> None:
    message = build("/mix/level", (0.5,))
    for _ in range(2):
        for _ in range(MAX_SCHEDULED_BY_STRANGERS):
            rig.packet(bundle(HOUR, message), STRANGER)
        assert len(rig.core.scheduler) == MAX_SCHEDULED_BY_STRANGERS
        rig.send("/cancel")
    assert not rig.fails()


def test_cancelled_messages_stay_cancelled_after_control_dies() -> None:
    with RestartableRig() as rig:
        rig.raw(bundle(30.0, build("/mix/level", (0.5,)), build("/deck/*/level", (0.25,))))
        rig.raw(at_once(build("/clock/at", (100.0, "/mix/level", 0.1))))
        rig.note()
        rig.send("/cancel", "/mix", "D")
        rig.note()
        rig.restart_control()
        assert held(rig) == ["/deck/A/level", "/deck/B/level", "/deck/C/level"]
        rig.send("/cancel", "/deck/A")
        assert len(rig.core.scheduler) == 2
