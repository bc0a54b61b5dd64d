"""Mapping files and controllers: what is refused, what is sent, and what LEDs show."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.commands.errors import Refused
from crowdstream.control.peers.midi import load_map
from crowdstream.midi.controller import SETTLING_SECONDS, Controller
from crowdstream.midi.mapping import ControllerMap, MappingError, map_lines, parse_map
from crowdstream.settings.types import ready_maps

HEAD: dict[str, Any] = {"name": "Box", "port": "box"}
LEVEL = ("/deck/A/level",)


def mapping(*controls: dict[str, Any]) -> ControllerMap:
    """The mapping of some controls."""
    return parse_map({**HEAD, "control": list(controls)})


def box(known: dict[tuple[Any, ...], Any], /, **control: Any) -> Controller:
    """A controller with one control."""
    return Controller(mapping(control), known)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"port": "box"}, "name: write name"), ({"name": "Box"}, "port: write port"),
        ({**HEAD, "colour": 1}, "unknown key colour"), ({**HEAD, "control": 1}, r"\[\[control\]\]"),
        ({**HEAD, "control": [1]}, r"control 1: write \[\[control\]\]"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(MappingError, match=fault):
        parse_map(values)


@pytest.mark.parametrize(
    ("control", "fault"),
    [
        ({"address": "/a"}, "give cc or note"), ({"cc": 1, "note": 1, "address": "/a"}, "give cc"),
        ({"cc": 128, "address": "/a"}, "cc must be a whole number from 0 to 127"),
        ({"cc": True, "address": "/a"}, "cc must be"), ({"cc": 1}, "write address"),
        ({"cc": 1, "channel": 0, "address": "/a"}, "channel must be"),
        ({"cc": 1, "address": "deck"}, "begins with /"),
        ({"cc": 1, "address": "/a", "kind": "knob"}, "kind must be one of fader"),
        ({"note": 1, "address": "/a", "kind": "fader"}, "a note can be"),
        ({"cc": 1, "address": "/a", "bits": 8}, "bits = 14"),
        ({"cc": 40, "address": "/a", "bits": 14}, "bits = 14"),
        ({"cc": 1, "address": "/a", "range": [1.0]}, "range must be two numbers"),
        ({"cc": 1, "address": "/a", "range": [1.0, 1.0]}, "must differ"),
        ({"cc": 1, "address": "/a", "step": 0}, "step must be"),
        ({"cc": 1, "address": "/a", "led": 1}, "led must be true or false"),
        ({"cc": 1, "address": "/a", "values": [[]]}, "values must be"),
        ({"cc": 1, "address": "/a", "speed": 1}, "unknown key speed"),
        ({"cc": 1, "address": "/a", "off_address": ""}, "write off_address"),
    ],
)  # fmt: skip
def test_wrong_controls_are_refused_with_their_number(control: dict[str, Any], fault: str) -> None:
    with pytest.raises(MappingError, match=f"control 2: .*{fault}"):
        mapping({"cc": 0, "address": "/b"}, control)


def test_two_controls_cannot_have_the_same_message() -> None:
    with pytest.raises(MappingError, match="control 2: the same message as control 1"):
        mapping({"cc": 1, "address": "/a"}, {"cc": 1, "address": "/b"})


@pytest.mark.parametrize("name", ready_maps())
def test_ready_mappings_are_valid_and_survive_writing(name: str) -> None:
    made = load_map(name)
    assert len(made.controls) > 40
    assert parse_map(tomllib.loads("\n".join(map_lines(made)))) == made
    assert ControllerMap.of_json(made.to_json()) == made


def test_there_are_three_ready_mappings() -> None:
    assert ready_maps() == ["akai-apc-mini", "korg-nanokontrol2", "pioneer-ddj-400"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('cc = 1\naddress = "/deck/A/levle"', "did you mean|unknown address"),
        ('cc = 1\naddress = "/deck/A/level"\nrange = [0.0, 99.0]', "out of range"),
        ('note = 1\naddress = "/deck/A/hotcue"', "number is missing"),
        ('note = 1\naddress = "/deck/A/play"\nkind = "toggle"\noff_address = "/x"', "unknown addr"),
    ],
)
def test_mappings_of_wrong_commands_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "box.toml"
    path.write_text(f'name = "Box"\nport = "box"\n[[control]]\n{text}\n')
    with pytest.raises(Refused, match=f"box.toml: control 1: .*({fault})"):
        load_map(str(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="can't be read"):
        load_map(str(tmp_path / "pipe"))


def test_a_missing_or_broken_file_names_the_ready_mappings(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"can't be read.*korg-nanokontrol2"):
        load_map(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("name = [")
    with pytest.raises(Refused, match=r"bad\.toml"):
        load_map(str(tmp_path / "bad.toml"))


def test_a_fader_takes_over_when_it_meets_the_value() -> None:
    values: dict[tuple[Any, ...], Any] = {LEVEL: 0.5}
    controller = box(values, cc=7, address="/deck/A/level")
    assert controller.handle([0xB0, 7, 0], 1.0) is None
    assert controller.handle([0xB0, 7, 40], 1.0) is None
    assert controller.handle([0xB0, 7, 80], 1.0) == ("/deck/A/level", (80 / 127,)), "it crossed"
    assert controller.handle([0xB0, 7, 10], 1.0) == ("/deck/A/level", (10 / 127,)), "it is caught"
    values[LEVEL] = 10 / 127
    assert controller.changed(LEVEL, 9.0) == []
    assert controller.handle([0xB0, 7, 30], 9.0) is not None
    values[LEVEL] = 1.0  # somebody else
    controller.changed(LEVEL, 9.0 + 0.5 * SETTLING_SECONDS)
    assert controller.handle([0xB0, 7, 31], 9.1) is not None, "a report may be older"
    controller.changed(LEVEL, 9.1 + 2 * SETTLING_SECONDS)
    assert controller.handle([0xB0, 7, 32], 11.0) is None
    assert controller.handle([0xB0, 7, 126], 11.0) is not None


def test_without_takeover_or_a_value_a_fader_acts_at_once() -> None:
    controller = box({LEVEL: 1.0}, cc=7, address="/deck/A/level", takeover=False)
    assert controller.handle([0xB0, 7, 0], 1.0) == ("/deck/A/level", (0.0,))
    controller = box({}, cc=7, address="/deck/A/level", range=[1.0, 0.0])
    assert controller.handle([0xB0, 7, 0], 1.0) == ("/deck/A/level", (1.0,))


def test_a_fader_of_14_bits_uses_both_parts() -> None:
    controller = box({}, cc=0x13, bits=14, address="/deck/A/level")
    assert controller.handle([0xB0, 0x13, 64], 1.0) is None
    command = controller.handle([0xB0, 0x33, 1], 1.0)
    assert command == ("/deck/A/level", ((64 * 128 + 1) / 16383,))


def test_an_encoder_turns_the_value_within_its_range() -> None:
    values = {("/deck/A/filter",): 0.0}
    controller = box(
        values, cc=9, address="/deck/A/filter", kind="relative", step=0.1, range=[-1.0, 1.0]
    )
    assert controller.handle([0xB0, 9, 1], 1.0) == ("/deck/A/filter", (0.1,))
    assert controller.handle([0xB0, 9, 126], 2.0) == ("/deck/A/filter", (-0.2,))
    assert controller.handle([0xB0, 9, 63], 3.0) == ("/deck/A/filter", (1.0,))
    assert controller.handle([0xB0, 9, 0], 4.0) is None
    assert box({}, cc=9, address="/x", kind="relative").handle([0xB0, 9, 1], 1.0) is None


def test_no_step_of_an_encoder_is_lost_before_its_value_is_reported() -> None:
    name = ("/deck/A/filter",)
    values = {name: 0.0}
    controller = box(
        values, cc=9, address="/deck/A/filter", kind="relative", step=0.125, range=[-1.0, 1.0]
    )
    sent = [controller.handle([0xB0, 9, 1], 1.0 + 0.01 * number) for number in range(4)]
    assert [one and one[1] for one in sent] == [(0.125,), (0.25,), (0.375,), (0.5,)]
    for value in (0.125, 0.25, 0.375, 0.5):  # the reports arrive late
        values[name] = value
        controller.changed(name, 1.1)
    assert controller.handle([0xB0, 9, 127], 1.2) == ("/deck/A/filter", (0.375,))
    values[name] = -0.5  # somebody else, a while later
    controller.changed(name, 2.0)
    assert controller.handle([0xB0, 9, 1], 2.0) == ("/deck/A/filter", (-0.375,))


def test_buttons_toggles_and_holds() -> None:
    name = ("/deck/A/kill", "low")
    values: dict[tuple[Any, ...], Any] = {name: 0}
    toggle = box(values, note=5, address=name[0], arguments=["low"], kind="toggle", led=True)
    assert toggle.handle([0x90, 5, 100], 1.0) == (name[0], ("low", 1))
    assert toggle.handle([0x80, 5, 0], 1.0) is None
    assert toggle.handle([0x90, 5, 0], 1.0) is None
    values[name] = 1
    assert toggle.handle([0x90, 5, 1], 1.0) == (name[0], ("low", 0))
    hold = box({}, cc=5, address="/deck/A/reverse", kind="hold")
    assert hold.handle([0xB0, 5, 127], 1.0) == ("/deck/A/reverse", (1,))
    assert hold.handle([0xB0, 5, 0], 1.0) == ("/deck/A/reverse", (0,))
    cue = box({}, note=5, channel=3, address="/deck/A/hotcue", values=[2])
    assert cue.handle([0x92, 5, 127], 1.0) == ("/deck/A/hotcue", (2,))
    assert cue.handle([0x90, 5, 127], 1.0) is None, "another channel"
    two: dict[tuple[Any, ...], Any] = {("/deck/A/play",): 0}
    play = box(two, note=1, address="/deck/A/play", off_address="/deck/A/stop", kind="toggle")
    assert play.handle([0x90, 1, 127], 1.0) == ("/deck/A/play", ())
    two[("/deck/A/play",)] = 1
    assert play.handle([0x90, 1, 127], 1.0) == ("/deck/A/stop", ())


@pytest.mark.parametrize("message", [[], [0x90], [0xF8], [0x90, 200, 1], [0xF0, 1, 2, 3, 0xF7]])
def test_other_messages_are_ignored(message: list[int]) -> None:
    assert box({}, note=1, address="/x").handle(message, 1.0) is None


def test_leds_show_values_and_are_sent_once() -> None:
    name = ("/deck/A/kill", "low")
    values: dict[tuple[Any, ...], Any] = {}
    controller = box(
        values, note=5, channel=2, address=name[0], arguments=["low"], kind="toggle", led=True,
        led_on=3,
    )  # fmt: skip
    assert controller.lights() == [[0x91, 5, 0]]
    values[name] = 1
    assert controller.changed(name, 1.0) == [[0x91, 5, 3]]
    assert controller.changed(name, 1.0) == []
    assert controller.changed(("/other",), 1.0) == []
    assert controller.lights() == [[0x91, 5, 3]]
    ring = box({LEVEL: 0.5}, cc=7, address=LEVEL[0], led=True, led_note=9, led_channel=4)
    assert ring.lights() == [[0x93, 9, 64]]
