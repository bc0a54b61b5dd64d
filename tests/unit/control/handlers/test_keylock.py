"""Keylock and pitch of a deck, applied to the playing track and to the next one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.desk.ramps import VOICE_KEYLOCK, VOICE_PITCH, voice_ramp
from tests.support.offline_server import RATE, Rig, write


@pytest.fixture
def tone(tmp_path: Path) -> str:
    """A sine of 441 Hz."""
    wave = 0.3 * np.sin(2 * np.pi * 441 * np.arange(8 * RATE) / RATE)
    return str(write(tmp_path / "tone.wav", np.stack([wave, wave], 1)))


def _hertz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * RATE / len(sound)


def _play(rig: Rig, path: str, rate: float = 1.06) -> None:
    rig.send("/deck/A/load", path)
    rig.run(2048)
    rig.send("/deck/A/rate", rate)
    rig.send("/deck/A/play")
    rig.run(2048)


def _heard(rig: Rig) -> float:
    rig.seconds(0.3)
    begin = len(rig.out)
    rig.seconds(1.0)
    return _hertz(rig.out[begin:, 0])


def test_keylock_keeps_the_pitch_until_it_is_switched_off(rig: Rig, tone: str) -> None:
    _play(rig, tone)
    assert _heard(rig) == pytest.approx(441 * 1.06, abs=1.0)
    rig.send("/deck/A/keylock", 1)
    assert _heard(rig) == pytest.approx(441, abs=1.0)
    rig.send("/deck/A/keylock", 0)
    assert _heard(rig) == pytest.approx(441 * 1.06, abs=1.0)
    assert not rig.fails()


def test_a_pitch_shift_does_not_change_the_tempo(rig: Rig, tone: str) -> None:
    _play(rig, tone, 1.0)
    rig.send("/deck/A/pitch", 7.0)
    assert _heard(rig) == pytest.approx(441 * 2 ** (7 / 12), abs=1.0)
    before = int(rig.desk.voices["position"][0])
    rig.run(22050)
    assert int(rig.desk.voices["position"][0]) - before == 22050


def test_keylock_and_pitch_apply_to_the_next_track(rig: Rig, tone: str) -> None:
    rig.send("/deck/A/keylock", 1)
    rig.send("/deck/A/pitch", -12.0)
    _play(rig, tone, 1.2)
    ramps = rig.desk.ramps
    assert ramps[voice_ramp(0, VOICE_KEYLOCK)]["value"] == 1.0
    assert ramps[voice_ramp(0, VOICE_PITCH)]["value"] == 0.5
    assert _heard(rig) == pytest.approx(220.5, abs=1.0)
    rig.send("/deck/A/stop")
    rig.seconds(0.1)
    rig.send("/deck/A/play")
    assert _heard(rig) == pytest.approx(220.5, abs=1.0)


def test_other_decks_are_not_affected(rig: Rig, tone: str) -> None:
    _play(rig, tone)
    rig.send("/deck/B/keylock", 1)
    rig.send("/deck/B/pitch", 5.0)
    assert _heard(rig) == pytest.approx(441 * 1.06, abs=1.0)


def test_invalid_values_are_refused(rig: Rig, tone: str) -> None:
    _play(rig, tone)
    rig.send("/deck/A/pitch", 12.5)
    rig.send("/deck/A/pitch", float("nan"))
    rig.send("/deck/A/keylock", 2)
    assert len(rig.fails()) == 3
    assert _heard(rig) == pytest.approx(441 * 1.06, abs=1.0)


def test_attacks_are_detected_from_the_first_use_on(rig: Rig, tone: str) -> None:
    rig.send("/deck/A/load", tone)
    rig.run(4096)
    pages = np.flatnonzero(rig.desk.page_table[0, :64])
    places = rig.desk.page_table[0, pages] - 1
    assert (rig.desk.attacks[places, 0] == 65535).all()
    rig.send("/deck/A/keylock", 1)
    rig.run(4096)
    assert (rig.desk.attacks[places, 0] < 31).all()
    assert int(rig.desk.attacks[places[0], 0]) >= 1  # the onset of the tone
