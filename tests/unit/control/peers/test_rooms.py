"""Rooms as seen by control: stamped commands, starts, the clock, the scene, and the role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.peers.rooms import split_address
from crowdstream.settings import SettingError, validate
from crowdstream.timing.steering import steer
from tests.support.offline_server import Rig, write
from tests.support.paired_rooms import Outbox, Pair
from tests.support.render_harness import noise
from tests.unit.control.state.test_snapshotter import RestartableRig

RATE = 44100


def music(pair: Pair, seconds: float = 40.0, name: str = "one.wav", seed: int = 0) -> str:
    """Write the same music to both rooms' folders; returns the leader's path."""
    samples = noise(round(seconds * RATE), seed=seed) / 65536
    for folder in pair.folders:
        write(folder / name, samples)
    return str(pair.folders[0] / name)


def off_bar(rig: Rig, frame: int) -> float:
    """Beats between a frame and the nearest bar."""
    return abs((rig.core.beat_clock.beat(frame) + 2.0) % 4.0 - 2.0)


def differences(pair: Pair, seconds: float) -> int:
    """Frames of the latest seconds in which the rooms differ; both must be audible."""
    leader, room = pair.outputs(seconds)
    assert np.abs(leader).max() > 0.01
    return int((leader != room).any(axis=1).sum())


def test_rooms_play_the_same_bit_for_bit(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        leader = pair.leader
        leader.send("/deck/A/load", music(pair))
        pair.run(0.5)
        leader.send("/deck/A/play")
        pair.run(0.5)
        leader.send("/deck/A/eq/low", 0.2, 0.3)
        leader.send("/set_tempo", 126.0)
        leader.send("/deck/A/fx/insert", 1, "echo")
        pair.run(0.7)
        leader.send("/deck/A/seek", 12.0)
        leader.send("/deck/A/level", 0.5)
        pair.run(1.0)
        assert differences(pair, 2.2) == 0
        assert pair.room.core.rooms.repairs == 0


def test_a_command_acts_by_the_lead_later_in_both_rooms(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        pair.leader.send("/deck/A/load", music(pair))
        pair.run(0.5)
        frame = pair.leader.desk.frame
        pair.leader.send("/deck/A/play")
        pair.run(0.5)
        first = pair.leader.first_sound(frame)
        assert first - frame == pytest.approx(0.15 * RATE, abs=600)
        assert pair.room.first_sound() == first - pair.shift


def test_a_start_that_waits_for_its_file_is_common(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        path = music(pair)
        pair.leader.pages_a_block = 0  # the leader's disk is slow
        pair.leader.send("/deck/A/load", path)
        pair.leader.send("/deck/A/play")
        pair.run(0.6)
        assert pair.room.first_sound() < 0
        pair.leader.pages_a_block = 1000
        pair.run(0.8)
        assert pair.room.first_sound() == pair.leader.first_sound() - pair.shift
        assert differences(pair, 0.3) == 0


def test_quantized_commands_act_on_the_same_beat(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        pair.leader.send("/deck/A/load", music(pair))
        pair.leader.send("/clock/quantize", "bar")
        pair.run(0.5)
        pair.leader.send("/deck/A/play")
        pair.run(2.5)
        first = pair.leader.first_sound()
        assert off_bar(pair.leader, first) < 1e-3
        assert pair.room.first_sound() == first - pair.shift


def test_a_room_that_joins_takes_everything_over_on_a_bar(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        path = music(pair)
        leader = pair.leader
        for command in (
            ("/set_tempo", 120.0), ("/deck/A/load", path), ("/deck/A/eq/mid", 0.5),
            ("/deck/A/fx/insert", 2, "flanger"), ("/mix/crossfader", 0.25),
        ):
            leader.send(*command)
        pair.run(0.5)
        leader.send("/deck/A/play")
        pair.run(4.0)
        assert pair.room.first_sound() < 0
        begin = pair.room.desk.frame
        pair.join()
        pair.run(3.1)
        first = pair.room.first_sound()
        assert first - begin < 3.0 * RATE
        assert off_bar(pair.room, first) < 1e-3
        view = pair.room.core.rooms.following._view()
        assert view["deck.A"]["eq"][1] == pytest.approx(0.5)
        assert view["deck.A"]["fx"][1]["name"] == "flanger"
        assert view["mixer"]["crossfader"] == pytest.approx(0.25)
        ours, theirs = voice(leader), voice(pair.room)
        assert ours == pytest.approx(theirs, abs=1.0)


@pytest.mark.parametrize(("bpm", "passed"), [(150.0, 3.0), (100.0, 1.0)])
def test_a_room_that_joins_during_a_ramp_of_the_tempo_is_in_step_at_once(
    tmp_path: Path, bpm: float, passed: float
) -> None:
    with Pair(tmp_path) as pair:
        leader = pair.leader
        leader.send("/set_tempo", 120.0)
        leader.send("/deck/A/load", music(pair))
        pair.run(0.5)
        leader.send("/deck/A/play")
        pair.run(1.0)
        leader.send("/clock/tempo", bpm, 16.0)
        pair.run(passed)
        pair.join()
        pair.run(3.1)
        assert voice(pair.room) == pytest.approx(voice(leader), abs=2.0)
        pair.run(6.0)
        assert voice(pair.room) == pytest.approx(voice(leader), abs=2.0)
        assert pair.room.core.rooms.repairs == 0


def voice(rig: Rig) -> float:
    """The file frame under the playhead of deck A when the mix was at frame 0 of it."""
    (track,) = [one for one in rig.core.voice_allocator.sounding()]
    assert track.voice is not None
    return float(rig.desk.voices[track.voice]["position"])


def test_a_room_that_missed_commands_is_corrected(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        leader = pair.leader
        leader.send("/deck/A/load", music(pair))
        pair.run(0.5)
        leader.send("/deck/A/play")
        pair.run(1.0)
        pair.lost = True
        leader.send("/deck/A/seek", 20.0)
        leader.send("/deck/A/level", 0.25)
        pair.run(1.0)
        assert differences(pair, 0.5) > 0
        pair.lost = False
        pair.run(4.0)
        assert pair.room.core.rooms.repairs >= 2
        assert differences(pair, 0.5) == 0


def test_a_track_that_only_one_room_plays_is_stopped_or_started(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        leader = pair.leader
        leader.send("/deck/A/load", music(pair))
        pair.run(0.5)
        pair.lost = True
        leader.send("/deck/A/play")
        pair.run(0.5)
        pair.lost = False
        pair.run(5.0)
        assert differences(pair, 0.5) == 0
        pair.lost = True
        leader.send("/deck/A/stop")
        pair.run(0.5)
        pair.lost = False
        pair.run(3.0)
        assert np.abs(pair.room.out[-RATE // 2 :]).max() == 0.0


def test_what_belongs_to_a_room_is_not_sent(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        pair.run(0.1)
        for command in (
            ("/mix/level", 0.5), ("/deck/A/pfl", 1.0), ("/mix/cue/level", 0.5), ("/quality", 0),
            ("/mix/ceiling", -3.0),
        ):
            pair.leader.send(*command)
        kinds = [one["message"]["kind"] for one in pair.outbox.sent]
        assert "commands" not in kinds
        pair.run(3.0)
        view = pair.room.core.rooms.following._view()
        assert view["mixer"]["master_level"] == 1.0 and view["deck.A"]["listen"] == 0.0
        assert pair.room.core.rooms.repairs == 0


def test_a_file_is_found_under_another_name_in_the_room(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        pair.join()
        path = music(pair)
        (pair.folders[1] / "one.wav").rename(pair.folders[1] / "uno.wav")
        pair.leader.send("/deck/A/load", path)
        pair.run(0.5)
        track = pair.room.core.track_table.deck_track(0)
        assert track.path == str(pair.folders[1] / "uno.wav") and track.state == "ready"


def test_a_message_of_another_version_is_reported_and_ignored(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        rooms = pair.room.core.rooms
        for message in ({"kind": "starts"}, {"kind": "scene", "first": True}, {"kind": "news"}):
            rooms.handle({"event": "message", "shift": 0, "message": message})
        assert rooms.faults == 2


# The role ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.1", ("10.0.0.1", 57130)), ("leader.local:9", ("leader.local", 9)),
        ("fd00::1", ("fd00::1", 57130)), ("[fd00::1]:77", ("fd00::1", 77)),
    ],
)
def test_an_address_may_have_a_port(text: str, wanted: tuple[str, int]) -> None:
    assert split_address(text, 57130) == wanted


@pytest.mark.parametrize("text", ["", ":5", "a b", "host:0", "host:99999", "host:x"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_address(text, 57130)


def test_rooms_need_a_key(tmp_path: Path) -> None:
    with Rig() as rig:
        rig.send("/rooms/role", "leader")
        assert "--rooms-key-file" in rig.fails()[0]
        assert rig.core.rooms.role == "off"
    with pytest.raises(SettingError, match="rooms-key-file"):
        Rig(rooms="leader")
    with pytest.raises(SettingError, match="address"):
        Rig(rooms="a:0", rooms_key_file=tmp_path / "key")


def test_the_role_can_be_changed(tmp_path: Path) -> None:
    with Rig(rooms_key_file=tmp_path / "key") as rig:
        outbox = Outbox()
        rig.core.rooms.attach(outbox)
        rig.send("/rooms/role", "leader")
        assert outbox.sent[-1]["do"] == "config" and outbox.sent[-1]["role"] == "leader"
        assert rig.core.rooms.leads and rig.core.deck_manager.gate is rig.core.rooms.leading
        rig.send("/rooms/lead", 200.0)
        rig.send("/rooms/role", "follower", "10.0.0.1")
        assert not rig.core.rooms.leads
        assert outbox.sent[-1]["leader"] == ["10.0.0.1", 57130]
        rig.send("/rooms/status")
        (reply,) = rig.heard("/rooms/status.reply")
        assert reply[:2] == ("follower", "starting")
        rig.send("/rooms/role", "off")
        assert rig.core.deck_manager.gate is None
        rig.send("/rooms/role", "follower", "x y")
        assert len(rig.fails()) == 1


@pytest.mark.parametrize("role", ["off", "leader"])
def test_a_room_that_no_longer_follows_plays_at_its_own_rate(tmp_path: Path, role: str) -> None:
    with Rig(rooms="10.0.0.1", rooms_key_file=tmp_path / "key") as rig:
        rig.core.rooms.attach(Outbox())
        steer(rig.desk, 0.002)  # its process has done that, and has been stopped
        rig.send("/rooms/role", "follower", "10.0.0.2")
        assert rig.desk.steering["on"] == 1
        rig.send("/rooms/role", role)
        assert rig.desk.steering["on"] == 0 and rig.desk.steering["wanted"] == 0.0


def test_reports_are_counted_and_noticed(tmp_path: Path) -> None:
    with Rig(rooms="10.0.0.1", rooms_key_file=tmp_path / "key") as rig:
        rooms = rig.core.rooms
        assert rooms.state == "starting"
        state: dict[str, Any] = {
            "event": "state", "forged": 0, "joined": 0, "known": 0, "in_step": 0, "reason": "",
        }
        rooms.handle(state)
        assert rooms.state == "searching"
        rooms.handle({**state, "joined": 1, "known": 1})
        assert rooms.state == "approaching"
        rooms.handle({**state, "joined": 1, "known": 1, "in_step": 1, "forged": 7})
        assert rooms.state == "in step"
        assert rig.status()["rooms.rejected"] == 7 and rooms.faults == 1
        rooms.handle({**state, "forged": 9})
        assert rig.status()["rooms.rejected"] == 9 and rooms.faults == 1, "reported once"
        rooms.handle({**state, "forged": 2})  # a new process
        assert rig.status()["rooms.rejected"] == 11
        rooms.handle({"event": "lost", "reason": "it does not answer"})
        assert rooms.faults == 2
        rooms.process_lost("it has died")
        assert rooms.state == "failed" and rooms.reason == "it has died"


def test_a_successor_of_control_keeps_the_role(tmp_path: Path) -> None:
    with RestartableRig(rooms_key_file=tmp_path / "key") as rig:
        rig.send("/rooms/role", "leader")
        rig.send("/rooms/lead", 300.0)
        rig.note()
        rig.restart_control()
        assert rig.core.rooms.role == "leader" and rig.core.rooms.leading.lead == pytest.approx(0.3)


def test_a_leader_without_a_process_plays_alone(tmp_path: Path) -> None:
    with Rig(rooms="leader", rooms_key_file=tmp_path / "key") as rig:
        assert not rig.core.rooms.leads and rig.core.deck_manager.gate is None


def test_the_settings_are_checked() -> None:
    found = validate(rooms="leader", rooms_port=5)
    assert (found.rooms, found.rooms_port) == ("leader", 5)
