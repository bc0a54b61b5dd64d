"""MIDI as seen by control: settings, commands of controllers, learning, and reports."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from crowdstream.commands.errors import Refused
from crowdstream.control.peers.midi import learned_path, load_map, midi_process
from crowdstream.control.processes.supervised import SupervisedProcess
from crowdstream.midi.mapping import parse_map
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import Rig
from tests.support.osc_client import until
from tests.unit.control.state.test_snapshotter import RestartableRig

KORG = "korg-nanokontrol2"


def supervised(rig: Rig, processes: list[FakeProcess]) -> SupervisedProcess:
    """The MIDI process of a server; each start adds one."""

    def start() -> FakeProcess:
        processes.append(FakeProcess())
        return processes[-1]

    process = midi_process(rig.core.midi, start, lambda: rig.time)
    process.tick()
    return process


def state(connected: bool, reason: str = "", **values: Any) -> dict[str, Any]:
    """A report of the process about its one port."""
    role = {"role": "clock", "wanted": "synth", "port": "synth 1" if connected else "",
            "state": "connected" if connected else "searching", "reason": reason}  # fmt: skip
    return {"event": "state", "roles": [role], "locked": False, "learning": "", "bpm": 0.0,
            "error_ms": 0.0, "lost": 0, "absurd": 0, "ticks": 0, **values}  # fmt: skip


def sent(process: FakeProcess, do: str) -> list[dict[str, Any]]:
    """Messages of one kind."""
    return [one for one in process.sent if one["do"] == do]


def test_a_mapping_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    for name, reason in ((str(tmp_path), "can't be read"), ("~no-user/x.toml", "no such user")):
        with pytest.raises(Refused, match=reason):
            load_map(name)


def test_the_process_runs_while_something_is_set() -> None:
    with Rig() as rig:
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        assert processes == []
        rig.send("/midi/clock", "synth")
        process.tick()
        assert sent(processes[0], "configure")[-1] == {
            "do": "configure", "clock": "synth", "follow": "", "api": "auto", "maps": [],
        }  # fmt: skip
        rig.send("/midi/follow", "drums")
        rig.send("/midi/clock")
        assert sent(processes[0], "configure")[-1]["clock"] == ""
        rig.send("/midi/follow", "")
        assert processes[0].stopped and not process.runs and rig.fails() == []


@pytest.mark.parametrize("address", ["/clock/meter", "/set_meter"])
def test_the_process_receives_the_meter(address: str) -> None:
    """Places in a bar depend on it, for receivers of the clock and for the followed one."""
    with Rig(midi_clock="synth") as rig:
        processes: list[FakeProcess] = []
        supervised(rig, processes)
        rig.send(address, 3)
        assert sent(processes[0], "meter")[-1]["beats"] == 3


def test_commands_of_a_controller_act_and_values_return() -> None:
    with Rig(midi_map=(KORG,)) as rig:
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        (one,) = processes
        (made,) = sent(one, "configure")[-1]["maps"]
        assert made["name"] == "KORG nanoKONTROL2"
        rig.run(2048)
        known = {tuple(name): value for message in sent(one, "values")
                 for name, value in message["values"]}
        assert known["/deck/A/level",] == 1.0 and known["/deck/A/kill", "low"] == 0
        one.messages = [
            {"event": "command", "address": "/deck/A/level", "arguments": [0.25]},
            {"event": "command", "address": "/deck/A/kill", "arguments": ["low", 1]},
            {"event": "tempo", "bpm": 123.0},
            {"event": "command", "address": "/nothing", "arguments": []},
        ]
        process.tick()
        rig.run(8192)
        assert rig.status()["deck.A.level"] == 0.25 and rig.core.beat_clock.bpm == 123.0
        last = {tuple(name): value for message in sent(one, "values")
                for name, value in message["values"]}
        assert last["/deck/A/level",] == 0.25 and last["/deck/A/kill", "low"] == 1
        rig.send("/midi/map/remove", KORG)
        assert one.stopped and ("midi", 0) not in rig.core.feedback.subscribers


def test_mappings_are_refused_with_the_reason(tmp_path: Path) -> None:
    with Rig() as rig:
        rig.send("/midi/map/add", "none")
        assert "mappings that are ready: akai-apc-mini" in rig.fails()[-1]
        rig.send("/midi/map/remove", KORG)
        assert f"{KORG} is no mapping in use; in use: none" in rig.fails()[-1]
        path = tmp_path / "box.toml"
        path.write_text('name = "Box"\nport = "box"\n')
        rig.send("/midi/map/add", str(path))
        path.write_text('name = "Box 2"\nport = "box"\n')
        rig.send("/midi/map/add", str(path))
        assert rig.core.midi._maps[str(path)].name == "Box 2", "it is read again"
        rig.send("/midi/map/add", KORG, sender=("203.0.113.5", 5000))
        assert rig.core.midi.settings.maps == (str(path),)


def test_a_missing_mapping_of_the_settings_does_not_keep_the_server_from_starting() -> None:
    with Rig(midi_map=("/none.toml",), midi_clock="synth") as rig:
        assert rig.core.midi.settings.clock == "synth" and rig.core.midi.settings.maps == ()
        assert rig.core.failures == 1


def test_a_port_is_reported_once_when_it_is_lost_and_found() -> None:
    with Rig(midi_clock="synth") as rig:
        rig.send("/notify", 1)
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        processes[0].messages = [
            state(False, "there is no port"), state(False, "there is no port"),
            state(True, ticks=100), state(False, "it has been unplugged", ticks=150),
        ]
        process.tick()
        heard = [values for values in rig.heard("/midi")]
        assert heard == [
            ("clock", "lost", "there is no port"), ("clock", "found", "synth 1"),
            ("clock", "lost", "it has been unplugged"),
        ]
        kinds = [event.kind for event in rig.core.events.latest()]
        assert kinds == ["midi_lost", "midi_found", "midi_lost"]
        rig.send("/midi/list")
        assert rig.heard("/midi/list.reply") == [
            ("clock", "synth", "searching", "it has been unplugged")
        ]
        processes[0].finished = True
        process.tick()
        rig.time += 1.0
        process.tick()
        processes[1].messages = [state(True, ticks=20, locked=True, bpm=128.0, error_ms=1.5)]
        process.tick()
        status = rig.status()
        assert (status["midi_ports"], status["midi_connected"]) == (1, 1)
        assert (status["midi_ticks"], status["midi_locked"]) == (170, 1)
        assert rig.heard("/midi")[-1] == ("follow", "locked", "")
        processes[1].finished = True  # nothing is followed without the process
        process.tick()
        status = rig.status()
        assert (status["midi_locked"], status["midi_bpm"]) == (0, 0.0)
        assert rig.heard("/midi")[-1] == ("follow", "unlocked", "")


def test_a_process_that_cannot_run_is_reported() -> None:
    with Rig(midi_clock="synth") as rig:
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        processes[0].finished = True
        process.tick()
        assert [event.kind for event in rig.core.events.latest()] == ["midi_lost"]


@pytest.mark.parametrize(
    ("arguments", "kind", "low", "high"),
    [
        (("/deck/A/level",), "fader", 0.0, 1.0), (("/deck/A/filter",), "fader", -1.0, 1.0),
        (("/deck/A/kill", "low"), "toggle", 0.0, 1.0), (("/deck/A/play",), "button", 0.0, 1.0),
        (("/deck/A/hotcue", 2), "button", 0.0, 1.0),
    ],
)  # fmt: skip
def test_what_is_learned_fits_the_command(
    arguments: tuple[Any, ...], kind: str, low: float, high: float
) -> None:
    with Rig() as rig:
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        rig.send("/midi/learn", *arguments)
        assert rig.fails() == []
        process.tick()
        (learn,) = sent(processes[0], "learn")
        assert (learn["kind"], learn["low"], learn["high"]) == (kind, low, high)
        rig.send("/midi/learn/cancel")
        assert processes[0].stopped


def test_what_cannot_be_learned_is_refused() -> None:
    with Rig() as rig:
        for arguments in (
            ("/nothing",), ("/deck/A/kill",), ("/deck/A/load",), ("/deck/A/level", 9),
        ):  # fmt: skip
            rig.send("/midi/learn", *arguments)
        assert len(rig.fails()) == 4 and not rig.core.midi.wanted


def test_a_learned_control_is_saved_used_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Rig() as rig:
        rig.send("/notify", 1)
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        rig.send("/midi/learn", "/deck/A/level")
        process.tick()
        control = {
            "status": 0xB1, "number": 9, "address": "/deck/A/level", "arguments": [],
            "values": [],
        }  # fmt: skip
        learned = {"event": "learned", "port": "Knobs: MIDI 1 28:0", "control": control}
        processes[0].messages = [learned, learned]
        process.tick()
        path = learned_path("Knobs: MIDI 1")
        assert rig.heard("/midi/learned") == [
            ("Knobs: MIDI 1 28:0", "cc 9 on channel 2", "/deck/A/level", str(path))
        ]
        until(path.exists)
        made = parse_map(tomllib.loads(path.read_text()))
        assert (made.port, made.controls[0].number) == ("Knobs: MIDI 1", 9)
        assert sent(processes[0], "configure")[-1]["maps"] == [made.to_json()]
        rig.send("/midi/map/remove", "Knobs: MIDI 1")
        assert processes[0].stopped and rig.fails() == []


def test_a_successor_of_control_continues() -> None:
    rig = RestartableRig(midi_map=(KORG,), midi_clock="synth")
    with rig:
        rig.core.apply_settings()
        rig.send("/midi/attach", "nanoKONTROL2 MIDI 1")
        rig.note()
        rig.restart_control()
        midi = rig.core.midi
        assert midi.settings.clock == "synth" and midi.settings.maps == (KORG,)
        process = midi_process(midi, FakeProcess, lambda: rig.time)
        adopted = FakeProcess()
        process.adopt(adopted)
        midi.process_started()
        assert [one["do"] for one in adopted.sent] == ["report", "meter", "configure", "attach"]
        rig.run(2048)
        assert sent(adopted, "values")


def test_controllers_of_other_machines() -> None:
    port = "nanoKONTROL2 MIDI 1"
    with Rig() as rig:
        rig.send("/midi/attach", port)
        assert f"no mapping is for the port {port}" in rig.fails()[-1]
        rig.send("/midi/map/add", KORG)
        rig.send("/midi/attach", port)  # before the process runs
        processes: list[FakeProcess] = []
        process = supervised(rig, processes)
        assert sent(processes[0], "attach") == [{"do": "attach", "port": port}]
        rig.send("/midi/message", port, 0xB0, 0, 64)
        assert sent(processes[0], "message")[-1]["message"] == [0xB0, 0, 64]
        processes[0].messages = [
            {"event": "leds", "port": "nanoKONTROL2", "messages": [[0xB0, 32, 127]]}
        ]
        process.tick()
        (shown,) = rig.core.midi.value()
        assert shown["leds"] == {"nanoKONTROL2": {"176 32": 127}}
        assert len(rig.fails()) == 1
