"""The MIDI process with ports of the test: hot-plug, floods, learning, and a followed clock."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from crowdstream.midi import ports
from crowdstream.midi.clock_in import MAX_PULL, shortest
from crowdstream.midi.clock_out import START, STOP, TICK, TICKS
from crowdstream.midi.main import MAX_PAUSE, REPEAT_SECONDS, SCAN_SECONDS, Midi
from crowdstream.midi.mapping import parse_map
from crowdstream.midi.ports import MAX_QUEUE, InPort, MidiError, RtMidi, find_port
from crowdstream.system.text import install_command
from tests.support.offline_server import RATE, Rig, level, write

BOX = parse_map({
    "name": "Box", "port": "box",
    "control": [
        {"cc": 7, "address": "/deck/A/level", "takeover": False},
        {"note": 1, "address": "/deck/A/pfl", "kind": "toggle", "led": True},
    ],
})  # fmt: skip


class Out:
    """An output that keeps its messages, until it is pulled."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.broken = self.closed = False

    def send(self, message: list[int]) -> None:
        if self.broken:
            raise MidiError("gone")
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True


class FakeSystem:
    """Ports by name."""

    def __init__(self) -> None:
        self.plugged: list[str] = []
        self.without_output: list[str] = []
        self.inputs: dict[str, InPort] = {}
        self.outputs: dict[str, Out] = {}
        self.fault = ""
        self.closed = False

    def names(self) -> tuple[list[str], list[str]]:
        if self.fault:
            raise MidiError(self.fault)
        outputs = [name for name in self.plugged if name not in self.without_output]
        return list(self.plugged), outputs

    def open_in(self, name: str, wake: Callable[[], None]) -> InPort:
        self.inputs[name] = InPort(wake)
        return self.inputs[name]

    def close(self) -> None:
        self.closed = True

    def open_out(self, name: str) -> Out:
        if name == "busy box":
            raise MidiError("busy box can't be opened: in use")
        self.outputs[name] = Out()
        return self.outputs[name]


class Bench:
    """A MIDI process whose system, time and reports belong to the test."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.system = FakeSystem()
        self.reports: list[dict[str, Any]] = []
        self.connects = 0
        self.midi = Midi(rig.desk, self.connect, self.reports.append, lambda: rig.time)

    def connect(self, api: str) -> FakeSystem:
        self.connects += 1
        if self.system.fault:
            raise MidiError(self.system.fault)
        return self.system

    def configure(self, **values: Any) -> None:
        message = {"clock": "", "follow": "", "maps": [], "api": "auto", **values}
        self.midi.handle({"do": "configure", **message})
        self.midi.turn()

    def scan(self) -> None:
        """Let the time until the next look at the ports pass."""
        self.rig.time += SCAN_SECONDS
        self.midi.turn()

    def of(self, event: str) -> list[dict[str, Any]]:
        """Reports of one kind."""
        return [one for one in self.reports if one["event"] == event]

    @property
    def role(self) -> dict[str, Any]:
        """The latest report of the first port."""
        role: dict[str, Any] = self.of("state")[-1]["roles"][0]
        return role


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A process on an idle desk."""
    with Rig() as rig:
        rig.run(512)
        made = Bench(rig)
        yield made
        made.midi.close()


def test_a_controller_is_plugged_in_unplugged_and_plugged_in_again(bench: Bench) -> None:
    bench.configure(maps=[BOX.to_json()])
    assert bench.role["state"] == "searching" and "no port box; ports: none" in bench.role["reason"]
    bench.system.plugged = ["My Box 1"]
    bench.scan()
    assert (bench.role["state"], bench.role["port"]) == ("connected", "My Box 1")
    assert bench.system.outputs["My Box 1"].sent == [[0x90, 1, 0]], "its LEDs"
    bench.midi.handle({"do": "values", "values": [[["/deck/A/pfl"], 1.0]]})
    assert bench.system.outputs["My Box 1"].sent[-1] == [0x90, 1, 127]
    bench.system.inputs["My Box 1"].deliver([0x90, 1, 100])
    bench.midi.turn()
    assert bench.of("command") == [
        {"event": "command", "address": "/deck/A/pfl", "arguments": (0,)}
    ]
    bench.system.plugged = []
    bench.scan()
    assert bench.role["reason"] == "it has been unplugged"
    bench.system.plugged = ["My Box 1"]
    bench.scan()
    assert bench.system.outputs["My Box 1"].sent == [[0x90, 1, 127]], "its LEDs are restored"
    bench.midi.handle({"do": "values", "values": [[["/deck/A/pfl"], None]]})
    assert bench.system.outputs["My Box 1"].sent[-1] == [0x90, 1, 0]


def test_a_button_that_is_held_is_released_when_its_controller_is_unplugged(bench: Bench) -> None:
    held = parse_map({
        "name": "Box", "port": "box", "control": [
            {"note": 1, "address": "/deck/A/reverse", "kind": "hold"},
            {"note": 2, "address": "/deck/B/reverse", "kind": "hold"},
        ],
    })  # fmt: skip
    bench.system.plugged = ["box"]
    bench.configure(maps=[held.to_json()])
    for message in ([0x90, 1, 100], [0x90, 2, 100], [0x80, 2, 0]):
        bench.system.inputs["box"].deliver(message)
    bench.midi.turn()
    assert len(bench.of("command")) == 3
    bench.system.plugged = []
    bench.scan()
    assert [(one["address"], one["arguments"]) for one in bench.of("command")[3:]] == [
        ("/deck/A/reverse", (0,))
    ]


def test_two_controllers_may_have_mappings_of_the_same_name(bench: Bench) -> None:
    left, right = (replace(BOX, port=port) for port in ("left", "right"))
    bench.system.plugged = ["left box", "right box"]
    bench.configure(maps=[left.to_json(), right.to_json()])
    roles = {one["role"]: one["port"] for one in bench.of("state")[-1]["roles"]}
    assert roles == {"map Box": "left box", "map Box (right)": "right box"}
    for port in bench.system.plugged:
        bench.system.inputs[port].deliver([0x90, 1, 100])
    bench.midi.turn()
    assert len(bench.of("command")) == 2


def test_leds_are_sent_again_and_to_an_output_that_appears_late(bench: Bench) -> None:
    bench.system.plugged = bench.system.without_output = ["box"]
    bench.configure(maps=[BOX.to_json()])
    assert bench.role["state"] == "connected" and not bench.system.outputs
    bench.system.without_output = []
    bench.scan()
    sent = bench.system.outputs["box"].sent
    assert sent == [[0x90, 1, 0]]
    bench.midi.handle({"do": "values", "values": [[["/deck/A/pfl"], 1.0]]})
    bench.rig.time += REPEAT_SECONDS
    bench.midi.turn()
    assert sent[1:] == [[0x90, 1, 127], [0x90, 1, 127]], "the first one may have been lost"
    bench.rig.time += REPEAT_SECONDS
    bench.midi.turn()
    assert len(sent) == 3


def test_a_flood_of_positions_is_one_command_and_a_flood_of_notes_is_limited(bench: Bench) -> None:
    bench.system.plugged = ["box"]
    bench.configure(maps=[BOX.to_json()])
    port = bench.system.inputs["box"]
    for place in range(128):
        port.deliver([0xB0, 7, place])
    bench.midi.turn()
    (command,) = bench.of("command")
    assert command["arguments"] == (1.0,)
    for _ in range(2 * MAX_QUEUE):
        port.deliver([0x90, 1, 100])
    bench.midi.turn()
    assert len(bench.of("command")) < 300
    bench.midi.handle({"do": "report"})
    bench.midi.turn()
    assert bench.of("state")[-1]["lost"] > MAX_QUEUE


def test_a_port_that_fails_is_searched_for(bench: Bench) -> None:
    bench.system.plugged = ["box"]
    bench.configure(maps=[BOX.to_json()])
    bench.system.outputs["box"].broken = True
    bench.midi.handle({"do": "values", "values": [[["/deck/A/pfl"], 1.0]]})
    bench.midi.turn()
    assert bench.role["state"] == "searching" and bench.role["reason"] == "gone"
    bench.scan()
    assert bench.role["state"] == "connected"


def test_a_port_that_cannot_be_opened_names_the_reason(bench: Bench) -> None:
    bench.system.plugged = ["busy box"]
    bench.configure(maps=[BOX.to_json()])
    assert bench.role["reason"] == "busy box can't be opened: in use"


def test_a_missing_midi_system_is_tried_again_with_growing_pauses(bench: Bench) -> None:
    bench.system.fault = "no MIDI system (jack): start a JACK server"
    bench.configure(clock="box")
    assert bench.role["reason"] == bench.system.fault
    for _ in range(100):
        bench.scan()
    assert 100 * SCAN_SECONDS / MAX_PAUSE <= bench.connects < 12
    bench.system.fault, bench.system.plugged = "", ["box"]
    bench.rig.time += MAX_PAUSE
    bench.midi.turn()
    assert bench.role["state"] == "connected"
    bench.system.fault = "the MIDI system does not respond"
    bench.scan()
    assert bench.role["reason"] == bench.system.fault


def test_the_clock_is_sent_to_its_port_and_stopped_at_the_end(bench: Bench) -> None:
    bench.system.plugged = ["synth"]
    bench.configure(clock="SYNTH")
    for _ in range(round(RATE / 64)):
        bench.rig.run(64)
        bench.midi.turn()
    sent = bench.system.outputs["synth"].sent
    assert sent.count([TICK]) == pytest.approx(2 * TICKS, abs=2)
    bench.configure(clock="")
    assert bench.system.outputs["synth"].closed and [STOP] not in sent
    bench.midi.close()
    assert bench.system.closed


def test_the_tempo_of_a_followed_clock_is_reported(bench: Bench) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    step = 60.0 / 130.0 / TICKS
    bench.midi._follow(bench.rig.time, [START])
    begin = bench.rig.time
    for number in range(8 * 130 // 60 * TICKS):
        bench.rig.time = begin + number * step
        bench.midi._follow(bench.rig.time, [TICK])
        bench.midi.turn()
    assert bench.of("tempo")[-1]["bpm"] == pytest.approx(130.0, rel=0.031)
    state = bench.of("state")[-1]
    assert state["locked"] and state["bpm"] == pytest.approx(130.0, abs=0.1)
    for message in ([0xF2, 4, 0], [0xFB], [0xFC], [0x90, 1, 1], []):
        bench.midi._follow(bench.rig.time, message)
    bench.rig.time += 2.0
    bench.midi.turn()
    assert not bench.of("state")[-1]["locked"]


TICK_FRAMES = 919  # at 120 BPM


def follow_ticks(bench: Bench, ticks: int) -> None:
    """Let control follow the ticks of a device."""
    for _ in range(ticks):
        bench.rig.run(TICK_FRAMES)
        before = len(bench.reports)
        bench.midi._follow(bench.rig.time, [TICK])
        bench.midi.turn()
        for report in bench.reports[before:]:
            bench.rig.core.midi.handle(report)


def follow_song(bench: Bench, ticks: int) -> float:
    """Let control follow a device that starts now; return by how many beats its bar is ahead."""
    bench.midi._follow(bench.rig.time, [START])
    follow_ticks(bench, ticks)
    theirs = bench.midi.follower.beat(bench.rig.time)
    assert theirs is not None
    return shortest(theirs - bench.midi.own_beat(bench.rig.time), 4.0)


def test_bars_jump_to_those_of_a_song_while_nothing_plays(bench: Bench) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    bench.rig.send("/clock/reset")
    bench.rig.seconds(1.3)
    assert abs(follow_song(bench, 12 * TICKS)) < 0.02
    assert len(bench.of("jump")) == 1 and 0.0 < bench.of("jump")[0]["beats"] < 4.0


def test_bars_approach_those_of_a_song_while_a_deck_plays(bench: Bench, tmp_path: Path) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    bench.rig.send("/deck/A/load", str(write(tmp_path / "track.wav", level(60.0))))
    bench.rig.seconds(0.2)
    bench.rig.send("/clock/reset")
    bench.rig.send("/deck/A/play")
    bench.rig.seconds(1.0)  # two beats
    ahead = follow_song(bench, 12 * TICKS)
    assert bench.of("jump") == []
    assert 1.0 < abs(ahead) < 1.95, "2 beats less what 3 % of tempo make in 10 beats"
    ratios = [one["bpm"] / bench.midi.follower.bpm for one in bench.of("tempo")[-8:]]
    assert max(abs(ratio - 1.0) for ratio in ratios) == pytest.approx(MAX_PULL, rel=0.05)
    # A jump that was decided just before a deck was started is not carried out any more.
    before = bench.midi.own_beat(bench.rig.time)
    bench.rig.core.midi.handle({"event": "jump", "beats": 2.0})
    bench.rig.run(4096)
    assert bench.midi.own_beat(bench.rig.time) - before < 1.0


def test_a_tempo_that_somebody_else_has_set_is_replaced_by_that_of_the_device(bench: Bench) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    follow_song(bench, 12 * TICKS)
    bench.midi._follow(bench.rig.time, [STOP])  # its ticks go on
    follow_ticks(bench, 4 * TICKS)
    bpm = bench.midi.follower.bpm
    assert bench.rig.core.beat_clock.bpm == pytest.approx(bpm, abs=0.02)
    bench.rig.send("/clock/tempo", 100.0)
    follow_ticks(bench, 2 * TICKS)
    assert bench.rig.core.beat_clock.bpm == pytest.approx(bpm, abs=0.02)


def test_a_tempo_that_the_clock_does_not_take_is_repeated_seldom(bench: Bench) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    follow_song(bench, 12 * TICKS)
    bench.midi._follow(bench.rig.time, [STOP])
    follow_ticks(bench, 4 * TICKS)
    bench.rig.send("/clock/tempo", 90.0)
    before = len(bench.of("tempo"))
    for _ in range(20 * TICKS):  # 10 s at 120 BPM; what is reported does not reach control
        bench.rig.run(TICK_FRAMES)
        bench.midi._follow(bench.rig.time, [TICK])
        bench.midi.turn()
    assert 3 <= len(bench.of("tempo")) - before <= 6



@pytest.mark.parametrize("unplugged", [False, True])
def test_the_tempo_of_a_device_stays_when_it_is_gone(
    bench: Bench, tmp_path: Path, unplugged: bool
) -> None:
    bench.system.plugged = ["drums"]
    bench.configure(follow="drums")
    bench.rig.send("/deck/A/load", str(write(tmp_path / "track.wav", level(60.0))))
    bench.rig.seconds(0.2)
    bench.rig.send("/clock/reset")
    bench.rig.send("/deck/A/play")
    bench.rig.seconds(1.0)
    follow_song(bench, 12 * TICKS)
    bpm = bench.midi.follower.bpm
    assert abs(bench.of("tempo")[-1]["bpm"] / bpm - 1.0) == pytest.approx(MAX_PULL, rel=0.05)
    bench.system.plugged = [] if unplugged else ["drums"]
    for _ in range(4):
        bench.scan()
    assert bench.of("tempo")[-1]["bpm"] == pytest.approx(bpm, rel=1e-4)
    sent = len(bench.of("tempo"))
    bench.scan()
    assert len(bench.of("tempo")) == sent


def test_the_next_control_of_any_port_is_learned(bench: Bench) -> None:
    bench.system.plugged = ["knobs", "keys"]
    learning = {"arguments": [], "low": -1.0, "high": 1.0}
    bench.midi.handle(
        {"do": "learn", "address": "/deck/A/filter", "kind": "fader", **learning}
    )
    bench.midi.turn()
    for message in ([0xF8], [0xC0, 1], [0x80, 1, 1], [0x90, 1, 0]):
        bench.system.inputs["keys"].deliver(message)
    bench.midi.turn()
    assert bench.of("learned") == []
    bench.system.inputs["knobs"].deliver([0xB3, 20, 1])
    bench.midi.turn()
    (learned,) = bench.of("learned")
    control = learned["control"]
    assert (learned["port"], control["status"], control["number"]) == ("knobs", 0xB3, 20)
    assert (control["kind"], control["low"], control["high"]) == ("fader", -1.0, 1.0)
    bench.midi.handle({"do": "learn", "address": "/deck/A/pfl", "kind": "fader", **learning})
    bench.midi.turn()
    bench.system.inputs["keys"].deliver([0x91, 60, 90])
    bench.midi.turn()
    assert bench.of("learned")[-1]["control"]["kind"] == "toggle"


@pytest.mark.parametrize("remote", [False, True])
def test_a_control_is_learned_although_the_midi_system_is_missing(
    bench: Bench, remote: bool
) -> None:
    bench.system.fault = "MIDI needs the package python-rtmidi"
    bench.midi.handle({
        "do": "learn", "address": "/deck/A/level", "arguments": [], "low": 0.0, "high": 1.0,
        "kind": "fader",
    })  # fmt: skip
    bench.midi.turn()
    assert bench.connects == 1
    if remote:
        bench.midi.handle({"do": "message", "port": "web box", "message": [0xB0, 7, 1]})
    else:
        bench.system.fault, bench.system.plugged = "", ["web box"]
        bench.scan()
        bench.system.inputs["web box"].deliver([0xB0, 7, 1])
        bench.midi.turn()
    (learned,) = bench.of("learned")
    assert learned["port"] == "web box" and learned["control"]["number"] == 7


def test_ports_are_found_by_a_part_of_their_name() -> None:
    names = ["Midi Through", "nanoKONTROL2 CTRL 28:0", "nano"]
    assert find_port(names, "NANOkontrol2") == names[1]
    assert find_port(names, "nano") == "nano"
    assert find_port(names, "apc") is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    remedy = re.escape(install_command("python-rtmidi>=1.5.8"))
    with pytest.raises(MidiError, match=remedy):
        RtMidi()


def test_the_end_of_a_jack_server_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # python-rtmidi goes on listing its ports.
    rtmidi, witness = MagicMock(), MagicMock(gone=False)
    rtmidi.get_compiled_api.return_value = [rtmidi.API_UNIX_JACK]
    rtmidi.MidiIn.return_value.get_ports.return_value = ["box"]
    monkeypatch.setitem(sys.modules, "rtmidi", rtmidi)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    monkeypatch.setattr(ports, "JackClient", lambda _name: witness)
    system = RtMidi("jack")
    assert system.names()[0] == ["box"]
    witness.gone = True
    with pytest.raises(MidiError, match="the JACK server has ended"):
        system.names()
    system.close()
    witness.close.assert_called_once()


def test_a_controller_of_another_machine_is_attached(bench: Bench) -> None:
    bench.system.fault = "no MIDI system"
    bench.configure(maps=[BOX.to_json()])
    bench.midi.handle({"do": "attach", "port": "My BOX 1"})
    assert bench.of("leds") == [{"event": "leds", "port": "box", "messages": [[0x90, 1, 0]]}]
    bench.midi.handle({"do": "message", "port": "My BOX 1", "message": [0xB0, 7, 127]})
    bench.midi.handle({"do": "message", "port": "another", "message": [0xB0, 7, 127]})
    assert [one["arguments"] for one in bench.of("command")] == [(1.0,)]
    bench.midi.handle({"do": "values", "values": [[["/deck/A/pfl"], 1.0]]})
    assert bench.of("leds")[-1]["messages"] == [[0x90, 1, 127]]
    learning = {"arguments": [], "low": 0.0, "high": 1.0, "kind": "fader"}
    bench.midi.handle({"do": "learn", "address": "/deck/B/level", **learning})
    bench.midi.handle({"do": "message", "port": "My BOX 1", "message": [0xB0, 8, 1]})
    assert bench.of("learned")[-1]["port"] == "My BOX 1"
