"""The tempo in tags is checked against the audio once a track is in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.analysis.grid import Beats
from crowdstream.analysis.rhythm import Evidence, Rhythm
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from crowdstream.loader import tempo_check
from tests.support.drum_machine import RATE as HALF_RATE
from tests.support.drum_machine import beats_at, drums, worst_error
from tests.support.offline_server import Rig, write
from tests.unit.audiofile.test_tags import chunk, id3, with_chunk


def tagged(path: Path, sound: np.ndarray, said: bytes) -> str:
    """A file at 22,050 Hz with a TBPM tag."""
    write(path, np.stack([sound, sound], 1), HALF_RATE)
    return str(with_chunk(path, chunk(b"id3 ", id3(3, b"\x00" + said))))


def checked(rig: Rig, path: str) -> dict[str, object]:
    """The deck's status once the loader has checked its track."""
    rig.send("/deck/A/load", path)
    rig.run(2048)
    assert rig.status()["deck.A.grid"] == "tag"
    assert rig.status()["deck.A.grid_confidence"] < 0.6
    while rig.loader.check_tempo():
        pass
    rig.load()
    return rig.status()


def test_a_rounded_tag_is_replaced_by_tempo_and_beats_of_the_audio(
    rig: Rig, tmp_path: Path
) -> None:
    status = checked(rig, tagged(tmp_path / "a.wav", drums(127.6, 30.0, 0.4), b"128"))
    assert status["deck.A.grid"] == "tag"
    assert status["deck.A.bpm"] == pytest.approx(127.6, abs=0.01)
    assert float(str(status["deck.A.grid_confidence"])) >= 0.6
    grid = rig.core.track_table.deck_track(0).grid
    assert grid is not None
    assert worst_error(grid.seconds.anchors, beats_at(127.6, 30.0, 0.4)) < 0.01


def test_a_tag_refuted_by_the_audio_is_removed(rig: Rig, tmp_path: Path) -> None:
    hiss = 0.1 * np.random.default_rng(1).standard_normal(20 * HALF_RATE).astype(np.float32)
    assert checked(rig, tagged(tmp_path / "a.wav", hiss, b"128"))["deck.A.grid"] == ""


def test_a_deck_that_plays_in_sync_does_not_jump(rig: Rig, tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.wav", drums(127.6, 30.0, 0.4), b"128")
    rig.send("/deck/A/load", path)
    rig.run(2048)
    rig.send("/deck/A/sync", 1)
    rig.send("/deck/A/play")
    rig.seconds(0.5)
    while rig.loader.check_tempo():
        pass
    rig.load()
    assert rig.status()["deck.A.bpm"] == 128.0


def test_a_grid_set_by_a_user_meanwhile_is_kept(rig: Rig, tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.wav", drums(127.6, 30.0, 0.4), b"128")
    rig.send("/deck/A/load", path)
    rig.run(2048)
    rig.send("/deck/A/grid", 127.0, 0.2)
    while rig.loader.check_tempo():
        pass
    rig.load()
    assert rig.status()["deck.A.grid"] == "command"


def test_a_grid_with_an_anchor_for_each_beat_is_thinned(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As that of a live band with a pause; a deck's grid has up to 512 anchors.
    numbers = np.arange(640.0)
    times = 0.1 + numbers * 60 / 128 + 0.02 * np.sin(numbers / 30)
    found = Rhythm(Beats(numbers, times), 128.0, False, Evidence(0.9, 3.0, 0.9, 0.9, 0.9))
    monkeypatch.setattr(tempo_check, "track_beats", lambda *_: found)
    status = checked(rig, tagged(tmp_path / "a.wav", drums(128.0, 10.0), b"128"))
    assert status["deck.A.grid"] == "tag"
    grid = rig.core.track_table.deck_track(0).grid
    assert grid is not None and 300 < len(grid.seconds.anchors) <= 512
    assert grid.seconds.anchors[-1] == pytest.approx((639.0, times[-1]))


def test_a_grid_that_no_deck_can_use_leaves_the_tag(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.array([0.0, 20.0, 20.05, 40.0])  # a beat in 50 ms
    beats = Beats(np.array([0.0, 43.0, 44.0, 87.0]), times)
    found = Rhythm(beats, 128.0, False, Evidence(0.9, 3.0, 0.9, 0.9, 0.9))
    monkeypatch.setattr(tempo_check, "track_beats", lambda *_: found)
    status = checked(rig, tagged(tmp_path / "a.wav", drums(128.0, 10.0), b"128"))
    assert (status["deck.A.grid"], status["deck.A.bpm"]) == ("tag", 128.0)
    assert float(str(status["deck.A.grid_confidence"])) < 0.6


def test_the_tag_decides_between_ambiguous_tempi() -> None:
    # A kick on every beat at 70 bpm is also one on every other beat at 140 bpm.
    sound = drums(140.0, 40.0)
    plain = analyse([ArraySound("a", sound, HALF_RATE)]).tempo
    tagged = analyse([ArraySound("a", sound, HALF_RATE)], said=round(plain.bpm)).tempo
    assert tagged.bpm == plain.bpm
    assert tagged.confidence >= plain.confidence
    wrong = analyse([ArraySound("a", sound, HALF_RATE)], said=111.0).tempo
    assert wrong.bpm == plain.bpm, "a tag does not override the sound"
