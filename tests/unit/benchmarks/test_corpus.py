"""The truth of foreign music is read in both of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.corpus import read_corpus
from benchmarks.real_music import key_number


def _write(folder: Path, name: str, **known: Any) -> None:
    audio = folder / "corpus" / f"{name}.wav"
    audio.parent.mkdir(parents=True, exist_ok=True)
    audio.write_bytes(b"")
    truth = folder / "truth" / f"{name.replace('/', '__')}.json"
    truth.parent.mkdir(exist_ok=True)
    truth.write_text(json.dumps({"name": name, **known}))


def test_beats_are_listed_or_follow_from_the_tempo(tmp_path: Path) -> None:
    _write(tmp_path, "a/steady", bpm=120.0, meter=[3, 4], first=0.5, seconds=4.0)
    _write(tmp_path, "b/listed", bpm=100.0, meter=[6, 8], beats=[0.0, 0.6, 1.2, 1.8],
           downbeats=[0.0, 1.2], key=21)  # fmt: skip
    (tmp_path / "truth" / "c.json").write_text('{"name": "c/no-audio"}')
    steady, listed = read_corpus(tmp_path)
    assert (steady.source, steady.meter, steady.key) == ("a", 3, None)
    assert np.allclose(steady.beats, np.arange(0.5, 4.0, 0.5))
    assert np.allclose(steady.downbeats, [0.5, 2.0, 3.5])
    assert (listed.source, listed.meter, listed.key) == ("b", 2, 21)
    assert np.allclose(listed.downbeats, [0.0, 1.2])


@pytest.mark.parametrize(
    ("tonic", "scale", "number"),
    [("C", "major", 0), ("Bb", "minor", 22), ("F#", "minor", 18), ("", "", None)],
)
def test_keys_of_other_programs_are_understood(tonic: str, scale: str, number: int | None) -> None:
    assert key_number(tonic, scale) == number
