"""Worker processes: a crash affects only its own track, and no process is left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from crowdstream.library import worker_pool
from crowdstream.library.scanner import Scanner
from crowdstream.library.worker import Job
from crowdstream.library.worker_pool import JobResult, PoolError, WorkerPool
from tests.support.analyze_command import INSTANT_ANALYSIS, Sound
from tests.support.server import PROJECT, ended, until


def jobs_of(folder: Path) -> list[Job]:
    found = Scanner(lambda path, reason: None).find([str(folder)])
    return [
        Job(number, one.path, one.kind, one.name, one.files, str(folder / "cache"))
        for number, one in enumerate(found)
    ]


def workers(of: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(of).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just exited
            if "crowdstream.library.worker" in child.cmdline():
                found.append(child)
    return found


def test_a_crashed_worker_affects_only_its_own_track(tmp_path: Path, sound: Sound) -> None:
    names = ("a", "crash", "fault", "kill", "once", "changes", "z")
    for name in names:
        sound(tmp_path / f"{name}.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF????WAVE")
    with WorkerPool(2, INSTANT_ANALYSIS) as two:
        answers: dict[str, JobResult] = {
            Path(job.path).stem: answer for job, answer in two.results(jobs_of(tmp_path))
        }
        assert len(workers(os.getpid())) <= 2
    assert not workers(os.getpid())
    assert set(answers) == {*names, "bad"}
    errors = {name: answer.get("error", "") for name, answer in answers.items()}
    assert {name for name, error in errors.items() if not error} == {"a", "once", "z"}
    assert "SIGSEGV" in errors["crash"]
    assert "ValueError: nobody foresaw this" in errors["fault"]
    assert "killed twice" in errors["kill"]
    assert "changed" in errors["changes"] and answers["changes"]["passing"]
    assert not answers["crash"]["passing"] and not answers["bad"]["passing"]
    assert len(answers["a"]["probe"]) == 32 and answers["a"]["play"].endswith("a.wav")


def test_workers_run_with_normal_priority_unless_asked(tmp_path: Path, sound: Sound) -> None:
    sound(tmp_path / "slow.wav")
    with WorkerPool(1, INSTANT_ANALYSIS) as one:
        assert len(list(one.results(jobs_of(tmp_path), lambda _job, _share: None))) == 1
        [worker] = workers(os.getpid())
        assert worker.nice() == os.nice(0)
        assert os.sched_getscheduler(worker.pid) == os.SCHED_OTHER


def test_background_workers_run_with_the_lowest_priority(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROWDSTREAM_GIVE_WAY")
    sound(tmp_path / "slow.wav")
    with WorkerPool(1, INSTANT_ANALYSIS, background=True) as one:
        shares: list[float] = []
        under_way = one.results(jobs_of(tmp_path), lambda _job, share: shares.append(share))
        assert len(list(under_way)) == 1
        assert shares == [0.5], "the job takes long enough for a progress report"
        [worker] = workers(os.getpid())
        assert worker.nice() == 19
        assert os.sched_getscheduler(worker.pid) == os.SCHED_IDLE
        assert worker.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE
        assert os.getsid(worker.pid) == worker.pid
        # The same worker does the next jobs.
        (tmp_path / "slow.wav").rename(tmp_path / "a.wav")  # this name makes the job quick
        assert len(list(one.results(jobs_of(tmp_path)))) == 1
        assert workers(os.getpid()) == [worker]


def test_a_worker_without_progress_is_killed(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(worker_pool, "STUCK_SECONDS", 1.0)
    sound(tmp_path / "endless.wav")
    with WorkerPool(1, INSTANT_ANALYSIS) as one:
        [(_job, answer)] = one.results(jobs_of(tmp_path))
    assert answer["error"] == "reading it made no progress for 1 s" and answer["passing"]


def test_a_worker_that_computes_too_long_is_killed(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(worker_pool, "MAX_CPU_SECONDS", 0.01)
    monkeypatch.setattr(worker_pool, "CPU_SECONDS_PER_BYTE", 0.0)
    sound(tmp_path / "spins.wav")
    with WorkerPool(1, INSTANT_ANALYSIS) as one:
        [(_job, answer)] = one.results(jobs_of(tmp_path))
    assert "did not finish" in answer["error"]


def test_workers_that_die_at_start_up_end_the_run(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "MAX_STARTUP_DEATHS", 2)
    sound(tmp_path / "a.wav")
    with (
        WorkerPool(1, "no.such.module:analyse") as one,
        pytest.raises(PoolError, match="exit at start-up"),
    ):
        list(one.results(jobs_of(tmp_path)))


def test_workers_exit_when_their_parent_is_killed(tmp_path: Path, sound: Sound) -> None:
    sound(tmp_path / "endless.wav")
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.integration.library.test_worker_pool import *\n"
        "list(WorkerPool(1, INSTANT_ANALYSIS).results(jobs_of(Path(sys.argv[1]))))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=PROJECT)
    try:
        until((tmp_path / "endless.begun").exists)
        [worker] = workers(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: ended(worker))
