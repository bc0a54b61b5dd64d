"""Sync: the beats of a deck's file coincide with the clock's, exact to the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle, write

FILE_BPM = 100.0
DOWNBEAT = 0.25  # s
SPAN = RATE * 60 / FILE_BPM  # frames of a beat of the file


def ramp_file(path: Path, seconds: float = 60.0) -> str:
    """Write a file whose samples encode their positions: a line from 0 to just below 1."""
    place = np.arange(round(seconds * RATE)) / (seconds * RATE)
    return str(write(path, np.stack([place, place], 1).astype(np.float32), subtype="FLOAT"))


def heard_beat(rig: Rig, frame: int, seconds: float = 60.0) -> float:
    """Return the file's beat that is audible at a frame of the output."""
    place = float(rig.out[frame, 0]) * seconds * RATE
    return (place - DOWNBEAT * RATE) / SPAN


def apart(rig: Rig, frame: int, ratio: float = 1.0, quantum: float = 1.0) -> float:
    """Return the distance in file frames between audible and clock position, modulo the quantum."""
    beats = heard_beat(rig, frame) - rig.core.beat_clock.beat(frame) * ratio
    return ((beats + quantum / 2) % quantum - quantum / 2) * SPAN


@pytest.fixture
def synced(rig: Rig, tmp_path: Path) -> Rig:
    """Play a deck in sync from beat 4 of the clock on."""
    rig.send("/deck/A/load", ramp_file(tmp_path / "line.wav"))
    rig.run(1024)
    rig.send("/deck/A/grid", FILE_BPM, DOWNBEAT)
    rig.send("/deck/A/sync", 1)
    rig.send("/clock/at", 4.0, "/deck/A/play")
    rig.seconds(2.5)
    assert not rig.fails()
    return rig


def in_phase(rig: Rig, since: int, ratio: float = 1.0, quantum: float = 1.0) -> None:
    """Assert that every hundredth frame from `since` on is at the clock's beat."""
    frames = range(since, rig.desk.frame, 101)
    # A sample encodes its position to 2^-24 of the file, which is 0.16 frames.
    errors = [abs(apart(rig, frame, ratio, quantum)) for frame in frames]
    assert max(errors) < 0.5, f"{max(errors)} file frames"


def test_a_synced_deck_started_at_a_beat_starts_in_phase(synced: Rig) -> None:
    in_phase(synced, 2 * RATE + 300)


def test_the_phase_is_kept_to_the_frame_through_tempo_ramps(synced: Rig) -> None:
    begin = synced.desk.frame
    synced.send("/clock/tempo", 140.0, 4.0)
    synced.seconds(2.0)
    synced.send("/clock/tempo", 90.0, 3.0)  # overtakes the ramp
    synced.seconds(4)
    synced.raw(bundle(synced.desk.frame / RATE + 0.2, build("/set_tempo", (128.0,))))
    synced.seconds(4)
    in_phase(synced, begin)
    assert synced.status()["deck.A.phase"] == pytest.approx(0.0, abs=1e-4)


def test_the_phase_is_kept_through_seeks_and_jumps(synced: Rig) -> None:
    for address, arguments in (
        ("/deck/A/seek", (20.123,)), ("/deck/A/jump", (-8.0,)), ("/deck/A/seek/fraction", (0.5,)),
        ("/deck/A/hotcue/set", (1, 7.77)), ("/deck/A/hotcue", (1,)), ("/deck/A/seek/beat", (40,)),
    ):
        synced.send(address, *arguments)
        synced.seconds(0.6)
        in_phase(synced, synced.desk.frame - RATE // 4)
    assert not synced.fails()


def test_the_phase_is_kept_through_loops(synced: Rig) -> None:
    synced.send("/clock/tempo", 131.0, 2.0)
    synced.seconds(2)
    synced.send("/clock/next", 1, "/deck/A/loop", 2)
    synced.seconds(3)
    assert synced.desk.voices["loop"][0] == 1
    begin = synced.desk.frame
    synced.send("/clock/tempo", 117.0, 8.0)
    synced.seconds(6)
    errors = [abs(apart(synced, frame)) for frame in range(begin, synced.desk.frame, 101)]
    # At the seam a few frames are crossfaded, and samples lie between two positions.
    assert float(np.quantile(errors, 0.97)) < 0.5
    synced.send("/deck/A/loop/exit")
    synced.seconds(2)
    in_phase(synced, synced.desk.frame - RATE)


@pytest.mark.parametrize(("bpm", "ratio"), [(60.0, 2.0), (190.0, 0.5), (120.0, 1.0)])
def test_half_and_double_tempo_are_found(
    rig: Rig, tmp_path: Path, bpm: float, ratio: float
) -> None:
    rig.send("/deck/A/load", ramp_file(tmp_path / "line.wav"))
    rig.run(512)
    rig.send("/clock/tempo", bpm)
    rig.send("/deck/A/grid", FILE_BPM, DOWNBEAT)
    rig.send("/deck/A/play")
    rig.seconds(0.5)
    rig.send("/deck/A/sync", 1)
    rig.seconds(2)
    assert rig.status()["deck.A.sync"] == ratio
    in_phase(rig, RATE, ratio)
    speed = np.diff(rig.out[-1000:, 0].astype(np.float64)).mean() * 60 * RATE
    assert speed == pytest.approx(bpm * ratio / FILE_BPM, rel=1e-2)


def test_a_quantum_of_four_aligns_bars(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/A/load", ramp_file(tmp_path / "line.wav"))
    rig.run(512)
    rig.send("/deck/A/grid", FILE_BPM, DOWNBEAT)
    rig.send("/deck/A/play")
    rig.seconds(1.9)
    rig.send("/deck/A/sync", 1, 4.0)
    rig.seconds(1)
    in_phase(rig, 2 * RATE, 1.0, 4.0)


def test_the_ratio_can_be_set_and_releasing_sync_keeps_the_speed(synced: Rig) -> None:
    synced.send("/deck/A/sync/ratio", 2.0)
    synced.seconds(1)
    assert synced.status()["deck.A.sync"] == 2.0
    in_phase(synced, synced.desk.frame - RATE // 2, 2.0)
    synced.send("/deck/A/sync", 0)
    synced.seconds(1)
    status = synced.status()
    assert status["deck.A.sync"] == 0.0
    assert status["deck.A.rate"] == pytest.approx(2.4)
    speed = np.diff(synced.out[-20000:, 0].astype(np.float64)).mean() * 60 * RATE
    assert speed == pytest.approx(2.4, rel=1e-3)


def test_sync_without_a_grid_is_refused_with_the_remedy(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/A/load", ramp_file(tmp_path / "line.wav", 2.0))
    rig.run(512)
    rig.send("/deck/A/sync", 1)
    [reason] = rig.fails()
    assert "line has no beat grid: send /deck/A/grid" in reason


def test_a_speed_out_of_range_is_refused(synced: Rig) -> None:
    synced.send("/deck/A/sync/ratio", 4.0)
    assert "4.80 times as fast" in synced.fails()[0]
    assert synced.status()["deck.A.sync"] == 1.0
    synced.send("/deck/A/grid", 25.0)
    assert "4.80 times as fast" in synced.fails()[1]
    assert synced.status()["deck.A.bpm"] == FILE_BPM
    synced.send("/clock/tempo", 400.0)
    assert len(synced.fails()) == 2, "four times its tempo is in range"


def test_a_restart_is_synced_again(synced: Rig) -> None:
    synced.send("/clock/next", 1, "/deck/A/play")
    synced.seconds(1.5)
    in_phase(synced, synced.desk.frame - RATE // 2)
    assert heard_beat(synced, synced.desk.frame - 1) < 4
