"""Mixer commands over OSC: crossfader, isolator, kills, filter, limiter and trim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.control.publish.state_view import StateView
from crowdstream.desk.ramps import (
    RAMP_CEILING,
    RAMP_CROSSFADER,
    RAMP_FILTER,
    RAMP_RESONANCE,
    eq_ramp,
)
from tests.support.offline_server import RATE, Rig, playing, write


def _at(rig: Rig, row: int) -> float:
    return float(rig.desk.ramps["value"][row])


def test_the_crossfader_does_not_affect_the_old_vocabulary(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.send("/mix/crossfader", 1.0)
    rig.send("/crossfade_levels", 0.5, 1.0)
    rig.seconds(0.1)
    assert np.all(rig.out[-100:] == 0.125)


def test_a_slow_crossfade_follows_its_curve(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.send("/deck/A/crossfader", "left")
    rig.send("/mix/crossfader", 0.0)
    rig.seconds(0.1)
    assert np.all(rig.out[-100:] == 0.25)
    begin = rig.desk.frame
    rig.send("/mix/crossfader", 1.0, 1.0)
    rig.seconds(1.1)
    heard = rig.out[begin + RATE // 3, 0] / 0.25
    assert heard == pytest.approx(np.cos(np.pi / 6), abs=1e-3)
    assert not rig.out[-100:].any()
    rig.send("/mix/crossfader/curve", "additive")
    rig.send("/mix/crossfader", 0.75)
    rig.seconds(0.1)
    assert rig.out[-1, 0] == pytest.approx(0.125)
    rig.send("/deck/A/crossfader", "through")
    rig.seconds(0.1)
    assert np.all(rig.out[-100:] == 0.25)


def test_invalid_values_are_refused_and_change_nothing(rig: Rig) -> None:
    before = rig.desk.ramps["target"].copy()
    for address, values in (
        ("/mix/crossfader", (1.1,)),
        ("/mix/crossfader", (0.5, -1.0)),
        ("/mix/crossfader/curve", ("sigmoid",)),
        ("/deck/A/crossfader", ("middle",)),
        ("/deck/A/eq", (-27.0, 0.0, 0.0)),
        ("/deck/A/eq", (0.0, 13.0, 0.0)),
        ("/deck/A/kill", ("bass", 1)),
        ("/deck/A/trim", (25.0,)),
        ("/deck/A/filter", (-1.5,)),
        ("/mix/ceiling", (0.5,)),
        ("/deck/A/filter/resonance", (1.5,)),
    ):
        rig.send(address, *values)
    rig.seconds(0.1)
    assert len(rig.fails()) == 11
    assert np.array_equal(rig.desk.ramps["target"], before)


def test_the_isolator_in_decibels(rig: Rig) -> None:
    rig.send("/deck/B/eq", -26.0, 0.0, 12.0)
    rig.seconds(0.1)
    gains = [_at(rig, eq_ramp(1, band)) for band in range(3)]
    assert gains == pytest.approx([10 ** (-26 / 20), 1.0, 10 ** (12 / 20)])


def test_a_kill_remembers_the_gain(rig: Rig) -> None:
    rig.send("/deck/A/eq/low", 0.5)
    rig.send("/deck/A/kill", "low", 1)
    rig.send("/deck/A/kill", "low", 1)
    rig.seconds(0.1)
    assert _at(rig, eq_ramp(0, 0)) == 0.0
    rig.send("/deck/A/kill", "low", 0)
    rig.seconds(0.1)
    assert _at(rig, eq_ramp(0, 0)) == 0.5
    # A gain that is set while the band is killed is kept.
    rig.send("/deck/A/kill", "low", 1)
    rig.send("/deck_eq", "A", "low", 50.0)
    rig.send("/deck/A/kill", "low", 0)
    rig.seconds(0.1)
    assert _at(rig, eq_ramp(0, 0)) == 1.0


@pytest.mark.parametrize("gain", [0.5, 0.0])
def test_a_band_that_is_lowered_to_0_after_a_kill_is_not_killed(rig: Rig, gain: float) -> None:
    """Otherwise its fader is shown, and a motor fader moved, to the gain from before the kill."""
    rig.send("/deck/A/kill", "low", 1)
    rig.send("/deck/A/eq/low", gain)
    rig.send("/deck/A/kill", "low", 0)
    assert rig.core.deck_manager.target(eq_ramp(0, 0)) == gain
    rig.send("/deck/A/eq/low", 0.0)
    shown = StateView(rig.core).values()["deck.A"]
    assert (shown["eq"][0], shown["kill"][0]) == (0.0, 0)
    rig.send("/deck/A/kill", "low", 0)
    assert rig.core.deck_manager.target(eq_ramp(0, 0)) == 0.0


def test_a_kill_in_one_bundle_with_a_gain(rig: Rig) -> None:
    rig.core.perform([("/deck/A/eq/mid", (2.0,), _nobody, None),
                      ("/deck/A/kill", ("mid", 1), _nobody, None)])
    rig.seconds(0.1)
    assert _at(rig, eq_ramp(0, 1)) == 0.0
    rig.send("/deck/A/kill", "mid", 0)
    rig.seconds(0.1)
    assert _at(rig, eq_ramp(0, 1)) == 2.0


def _nobody(address: str, *arguments: object) -> None:
    pass


def test_trim(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.send("/deck/A/trim", -6.0)
    rig.seconds(0.1)
    assert rig.out[-1, 0] == pytest.approx(0.25 * 10 ** (-6 / 20))


def test_the_crossfader_starts_in_the_middle(rig: Rig) -> None:
    assert _at(rig, RAMP_CROSSFADER) == 0.5


def test_the_filter_ramps_over_at_least_20_ms(rig: Rig) -> None:
    rig.send("/deck/C/filter", -0.5, 0.0)
    rig.send("/deck/C/filter/resonance", 0.5, 0.1)
    rig.seconds(0.015)
    assert -0.5 < _at(rig, RAMP_FILTER + 2) < -0.25
    rig.seconds(0.1)
    assert _at(rig, RAMP_FILTER + 2) == -0.5
    assert _at(rig, RAMP_RESONANCE + 2) == 0.5


def test_the_limiter_is_set_up_from_the_settings(steady: str) -> None:
    rig = Rig(limiter_lookahead=2.0, limiter_ceiling=-1.0)
    try:
        rig.seconds(0.1)
        assert int(rig.desk.limiter["lookahead"]) == 88
        delay = int(rig.desk.limiter["delay"])
        assert rig.status()["latency_ms"] == pytest.approx(1000 * delay / RATE)
        assert _at(rig, RAMP_CEILING) == pytest.approx(10 ** (-1 / 20))
        rig.send("/mix/ceiling", -6.0)
        rig.send("/deck_levels", 4.0)
        playing(rig, steady)
        rig.seconds(0.5)
        assert np.max(np.abs(rig.out[-RATE // 3 :])) <= np.float32(10 ** (-6 / 20))
        assert rig.out[-1, 0] == pytest.approx(10 ** (-6 / 20), rel=0.02)
    finally:
        rig.close()


def test_pre_fader_listening(rig: Rig, steady: str) -> None:
    rig.send("/deck/A/level", 0.0)
    rig.send("/deck/A/pfl")
    rig.send("/mix/cue/level", 0.5)
    playing(rig, steady)
    rig.run(rig.block)
    assert not rig.out[-rig.block :].any()
    assert np.all(rig.desk.cue_out[: rig.block] == 0.125)
    rig.send("/deck/A/pfl", 0.0)
    rig.seconds(0.1)
    rig.run(rig.block)
    assert not rig.desk.cue_out[: rig.block].any()


def _measured(rig: Rig) -> None:
    while rig.loader.measure():
        pass
    rig.load()


def _tone(tmp_path: Path, decibels: float) -> str:
    # 997 Hz in both channels at -20 dBFS is -20 LUFS.
    wave = 10 ** (decibels / 20) * np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE)
    return str(write(tmp_path / f"tone{decibels:g}.wav", np.stack([wave, wave], 1)))


def test_automatic_trim_brings_tracks_to_one_loudness(rig: Rig, tmp_path: Path) -> None:
    for deck, decibels in (("A", -20.0), ("B", -8.0), ("C", -60.0)):
        rig.send(f"/deck/{deck}/load", _tone(tmp_path, decibels))
    rig.seconds(0.1)
    assert rig.status()["deck.A.lufs"] == 0.0
    _measured(rig)
    rig.seconds(0.1)
    assert rig.status()["deck.A.lufs"] == pytest.approx(-20.0, abs=0.1)
    assert rig.status()["deck.B.lufs"] == pytest.approx(-8.0, abs=0.1)
    # Without a command, tracks keep the level at which they were mastered.
    assert [rig.status()[f"deck.{deck}.trim"] for deck in "ABCD"] == [1.0] * 4
    rig.send("/mix/autotrim", 1)
    rig.seconds(0.1)
    trims = [20 * np.log10(rig.status()[f"deck.{deck}.trim"]) for deck in "ABCD"]
    assert trims == pytest.approx([6.0, -6.0, 12.0, 0.0], abs=0.1)


def test_a_manual_trim_ends_automatic_trim(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/A/trim/auto")
    rig.send("/deck/B/trim/auto")
    rig.send("/deck/B/trim", -3.0)
    for deck in "AB":
        rig.send(f"/deck/{deck}/load", _tone(tmp_path, -20.0))
    rig.seconds(0.1)
    _measured(rig)
    rig.seconds(0.1)
    trims = [20 * np.log10(rig.status()[f"deck.{deck}.trim"]) for deck in "AB"]
    assert trims == pytest.approx([6.0, -3.0], abs=0.1)


def test_automatic_trim_ramps_a_playing_track_slowly(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/A/trim/auto")
    playing(rig, _tone(tmp_path, -20.0))
    _measured(rig)
    rig.seconds(0.5)
    assert 1.0 < rig.status()["deck.A.trim"] < 1.5
    rig.seconds(2.0)
    assert rig.status()["deck.A.trim"] == pytest.approx(10 ** (6 / 20), rel=0.01)
