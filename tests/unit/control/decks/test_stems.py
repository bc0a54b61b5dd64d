"""Stem commands over OSC: EQ, filter, mute and solo, cue bus and sends, kept with the track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.control.decks.track import StemMix
from crowdstream.desk.ramps import (
    VOICE_EQ,
    VOICE_FILTER,
    VOICE_PFL,
    VOICE_RESONANCE,
    VOICE_SEND,
    voice_ramp,
)
from tests.support.offline_server import Rig, level, playing, write


@pytest.fixture
def stems(tmp_path: Path) -> str:
    """A folder of two stems: 0.25 and 0.125, 4 s."""
    folder = tmp_path / "track"
    folder.mkdir()
    write(folder / "1 drums.wav", level(4))
    write(folder / "2 bass.wav", level(4, 0.125))
    return str(folder)


def _row(rig: Rig, which: int) -> float:
    return float(rig.desk.ramps["value"][voice_ramp(0, which)])


def _heard(rig: Rig) -> float:
    rig.seconds(0.1)
    assert np.ptp(rig.out[-500:]) == 0.0
    return float(rig.out[-1, 0])


def test_mute_and_solo_do_not_change_the_gain(rig: Rig, stems: str) -> None:
    playing(rig, stems)
    assert _heard(rig) == 0.375
    rig.send("/deck/A/stem/1/mute", 1)
    assert _heard(rig) == 0.125
    rig.send("/deck/A/stem/1", 0.5)
    assert _heard(rig) == 0.125
    rig.send("/deck/A/stem/1/mute", 0)
    assert _heard(rig) == 0.25
    rig.send("/deck/A/stem/2/solo", 1)
    assert _heard(rig) == 0.125
    rig.send("/deck/A/stem/1/solo", 1)
    assert _heard(rig) == 0.25
    rig.send("/deck/A/stem/2/solo", 0)
    assert _heard(rig) == 0.125
    rig.send("/deck/A/stem/1/mute", 1)
    assert _heard(rig) == 0.0
    rig.send("/deck/A/stem/1/mute", 0)
    rig.send("/deck/A/stem/1/solo", 0)
    assert _heard(rig) == 0.25
    assert rig.fails() == []


def test_stem_settings_reach_the_voice(rig: Rig, stems: str) -> None:
    playing(rig, stems)
    rig.send("/deck/A/stem/2/eq/mid", 0.5)
    rig.send("/deck/A/stem/1/eq", -20.0, 0.0, 6.0)
    rig.send("/deck/A/stem/2/filter", -0.5)
    rig.send("/deck/A/stem/2/filter/resonance", 0.75)
    rig.send("/deck/A/stem/1/pfl", 0.8)
    rig.send("/deck/A/stem/2/send", 2, 0.6)
    rig.seconds(0.1)
    assert rig.fails() == []
    assert _row(rig, VOICE_EQ + 4) == 0.5
    assert _row(rig, VOICE_EQ) == pytest.approx(0.1)
    assert _row(rig, VOICE_EQ + 2) == pytest.approx(10**0.3)
    assert _row(rig, VOICE_FILTER + 1) == -0.5
    assert _row(rig, VOICE_RESONANCE + 1) == 0.75
    assert _row(rig, VOICE_PFL) == pytest.approx(0.8)
    assert _row(rig, VOICE_SEND + 8 + 1) == pytest.approx(0.6)


def test_a_restart_restores_stem_settings_and_a_load_resets_them(rig: Rig, stems: str) -> None:
    playing(rig, stems)
    rig.send("/deck/A/stem/1/mute", 1)
    rig.send("/deck/A/stem/2/eq/low", 0.5)
    assert _heard(rig) == pytest.approx(0.0625, abs=1e-4)
    begin = rig.desk.frame
    rig.send("/deck/A/play")
    rig.seconds(0.5)
    # From the first frame on: a bass that was turned down is not audible.
    assert _row(rig, VOICE_EQ + 3) == 0.5
    assert np.max(rig.out[begin + 600 :]) < 0.1
    rig.send("/deck/A/load", stems)
    rig.seconds(0.2)
    rig.send("/deck/A/play")
    assert _heard(rig) == 0.375
    assert _row(rig, VOICE_EQ + 3) == 1.0


def test_stem_settings_apply_to_a_pending_start(rig: Rig, stems: str) -> None:
    rig.send("/deck/A/load", stems)
    rig.seconds(0.1)
    zero = rig.desk.frame
    rig.send("/reset")
    rig.send("/deck/A/play", 0.5)
    rig.seconds(0.2)
    rig.send("/deck/A/stem/1/mute", 1)
    rig.send("/deck/A/stem/2/pfl", 0.5)
    rig.seconds(0.6)
    assert rig.fails() == []
    assert np.all(rig.out[-1000:] == 0.125)
    assert np.max(rig.out[zero:]) <= 0.125
    assert _row(rig, VOICE_PFL + 1) == 0.5


def test_stem_commands_are_scheduled_exactly_to_the_frame(rig: Rig, stems: str) -> None:
    playing(rig, stems)
    rig.seconds(0.1)
    frame = rig.desk.frame + 5003
    rig.core.perform([("/deck/A/stem/1/mute", (1,), lambda *_: None, None)], frame)
    rig.seconds(0.3)
    assert np.all(rig.out[frame - 100 : frame] == 0.375)
    assert rig.out[frame, 0] < 0.375


def test_invalid_values_are_refused_and_change_nothing(rig: Rig, stems: str) -> None:
    playing(rig, stems)
    rig.seconds(0.1)
    before, kept = rig.desk.ramps["target"].copy(), rig.state()
    messages: list[tuple[str, tuple[object, ...]]] = [
        ("/deck/A/stem/3/mute", (1,)),
        ("/deck/A/stem/3/eq/low", (0.5,)),
        ("/deck/A/stem/1/eq/low", (-1.0,)),
        ("/deck/A/stem/1/eq", (-30.0, 0.0, 0.0)),
        ("/deck/A/stem/1/filter", (2.0,)),
        ("/deck/A/stem/1/filter/resonance", (-0.1,)),
        ("/deck/A/stem/1/solo", (2,)),
        ("/deck/A/stem/1/pfl", (5.0,)),
        ("/deck/A/stem/1/send", (3, 1.0)),
        ("/deck/B/stem/1/mute", (1,)),
        ("/deck/A/stem/9/mute", (1,)),
    ]
    for address, values in messages:
        rig.send(address, *values)
    rig.seconds(0.1)
    assert len(rig.fails()) == len(messages)
    assert np.array_equal(rig.desk.ramps["target"], before)
    assert rig.state()["buffers"] == kept["buffers"]
    assert "there is no stem 3, the track has 2" in rig.fails()[0]


def test_the_effective_gains_of_mute_and_solo() -> None:
    mix = StemMix(3)
    assert mix.gains == [1.0, 1.0, 1.0]
    mix.own_gains[1] = 0.5
    mix.solos.update({1, 2})
    mix.mutes.add(2)
    assert mix.gains == [0.0, 0.5, 0.0]
