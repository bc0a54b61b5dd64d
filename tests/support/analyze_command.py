"""Folders of short tracks, and the command with an analysis that takes no time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile

from crowdstream.library.cli import analyze
from crowdstream.library.job import Job, perform
from crowdstream.library.worker_pool import Answer
from tests.support.instant_analysis import analyse

INSTANT_ANALYSIS = "tests.support.instant_analysis:analyse"
Analyze = Callable[..., int]
Sound = Callable[..., Path]


class Here:
    """Does jobs in this very process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def answers(
        self, jobs: Iterable[Job], _under_way: Callable[[Job, float], None]
    ) -> Iterator[tuple[Job, Answer]]:
        """One after another."""
        return ((job, perform(job, analyse)) for job in jobs)


def analyze_here(*arguments: object) -> int:
    """The command, with an analysis that takes no time, in this process; the exit status."""
    return analyze([str(one) for one in arguments], lambda _scheduler, _count: Here())


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the library is that `run` keeps."""
    return tmp_path / "library.db"


@pytest.fixture
def run(place: Path) -> Analyze:
    """`run("folder", "--option")`: the command with a library of its own; the exit status."""

    return functools.partial(analyze_here, "--library", place)


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
