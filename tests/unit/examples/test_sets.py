"""The example set renders with the demo's tracks in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.cli import main
from crowdstream.demo.songs import SONGS, STEMS
from tests.support.offline_server import RATE, write
from tests.support.server import PROJECT


def test_the_demo_set_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for song in SONGS:
        folder = tmp_path / ".cache/crowdstream/demo/tracks" / song.folder
        folder.mkdir(parents=True)
        for number, stem in enumerate(STEMS):
            hum = np.sin(np.arange(5 * RATE) * 0.01 * (number + 1)) * 0.1
            write(folder / f"{stem}.wav", np.tile(hum, 20))
    out = tmp_path / "demo.wav"
    assert main(["render", str(PROJECT / "examples/sets/demo.set"), str(out)]) == 0
    info = soundfile.info(out)
    assert 175 * RATE < info.frames < 185 * RATE
    samples, _ = soundfile.read(out, frames=RATE)
    assert np.abs(samples).max() > 0.1
