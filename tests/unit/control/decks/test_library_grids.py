"""A deck uses the library's beat grid of a file, and reports its confidence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.analysis.result import Analysis, Tempo
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.handlers.common import grid_of
from crowdstream.control.publish.deck_view import grid_value
from crowdstream.library import default_path
from crowdstream.library.corrections import Corrections
from crowdstream.library.database import Library
from crowdstream.library.models import Row
from crowdstream.library.scanner import SINGLE, FileState
from tests.support.drum_machine import beats_at
from tests.support.instant_analysis import made
from tests.support.offline_server import RATE, Rig, write
from tests.unit.audiofile.test_tags import chunk, id3, with_chunk

BPM, FIRST, SECONDS = 127.6, 0.4, 32.0


@pytest.fixture(autouse=True)
def _own_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def keep(path: Path, analysis: Analysis, **corrections: float) -> None:
    """Store a file's analysis in the library, as `crowdstream analyze` does."""
    status = path.stat()
    mark = FileState(path.stem, str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    row = Row(str(path), str(path), SINGLE, (mark,), path.stem, "p", "", 3, analysis)
    row.corrections = Corrections(**corrections)  # type: ignore[arg-type]
    with Library(default_path()) as library:
        library.put([row])
        library.correct(str(path), lambda _: Corrections(**corrections))  # type: ignore[arg-type]


def clicks(path: Path) -> Path:
    """Write clicks at 127.6 BPM from 0.4 s on to a file whose tag says 128."""
    sound = np.zeros((round(SECONDS * RATE), 2), np.float32)
    decay = (0.9 * np.exp(-np.arange(800) / 150.0) * np.sin(np.arange(800) * 0.9))[:, None]
    for at in beats_at(BPM, SECONDS - 0.1, FIRST):
        first = round(at * RATE)
        sound[first : first + 800] += decay
    return with_chunk(write(path, sound), chunk(b"id3 ", id3(3, b"\x00128")))


def test_clicks_coincide_with_the_clock_although_the_tag_is_rounded(
    rig: Rig, tmp_path: Path
) -> None:
    path = clicks(tmp_path / "t.wav")
    sound = np.asarray(_samples(path))
    keep(path, analyse([ArraySound("t", sound, RATE)]))
    rig.send("/clock/tempo", 125.0)
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    rig.send("/deck/A/sync", 1)
    rig.send("/clock/at", 4.0, "/deck/A/play")
    rig.seconds(24.0)
    assert not rig.fails()
    assert rig.status()["deck.A.grid"] == "analysis"
    level = np.abs(rig.out[:, 0])
    loud = np.flatnonzero(level > 0.2)
    heard = loud[np.diff(loud, prepend=-RATE) > RATE // 10]
    assert len(heard) > 30
    beats = np.array([rig.core.beat_clock.beat(int(frame)) for frame in heard])
    late = (beats - np.rint(beats)) * 60 / 125.0
    assert np.abs(late[1:]).max() < 0.010


def test_an_uncertain_grid_is_shown_as_uncertain(rig: Rig, tmp_path: Path) -> None:
    path = clicks(tmp_path / "t.wav")
    doubtful = made(SECONDS, 100.0)
    tempo = Tempo(100.0, True, 0.4, doubtful.tempo.anchors, "its tempo changes")
    keep(path, Analysis.from_dict({**doubtful.to_dict(), "tempo": vars(tempo)}))
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.grid_confidence"]) == ("analysis", 0.4)
    shown = grid_value(grid_of(rig.core.track_table.deck_track(0)))
    assert (shown["uncertain"], shown["doubt"]) == (1, "its tempo changes")


def test_a_sidecar_takes_precedence_over_a_correction_and_that_over_the_analysis(
    rig: Rig, tmp_path: Path
) -> None:
    path = clicks(tmp_path / "t.wav")
    keep(path, made(SECONDS, 100.0), bpm=101.0)
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.grid_confidence"]) == ("correction", 1.0)
    assert status["deck.A.bpm"] == pytest.approx(101.0)
    (tmp_path / "t.crowdstream.toml").write_text("[grid]\nbpm = 102\nconfidence = 0.5\n")
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.grid_confidence"]) == ("sidecar", 0.5)


def test_a_track_without_a_beat_has_no_grid_whatever_its_tag_says(
    rig: Rig, tmp_path: Path
) -> None:
    path = clicks(tmp_path / "t.wav")
    beatless = made(SECONDS, 100.0).to_dict()
    keep(path, Analysis.from_dict({**beatless, "tempo": vars(Tempo(0.0, True, 0.0, ()))}))
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    assert rig.status()["deck.A.grid"] == ""


def test_a_changed_file_does_not_use_its_old_library_entry(
    rig: Rig, tmp_path: Path
) -> None:
    path = clicks(tmp_path / "t.wav")
    keep(path, made(SECONDS, 100.0))
    os.utime(path, (1, 1))
    rig.send("/deck/A/load", str(path))
    rig.run(1024)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.bpm"]) == ("tag", 128.0)
    assert status["deck.A.grid_confidence"] < 0.6, "it has not been checked against the audio"


def test_a_grid_saved_by_an_earlier_version_is_certain() -> None:
    pairs = [[0.0, 0.5], [1.0, 1.0]]
    old = Grid.from_state(["sidecar", pairs, True], RATE)
    assert (old.confidence, old.doubt) == (1.0, "")
    grid = Grid(BeatGrid.of_tempo(120.0), RATE, "analysis", 0.4, "odd")
    again = Grid.from_state(grid.to_state(), RATE)
    assert (again.confidence, again.doubt, again.uncertain) == (0.4, "odd", True)


def _samples(path: Path) -> np.ndarray:
    samples, _rate = soundfile.read(path, dtype="float32")
    return np.asarray(samples)
