"""Buttons of controllers send 1 when they are pressed and 0 when they are released."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.commands.registry import PLACES, REQUIRED, TABLE, Command
from tests.support.offline_server import RATE, Rig

ON: list[Any] = [1.0, 1, True, float("inf")]
OFF: list[Any] = [0.0, 0, False]
BARE = [command for command in TABLE.commands if not command.args]
SWITCHES = [
    (command, place) for command in TABLE.commands for place, arg in enumerate(command.args)
    if (arg.type, arg.low, arg.high) == ("i", 0, 1) and not arg.words
]  # fmt: skip


@pytest.mark.parametrize("command", BARE, ids=lambda command: command.address)
def test_each_command_without_arguments_is_a_button(command: Command) -> None:
    assert command.is_button
    for value in [*ON, 0.25, 127]:
        assert command.bind(command.pressed([value]) or ()) == {}
        assert command.pressed([value]) is not None
    for value in OFF:
        assert command.pressed([value]) is None
    assert command.pressed([]) == []


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_value_that_no_button_sends_is_refused(rig: Rig, value: float) -> None:
    rig.send("/deck/A/stop", value)
    assert "a button sends 0 or more" in rig.fails()[0]


def test_more_than_a_buttons_value_is_refused(rig: Rig) -> None:
    rig.send("/reset", 1.0, 1.0)
    rig.send("/reset", "1")
    assert [reason.split(" are")[0] for reason in rig.fails()] == [
        "/reset 2 arguments", "/reset 1 arguments",
    ]


@pytest.mark.parametrize(("command", "place"), SWITCHES)
def test_a_boolean_is_accepted_in_every_form(command: Command, place: int) -> None:
    arg = command.args[place]
    for on, values in ((1, [1, 1.0, True]), (0, [0, 0.0, False])):
        for value in values:
            checked = arg.check(value)
            assert (checked, type(checked)) == (on, int)


@pytest.fixture
def deck(rig: Rig, steady: str) -> Rig:
    """Load a constant on deck A, ready to be started."""
    rig.send("/deck/A/load", steady)
    rig.run(1024)
    return rig


@pytest.mark.parametrize("on", ON[:3])
@pytest.mark.parametrize("off", OFF)
def test_a_press_starts_or_stops_and_a_release_does_not(deck: Rig, on: Any, off: Any) -> None:
    deck.seconds(1.5)  # taken as a start time, 1 s would have passed
    deck.send("/reset")
    begin = deck.desk.frame
    deck.send("/deck/A/play", on)
    deck.run(1024)
    assert deck.first_sound() - begin <= deck.block
    deck.send("/deck/A/play", off)
    deck.run(4096)
    assert deck.status()["deck.A.position"] == pytest.approx(
        (deck.desk.frame - deck.first_sound()) / RATE, abs=1e-6
    ), "the release started it again"
    deck.send("/deck/A/stop", on)
    deck.run(2048)
    stopped = len(deck.out)
    deck.send("/deck/A/play")
    deck.run(1024)
    deck.send("/deck/A/stop", off)
    deck.run(1024)
    assert deck.out[stopped - 1, 0] == 0.0
    assert deck.out[-1, 0] == 0.25, "the release of stop stopped it"
    assert not deck.fails() and not deck.heard("/late")


def test_a_release_does_nothing(deck: Rig) -> None:
    deck.send("/changes/subscribe")
    before, said = deck.state(), len(deck.answers.said)
    for command in TABLE.commands:
        if command.is_button and command.address != "/deck/{deck}/play":
            required = [1] * sum(arg.default is REQUIRED for arg in command.args)
            place = {name: 0 for name in PLACES if f"{{{name}}}" in command.address}
            deck.send(command.address_at(place), *required, 0.0)
    deck.send("/deck/A/play", 0.0)
    deck.seconds(0.1)
    assert deck.state() == before
    assert len(deck.answers.said) == said


def test_start_times_are_not_taken_for_button_values(deck: Rig) -> None:
    for start in ((1.0, 0), (0.5,)):
        zero = deck.desk.frame
        deck.send("/reset")
        deck.send("/deck/A/play", *start)
        deck.seconds(start[0] + 0.1)
        first = deck.first_sound(zero)
        assert first == pytest.approx(zero + start[0] * RATE, abs=2 * deck.block)
        deck.send("/deck/A/stop")
        deck.run(2048)


def test_a_buttons_value_may_follow_the_arguments(deck: Rig) -> None:
    deck.send("/deck/A/hotcue/set", 1, 1.5)
    deck.send("/deck/A/hotcue", 1, 0.0)
    assert deck.core.track_table.deck_track(0).cue_frame == 0
    deck.send("/deck/A/hotcue", 1.0, 1.0)
    deck.run(512)
    assert deck.core.track_table.deck_track(0).cue_frame == round(1.5 * RATE)
    assert not deck.fails()


def test_a_press_that_is_a_valid_argument_is_kept(deck: Rig) -> None:
    found = TABLE.find("/deck/A/loop/in")[0]
    assert found.pressed([1.0]) == [1.0], "as an argument: snap to the beat"
    assert found.pressed([0.0]) is None
    assert found.pressed([4.0]) == [4.0]
    brake = TABLE.find("/deck/A/brake")[0]
    assert brake.pressed([1.0]) == ()
    assert brake.pressed([0.0]) is None
    assert brake.pressed([0.0, 1]) == [0.0, 1]
    assert TABLE.find("/test_tone")[0].pressed([1.0]) == ()
    assert TABLE.find("/test_tone")[0].pressed([880.0]) == [880.0]
    assert TABLE.find("/schedule_c_at")[0].pressed([0.0]) == [0.0], "a start time"


def test_values_of_local_callers_are_arguments(deck: Rig) -> None:
    said: list[Any] = []

    def program(address: str, *values: Any) -> None:
        deck.core.perform([(address, values, lambda *values_sent: said.append(values_sent), None)])

    for value in (0, 1):
        program("/deck/A/stop", value)
        program("/clock/at", 8.0, "/deck/A/stop", value)
    assert [values_sent[0] for values_sent in said] == ["/fail"] * 4
    assert len(deck.core.scheduler) == 0
    deck.send("/reset")
    program("/deck/A/play", 1.0)
    deck.seconds(1.5)
    assert deck.first_sound() >= RATE
    assert len(said) == 4


def test_a_button_is_quantized(deck: Rig) -> None:
    deck.send("/deck/A/quantize", 4.0)
    deck.send("/deck/A/play", 1.0)
    deck.send("/deck/A/play", 0.0)
    deck.send("/clock/at", 8.0, "/deck/A/stop", 1.0)
    deck.send("/clock/at", 9.0, "/deck/A/stop", 0.0)
    assert len(deck.core.scheduler) == 2
    deck.seconds(2.2)
    assert deck.first_sound() == round(deck.core.beat_clock.frame_of(4.0))
