"""A Dask cluster does the same jobs as the local pool, with the same results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

from crowdstream.library.cli import analyze
from crowdstream.library.dask_pool import DaskPool
from crowdstream.library.database import Library
from crowdstream.library.worker_pool import WorkerPool
from tests.integration.library.test_worker_pool import jobs_of
from tests.support.analyze_command import INSTANT_ANALYSIS, Sound


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a scheduler; it and a worker with two threads run in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://",
        host="127.0.0.1", dashboard_address=None,
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


# Dask leaves event loops and sockets to the garbage collector, which warns of them.
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_answers_as_a_pool(
    tmp_path: Path, sound: Sound, address: str, place: Path
) -> None:
    for name in ("a", "crash", "z"):
        sound(tmp_path / f"{name}.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF????WAVE")
    jobs = jobs_of(tmp_path)
    with DaskPool(address, INSTANT_ANALYSIS) as cluster:
        by_cluster = {job.path: json.dumps(answer) for job, answer in cluster.results(jobs)}
    with WorkerPool(2, INSTANT_ANALYSIS) as pool:
        by_pool = {job.path: json.dumps(answer) for job, answer in pool.results(jobs)}
    assert by_cluster == by_pool and len(by_pool) == 4
    arguments = ["--library", str(place), "--scheduler", address, str(tmp_path)]
    assert (
        analyze(arguments, lambda scheduler, _count: DaskPool(str(scheduler), INSTANT_ANALYSIS))
        == 1
    )
    with Library(place) as library:
        assert [entry.name for entry in library.find()] == ["a", "z"]


@pytest.mark.filterwarnings("ignore")
def test_an_unreachable_scheduler_is_reported(
    tmp_path: Path, sound: Sound, place: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("crowdstream.library.dask_pool.CONNECT_SECONDS", 0.3)
    sound(tmp_path / "a.wav")
    address = "tcp://127.0.0.1:1"
    assert analyze(["--library", str(place), "--scheduler", address, str(tmp_path)]) == 1
    assert f"--scheduler {address}: cannot connect" in capsys.readouterr().err
