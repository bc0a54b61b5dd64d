"""Folders of short tracks, and the command with an analysis that takes no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.catalog.command import analyze

STANDIN = "tests.catalog.standin:analyse"
Analyze = Callable[..., int]
Sound = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the library is that `run` keeps."""
    return tmp_path / "library.db"


@pytest.fixture
def run(place: Path) -> Analyze:
    """`run("folder", "--option")`: the command with a library of its own; the exit status."""

    def go(*arguments: object, jobs: int = 1) -> int:
        words = [str(one) for one in arguments]
        return analyze(["--library", str(place), "--jobs", str(jobs), *words], STANDIN)

    return go


@pytest.fixture
def sound() -> Sound:
    """`sound(path, seconds=0.5)`: write a file with noise in it, other noise each time."""
    seeds = iter(range(10**6))

    def write(path: Path, seconds: float = 0.5, channels: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(next(seeds))
        soundfile.write(path, random.uniform(-0.5, 0.5, (int(44100 * seconds), channels)), 44100)
        return path

    return write
