"""Messages that wait: their senders know for how long, and they can be listed and discarded."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.control.publish.state_view import StateView
from crowdstream.control.scheduler import MAX_LISTED, MIN_TOLD_SECONDS, STRANGERS_HELD
from crowdstream.offline.session import WALL
from crowdstream.osc.codec import build
from tests.support.offline_server import ME, Rig, at_once, bundle
from tests.unit.control.state.test_snapshotter import Mortal

OTHER = ("127.0.0.1", 50001)
STRANGER = ("192.0.2.7", 50000)
HOUR, DAY = 3600.0, 86400.0


def told(rig: Rig, address: str, who: Any = ME) -> list[tuple[Any, ...]]:
    """What somebody was told."""
    return [values for sender, said, values in rig.answers.said if (sender, said) == (who, address)]


def held(rig: Rig) -> list[str]:
    """Addresses of what waits."""
    return [one.entry[0] for one in rig.core.waiting.listed()]


@pytest.mark.parametrize("seconds", [MIN_TOLD_SECONDS + 1, 90.0, HOUR, 3 * DAY])
def test_the_sender_of_a_bundle_far_ahead_is_told_how_long_it_waits(
    rig: Rig, seconds: float
) -> None:
    rig.raw(bundle(seconds, build("/mix/level", (0.5,)), build("/deck/A/stop", ())))
    ((address, wait, count, number),) = told(rig, "/waiting")
    assert (address, count) == ("/mix/level", 2)
    assert wait == pytest.approx(seconds, abs=1e-2)
    rig.send("/cancel/number", number)
    assert told(rig, "/done") == [("/cancel/number", 2)]


def test_the_sender_of_a_bundle_that_a_sequencer_sends_ahead_is_told_nothing(rig: Rig) -> None:
    for seconds in (-1.0, 0.0, 0.2, 2.0, MIN_TOLD_SECONDS - 1):
        rig.raw(bundle(seconds, build("/mix/level", (0.5,))))
    assert not rig.heard("/waiting")


def test_each_time_of_nested_bundles_is_told(rig: Rig) -> None:
    level = build("/mix/level", (0.5,))
    rig.raw(bundle(100.0, level, bundle(200.0, level, level)))
    assert [(round(wait), count) for _, wait, count, _ in told(rig, "/waiting")] == [
        (100, 1), (200, 2),
    ]


@pytest.mark.parametrize("address", ["/reset", "/clock/reset", "/mixer_cleanup"])
def test_a_reset_discards_what_was_sent_before_it(rig: Rig, address: str) -> None:
    rig.raw(bundle(5.0, build("/mix/level", (0.5,)), build("/mix/level", (0.25,))))
    rig.packet(bundle(HOUR, build("/mix/level", (0.75,))), OTHER)
    rig.send("/clock/at", 64.0, "/mix/level", 0.1)
    rig.send(address)
    assert len(rig.core.waiting) == 0
    assert told(rig, "/cancelled") == [(address, 3)]
    assert told(rig, "/cancelled", OTHER) == [(address, 1)]
    rig.raw(bundle(1.0, build("/mix/level", (0.5,))))
    assert held(rig) == ["/mix/level"]
    rig.seconds(1.2)
    assert StateView(rig.core).changes()["mixer"]["master_level"] == 0.5


def test_a_reset_that_waits_itself_discards_only_what_was_sent_before_it(rig: Rig) -> None:
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
    """A rig that holds messages for decks A and B, under new and old addresses."""
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


def test_all_that_waits_is_cancelled(full: Rig) -> None:
    full.send("/cancel")
    assert told(full, "/done") == [("/cancel", 12)]
    assert len(full.core.waiting) == 0
    assert not told(full, "/cancelled"), "the answer says so already"
    full.send("/cancel", 1.0)
    full.send("/cancel", 0.0)
    assert told(full, "/done")[1:] == [("/cancel", 0)]


def test_what_is_for_a_deck_is_cancelled_under_every_address(full: Rig) -> None:
    full.send("/cancel", "a")
    assert held(full) == [
        "/deck/b/eq/low", "/fade", "/stop_stem", "/schedule_c_at", "/mix/level", "/deck/B/level",
    ]
    assert told(full, "/done") == [("/cancel", 7)]
    full.send("/cancel", "B", "C")
    assert held(full) == ["/mix/level"]


def test_addresses_and_what_is_below_them_are_cancelled(full: Rig) -> None:
    full.send("/cancel", "/deck/*/eq", "/mix")
    assert not {"/deck/A/eq/low", "/deck/b/eq/low", "/mix/level"} & set(held(full))
    full.send("/cancel", "/deck/A")
    assert held(full) == [
        "/fade", "/fade", "/start_group", "/stop_stem", "/stop_stem", "/schedule_c_at",
        "/deck/B/level",
    ]


def test_what_is_left_of_a_pattern_or_a_bundle_acts_at_its_time(rig: Rig) -> None:
    rig.raw(bundle(2.0, build("/deck/*/level", (0.5,)), build("/mix/level", (0.25,))))
    rig.send("/clock/at", 4.0, "/deck/*/eq/low", 0.5)
    rig.send("/cancel", "/mix", "C")
    rig.seconds(2.2)
    status = rig.status()
    assert [status[f"deck.{letter}.level"] for letter in "ABCD"] == [0.5, 0.5, 1.0, 0.5]
    assert [status[f"deck.{letter}.low"] for letter in "ABCD"] == [0.5, 0.5, 1.0, 0.5]
    assert StateView(rig.core).changes()["mixer"]["master_level"] == 1.0


def test_others_are_told_that_theirs_was_cancelled(rig: Rig) -> None:
    rig.packet(bundle(HOUR, build("/mix/level", (0.5,))), OTHER)
    rig.send("/cancel", "/mix/*")
    assert told(rig, "/cancelled", OTHER) == [("/cancel", 1)]
    assert told(rig, "/done") == [("/cancel", 1)]


@pytest.mark.parametrize(
    ("what", "reason"),
    [(["E"], "an address"), (["/deck/["], "without ]"), (["/x"] * 33, "at most 32")],
)
def test_what_can_not_be_cancelled_is_said(full: Rig, what: list[str], reason: str) -> None:
    before = held(full)
    full.send("/cancel", *what)
    assert reason in full.fails()[0]
    assert held(full) == before


def test_a_number_that_nothing_has_is_refused(full: Rig) -> None:
    full.send("/cancel/number", 99)
    assert "nothing that waits has 99" in full.fails()[0]


def test_what_waits_is_listed_soonest_first(full: Rig) -> None:
    full.raw(bundle(15.0, build("/mix/crossfader", (0.5,))))
    assert held(full)[0] == "/mix/crossfader"
    full.send("/cancel", "/mix/crossfader")
    full.send("/waiting")
    ((count, *values),) = told(full, "/waiting.reply")
    assert count == 12
    numbers, seconds, addresses = values[::3], values[1::3], values[2::3]
    assert len(set(numbers)) == 12
    assert seconds == sorted(seconds)
    assert addresses[0] == "/deck/A/play"
    assert addresses[-1] == "/deck/A/stop"
    for _ in range(MAX_LISTED):
        full.raw(bundle(30.0, build("/mix/level", (0.5,))))
    full.send("/waiting")
    assert len(told(full, "/waiting.reply")[1]) == 1 + 3 * MAX_LISTED


def test_pages_are_shown_what_waits(full: Rig) -> None:
    picture = StateView(full.core)
    shown = picture.changes()["waiting"]
    assert shown["count"] == 12
    first = shown["messages"][1]
    assert (first["address"], first["arguments"], first["sender"]) == (
        "/deck/A/eq/low", "0.5", ME[0],
    )
    assert first["at"] == pytest.approx(WALL + 21.0, abs=0.01)
    full.run(1024)
    assert "waiting" not in picture.changes(), "time that passes is no news"
    full.send("/cancel/number", first["number"])
    assert picture.changes()["waiting"]["count"] == 11


def test_places_of_strangers_are_free_again_when_theirs_is_cancelled(rig: Rig) -> None:
    message = build("/mix/level", (0.5,))
    for _ in range(2):
        for _ in range(STRANGERS_HELD):
            rig.packet(bundle(HOUR, message), STRANGER)
        assert len(rig.core.waiting) == STRANGERS_HELD
        rig.send("/cancel")
    assert not rig.fails()


def test_what_was_cancelled_stays_cancelled_when_control_dies() -> None:
    with Mortal() as rig:
        rig.raw(bundle(30.0, build("/mix/level", (0.5,)), build("/deck/*/level", (0.25,))))
        rig.raw(at_once(build("/clock/at", (100.0, "/mix/level", 0.1))))
        rig.note()
        rig.send("/cancel", "/mix", "D")
        rig.note()
        rig.die()
        assert held(rig) == ["/deck/A/level", "/deck/B/level", "/deck/C/level"]
        rig.send("/cancel", "/deck/A")
        assert len(rig.core.waiting) == 2
