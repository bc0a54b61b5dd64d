"""Levels, EQ, tempo and seeks: results and timing of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.offline_server import RATE, Rig, count, level, place, playing, write


def test_a_fade_starts_at_its_time_from_the_present_level(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.send("/reset")
    zero = rig.core.beat_clock.zero
    assert zero is not None
    rig.send("/fade", "A", 0.5, 0.5)
    rig.send("/deck_levels", 0.5)
    rig.seconds(1.1)
    begin, out = zero + round(0.5 * RATE), rig.out[:, 0]
    assert out[begin - 1] == pytest.approx(0.125)
    assert out[begin] < out[begin - 1]
    assert out[begin + RATE // 4] == pytest.approx(0.0625, abs=1e-4)
    assert out[begin + RATE // 2] == 0.0


def test_levels_that_are_left_out_stay_unchanged(rig: Rig) -> None:
    rig.send("/deck_levels", 0.1, 0.2, 0.3, 0.4)
    rig.seconds(0.1)
    rig.send("/crossfade_levels", 0.5, 0.6)
    rig.send("/deck_levels", 0.7)
    rig.seconds(0.1)
    status = rig.status()
    assert [round(status[f"deck.{d}.level"], 6) for d in "ABCD"] == [0.7, 0.6, 0.3, 0.4]


def test_eq_of_a_deck(rig: Rig) -> None:
    rig.send("/deck_eq_all", "A", 0, 25, 100)
    rig.send("/deck_filter", "B", "low", 2.0)
    rig.send("/deck_eq", "c", "HIGH", 40)
    rig.seconds(0.1)
    status = rig.status()
    assert status["deck.A.low"] == 0.0
    assert status["deck.A.mid"] == pytest.approx(10 ** (-12 / 20))
    assert status["deck.A.high"] == 1.0
    assert status["deck.B.low"] == 2.0
    assert status["deck.C.high"] == pytest.approx(10 ** (-4.8 / 20))


def test_the_tempo_scales_all_rates_and_the_clock(rig: Rig, tmp_path: Path) -> None:
    rig.send("/load_buffer", 100, str(write(tmp_path / "n.wav", count(20))))
    rig.send("/play_stem", 100, 1.0, 1.0, 0)
    rig.run(1024)
    rig.send("/reset")
    rig.send("/set_tempo", 150.0)
    zero = rig.core.beat_clock.zero
    assert zero is not None
    at_zero = int(rig.desk.voices["position"][0]) + zero - rig.desk.frame
    rig.seconds(4)
    position = int(rig.desk.voices["position"][0])
    beats = rig.core.beat_clock.beat(rig.desk.frame)
    # At base tempo 120 two beats last a second of the file, whatever the tempo.
    assert (position - at_zero) / RATE * 2 == pytest.approx(beats, abs=2 * 4 / RATE)
    assert rig.desk.tempo == pytest.approx(1.25)
    assert rig.status()["bpm"] == 150.0


def test_a_stem_of_a_folder_has_its_own_gain(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "track"
    folder.mkdir()
    write(folder / "drums.wav", level(2, 0.25))
    write(folder / "bass.wav", level(2, 0.125))
    rig.send("/cue", "A", str(folder))
    rig.send("/deck/A/stem/2", 0.0)
    rig.send("/start_group", 0.0, "A")
    rig.run(2048)
    assert rig.out[-1, 0] == pytest.approx(0.25)
    rig.send("/deck/A/stem", 2, 2.0)
    rig.run(2048)
    assert rig.out[-1, 0] == pytest.approx(0.5)


def test_a_seek_outside_of_memory_waits_while_playback_continues(tmp_path: Path) -> None:
    file = str(write(tmp_path / "long.wav", count(120), subtype="FLOAT"))
    rig = Rig(memory_mb=16)
    try:
        rig.send("/cue", "A", file)
        rig.send("/start_group", 0.0, "A")
        rig.run(2048)
        assert rig.core.track_table.deck_track(0).streamed
        rig.pages_a_block = 0
        rig.send("/deck/A/seek", 100.0)
        rig.run(2048)
        assert place(rig.out[-1, 0]) == (rig.desk.frame - 1 - rig.first_sound()) % 8192
        rig.pages_a_block = 2
        rig.seconds(0.2)
        position = int(rig.desk.voices["position"][0])
        assert 100 * RATE < position < 100.2 * RATE
        assert rig.status()["missing_frames"] == 0
        rig.pages_a_block = 0
        rig.send("/deck/A/seek", 20.0)
        rig.seconds(5.2)
        assert rig.fails() == ["/deck/A/seek this position of long was not loaded in time"]
    finally:
        rig.close()


def test_sync_replies_after_loads_and_starts_in_order(rig: Rig, steady: str) -> None:
    rig.pages_a_block = 0
    rig.send("/sync", 1)
    rig.send("/cue", "A", steady)
    rig.send("/start_group", 0.0, "A")
    rig.send("/sync", 2)
    rig.run(1024)
    assert rig.heard("/synced") == [(1,)]
    rig.pages_a_block = 100
    rig.run(1024)
    assert rig.heard("/synced") == [(1,), (2,)]
    assert rig.first_sound() > 0
    rig.send("/sync", 2**40)
    rig.run(512)
    assert rig.heard("/synced")[-1] == (2**40,)
