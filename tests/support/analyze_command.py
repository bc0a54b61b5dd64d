"""Folders of short tracks, and the analyze command with an instant analysis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile

from crowdstream.library.cli import analyze
from crowdstream.library.worker import Job, run_job
from crowdstream.library.worker_pool import JobResult
from tests.support.instant_analysis import analyse

INSTANT_ANALYSIS = "tests.support.instant_analysis:analyse"
Analyze = Callable[..., int]
Sound = Callable[..., Path]


class Here:
    """Runs jobs in the current process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def results(
        self, jobs: Iterable[Job], _under_way: Callable[[Job, float], None]
    ) -> Iterator[tuple[Job, JobResult]]:
        """Run the jobs in sequence."""
        return ((job, run_job(job, analyse)) for job in jobs)


def analyze_here(*arguments: object) -> int:
    """Run the command with an instant analysis in this process; return the exit status."""
    return analyze([str(one) for one in arguments], lambda _scheduler, _count: Here())


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The library file that `run` uses."""
    return tmp_path / "library.db"


@pytest.fixture
def run(place: Path) -> Analyze:
    """`run("folder", "--option")`: run the command with its own library; return the exit status."""

    return functools.partial(analyze_here, "--library", place)


@pytest.fixture
def sound() -> Sound:
    """`sound(path, seconds=0.5)`: write a file of noise, different each time."""
    seeds = iter(range(10**6))

    def write(path: Path, seconds: float = 0.5, channels: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(next(seeds))
        soundfile.write(path, random.uniform(-0.5, 0.5, (int(44100 * seconds), channels)), 44100)
        return path

    return write
