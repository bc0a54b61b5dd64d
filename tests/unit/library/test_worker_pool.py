"""Worker processes that make no progress: which of their tracks are tried again."""

from __future__ import annotations

import os
import selectors
from collections import deque
from typing import Any

import psutil
import pytest

from crowdstream.library import worker_pool
from crowdstream.library.worker import Job
from crowdstream.library.worker_pool import STUCK_SECONDS, WorkerPool


class FakeProcess:
    """A worker process that waits for its medium or computes without end."""

    pid = 1

    def kill(self) -> None:
        pass


class FakeWorker(worker_pool._WorkerProcess):
    """It has used `cpu_seconds` for its job since it received it."""

    def __init__(self, out: int, cpu_seconds: float) -> None:
        self.process: Any = FakeProcess()
        self.out, self.job = out, Job(3, "/m/a.wav", "file", "a", (), "/c")
        self.up, self.stuck, self.medium_hung = True, "", False
        self._cpu_seconds, self._start_cpu_seconds = cpu_seconds, 0.0
        self._progress_at = 0.0

    def _cpu_time_and_status(self) -> tuple[float, str]:
        return self._cpu_seconds, psutil.STATUS_DISK_SLEEP

    def end(self) -> int:
        return -9


@pytest.mark.parametrize(("cpu_seconds", "tried_again"), [(0.0, True), (1e6, False)])
def test_only_a_track_whose_medium_hung_is_tried_again(
    cpu_seconds: float, tried_again: bool
) -> None:
    out, end = os.pipe()
    worker = FakeWorker(out, cpu_seconds)
    with WorkerPool(1) as pool:
        pool._workers.append(worker)
        pool._selector.register(out, selectors.EVENT_READ, worker)
        worker.kill_if_stuck(STUCK_SECONDS + 1)
        [(job, answer)] = pool._handle_exit(worker, deque(), {})
    os.close(out)
    os.close(end)
    assert job.number == 3 and answer["error"] == worker.stuck
    assert answer["passing"] == tried_again
