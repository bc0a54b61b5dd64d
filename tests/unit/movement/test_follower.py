"""Movement maps, and the tempo that follows the crowd's movement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.control.clock.clock import MAX_AHEAD
from crowdstream.movement.follower import MovementMap
from crowdstream.movement.map_file import read_map
from crowdstream.osc.codec import build
from crowdstream.settings import SettingError
from crowdstream.settings.files import PRESETS, preset_names
from tests.support.offline_server import Rig, bundle

MAP = """
steps = [[0.2, 110.0], [0.5, 120], [0.8, 140.0]]
attack_seconds = 3.0
release_seconds = 6.0
"""


def map_file(tmp_path: Path, text: str = MAP) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("movement", "bpm"),
    [(0, 110), (0.2, 110), (0.35, 115), (0.5, 120), (0.65, 130), (0.8, 140), (1, 140)],
)
def test_the_tempo_is_linear_between_steps(tmp_path: Path, movement: float, bpm: float) -> None:
    assert read_map(map_file(tmp_path), 120.0).bpm(movement) == pytest.approx(bpm)


def test_a_map_of_one_step_is_a_constant_tempo() -> None:
    movement_map = MovementMap(((0.5, 124.0),), 1.0, 1.0)
    assert [movement_map.bpm(movement) for movement in (0.0, 0.5, 1.0)] == [124.0] * 3
    assert movement_map.next_bpm(120.0, 0.1, 100.0) == 124.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("steps = [", "line 1"),
        ("", "steps must be"),
        ("steps = []", "steps must be"),
        ("steps = [[0, 120, 3]]", "steps must be"),
        ("steps = [[0, true]]", "steps must be"),
        ("steps = [[0, nan]]", "steps must be"),
        ("steps = [[0, 120], [0, 130]]", "is not above the preceding"),
        ("steps = [[0, 120], [1.5, 130]]", "not from 0 to 1"),
        ("steps = [[0, 10]]", "does not allow"),
        ("steps = [[0, 400]]\nattack_seconds = 0", "attack_seconds must be"),
        ("steps = [[0, 120]]\nrelease_seconds = 'x'", "release_seconds must be"),
        ("steps = [[0, 120]]\nspeed = 1", "unknown key speed"),
    ],
)
def test_an_invalid_map_is_reported_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = map_file(tmp_path, text)
    with pytest.raises(SettingError) as error:
        read_map(path, 120.0)
    assert reason in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="can be read"):
        read_map(tmp_path / "none.toml", 120.0)


def test_the_example_is_a_map_and_not_a_preset() -> None:
    assert read_map(PRESETS / "movement.toml", 120.0).bpm(0.0) == 118.0
    assert "movement" not in preset_names()


def test_without_a_map_movement_is_only_displayed(rig: Rig) -> None:
    rig.send("/dance/total_movement", 0.9)
    rig.seconds(2)
    status = rig.status()
    assert status["movement"] == pytest.approx(0.9)
    assert status["bpm"] == 120.0


def test_the_tempo_follows_smoothly_up_and_down(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path))
    try:
        rig.seconds(1)
        assert rig.status()["bpm"] == 120.0, "no movement has been reported yet"
        sent = int(rig.desk.rings["command_head"])
        rig.send("/dance/total_movement", 1.0)
        factors = []
        for _ in range(150):
            rig.seconds(0.02)
            factors.append(rig.desk.tempo)
        # 20 of the map's range of 30 BPM: two thirds of the attack of 3 s.
        assert factors[45] > 1.05
        assert factors[90] < 140 / 120
        assert factors[-1] == pytest.approx(140 / 120, abs=1e-6)
        # No step is larger than the change in 0.02 s of the attack.
        assert np.abs(np.diff(factors)).max() <= 1.1 * 30 / 3.0 * 0.02 / 120
        assert int(rig.desk.rings["command_head"]) - sent <= 25, "about ten changes a second"
        assert rig.status()["bpm"] == 140.0
        rig.send("/dance/total_movement", 0.5)
        rig.seconds(2)
        assert 120.0 < rig.status()["bpm"] < 135.0
        rig.seconds(3)
        assert rig.status()["bpm"] == 120.0
    finally:
        rig.close()


def test_a_tempo_set_by_hand_stays_until_the_next_movement_report(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path))
    try:
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(3)
        rig.send("/set_tempo", 100.0)
        rig.seconds(2)
        assert rig.status()["bpm"] == 100.0
        rig.send("/dance/total_movement", 0.0)
        rig.seconds(2)
        assert rig.status()["bpm"] == 110.0
    finally:
        rig.close()


def test_movement_waits_while_too_many_tempo_changes_are_pending(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path))
    try:
        tempos = [build("/clock/tempo", (100.0 + number / 10,)) for number in range(MAX_AHEAD)]
        rig.seconds(0.1)
        rig.raw(bundle(0.5, *tempos))
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(0.3)
        assert rig.status()["bpm"] == 120.0
        rig.seconds(0.2)
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(4)
        assert rig.status()["bpm"] == 140.0
    finally:
        rig.close()


CROWD = """
below = [[0.02, 105], [0.05, 110], [0.1, 115]]
steps = [[0.1, 118], [0.6, 130]]
attack_seconds = 2.0
release_seconds = 4.0
lowest_bpm = 106
silent_seconds = 5
energy = [[0, 0.25], [0.6, 1.0]]
[[senders]]
address = "/camera/motion"
argument = 2
low = 10
high = 110
"""


@pytest.mark.parametrize(
    ("movement", "bpm"),
    [(0.0, 105), (0.0199, 105), (0.02, 110), (0.05, 115), (0.0999, 115), (0.1, 118), (0.35, 124),
     (0.6, 130), (1.0, 130)],
)  # fmt: skip
def test_the_crowd_map_has_thresholds_and_then_a_rise(movement: float, bpm: float) -> None:
    assert read_map(PRESETS / "crowd.toml", 120.0).bpm(movement) == pytest.approx(bpm)
    assert "crowd" not in preset_names()


def test_the_crowd_map_rises_faster_than_it_falls_and_settles_in_30_seconds() -> None:
    movement_map = read_map(PRESETS / "crowd.toml", 120.0)
    up = movement_map.next_bpm(110.0, 1.0, 1.0) - 110.0
    down = 125.0 - movement_map.next_bpm(125.0, 0.0, 1.0)
    assert up > down > 0.0
    assert movement_map.next_bpm(105.0, 1.0, 30.0) == 130.0
    assert movement_map.next_bpm(130.0, 0.0, 30.0) == 105.0


def test_tempo_limits_override_the_map(tmp_path: Path) -> None:
    assert read_map(map_file(tmp_path, CROWD), 120.0).bpm(0.0) == 106.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("below = [[0.2, 100]]\nsteps = [[0.1, 118]]", "is above 0.1"),
        ("below = 3\nsteps = [[0.1, 118]]", "below must be a list"),
        ("steps = [[0, 118]]\nlowest_bpm = 130\nhighest_bpm = 120", "is below lowest_bpm"),
        ("steps = [[0, 118]]\nlowest_bpm = 'x'", "lowest_bpm must be a tempo"),
        ("steps = [[0, 118]]\nsilent_seconds = 0", "silent_seconds must be"),
        ("steps = [[0, 118]]\nenergy = [[0, 2]]", "energy: 2 is not"),
        ("steps = [[0, 118]]\nsenders = 1", "senders must be"),
        ("steps = [[0, 118]]\n[[senders]]\naddress = 'x'", "sender 1: address"),
        ("steps = [[0, 118]]\n[[senders]]\naddress = '/x'\nlow = 1", "two different numbers"),
        ("steps = [[0, 118]]\n[[senders]]\naddress = '/x'\nargument = 0", "argument must be"),
        ("steps = [[0, 118]]\n[[senders]]\naddress = '/x'\nscale = 2", "known: address"),
    ],
)
def test_an_invalid_crowd_map_is_reported_in_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(SettingError) as error:
        read_map(map_file(tmp_path, text), 120.0)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_other_senders_report_movement(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path, CROWD))
    try:
        rig.send("/camera/motion", 3, 60)
        assert rig.status()["movement"] == pytest.approx(0.5)
        rig.send("/camera/motion", 3, 1000.0)
        assert rig.status()["movement"] == 1.0
        rig.send("/camera/motion", 3)
        rig.send("/camera/motion", 3, "much")
        assert [fail.split(" ", 1)[0] for fail in rig.fails()] == ["/camera/motion"] * 2
        assert rig.status()["movement"] == 1.0
    finally:
        rig.close()


def test_without_reports_the_tempo_returns_to_its_former_value(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path, CROWD))
    try:
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(4)
        assert rig.status()["bpm"] == 130.0
        rig.seconds(5.5)
        assert 120.0 < rig.status()["bpm"] < 130.0 or rig.status()["bpm"] == 120.0
        rig.seconds(3)
        assert rig.status()["bpm"] == 120.0
        rig.send("/set_tempo", 112.0)
        rig.seconds(3)
        assert rig.status()["bpm"] == 112.0, "the follower rests"
    finally:
        rig.close()


DETECTOR = """
steps = [[0, 100], [1, 140]]
attack_seconds = 1.0
release_seconds = 1.0
"""
LEGS = (
    DETECTOR
    + """
[[senders]]
address = "/dance/legs_movement"
[[senders]]
address = "/dance/person_count"
high = 10
"""
)


@pytest.mark.parametrize(
    ("address", "value"),
    [("/dance/head_movement", 0.3), ("/dance/arms_movement", 17.5), ("/dance/legs_movement", -1.0),
     ("/dance/person_count", 4)],
)  # fmt: skip
def test_without_a_map_detector_readings_are_accepted_and_ignored(
    rig: Rig, address: str, value: float
) -> None:
    before = rig.state()
    rig.send(address, value)
    rig.send(address)
    assert rig.fails() == []
    assert rig.state() == before


def test_a_map_can_use_any_detector_reading_instead_of_the_total(tmp_path: Path) -> None:
    rig = Rig(movement_map=map_file(tmp_path, LEGS))
    try:
        rig.send("/changes/subscribe", 1)
        for _ in range(20):
            rig.send("/dance/total_movement", 0.0)
            rig.send("/dance/head_movement", 0.1)
            rig.send("/dance/legs_movement", 1.0)
            rig.send("/dance/person_count", 5)
            rig.seconds(0.1)
        assert rig.status()["movement"] == pytest.approx(0.75), "the mean of 1 and 5 of 10"
        assert rig.status()["bpm"] == 130.0
        reported = {values[1] for values in rig.heard("/changed")}
        assert reported <= {1.0, 0.75}, "the total, which does not count, is not reported"
        for _ in range(20):
            rig.send("/dance/person_count", 0)
            rig.seconds(0.15)
        assert rig.status()["movement"] == 0.0, "a reading that has stopped no longer counts"
        assert rig.status()["bpm"] == 100.0
        rig.send("/dance/total_movement", 7.0)
        assert len(rig.fails()) == 1
    finally:
        rig.close()


def test_the_total_counts_with_other_readings_if_the_map_names_it(tmp_path: Path) -> None:
    both = LEGS + '[[senders]]\naddress = "/dance/total_movement"\nhigh = 2\n'
    rig = Rig(movement_map=map_file(tmp_path, both))
    try:
        rig.send("/dance/total_movement", 1.0)
        assert rig.status()["movement"] == 0.5
        rig.send("/dance/legs_movement", 1.0)
        assert rig.status()["movement"] == 0.75
    finally:
        rig.close()
