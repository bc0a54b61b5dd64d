"""Worker processes on this machine: one per core, each with one track at a time.

A track that crashes its worker is marked as bad; a new worker continues with the other tracks. If
a worker is killed (SIGKILL), memory may have been short, or somebody may have killed it by hand:
its track is retried once.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import psutil

from crowdstream.library.worker import ANALYSER, Job
from crowdstream.system.process import child_environment

CHECK_SECONDS = 5.0  # interval of the checks whether workers make progress
# A worker that neither computes nor waits for a CPU hangs on a disk or a network. It is killed
# after this time.
STUCK_SECONDS = 180.0
# Maximum CPU time of a track: a hundred times what it should take on a slow machine.
MAX_CPU_SECONDS, CPU_SECONDS_PER_BYTE = 900.0, 1e-5
MAX_KILLS = 2  # a track whose worker is killed this many times is bad
MAX_STARTUP_DEATHS = 3  # consecutive workers that die before they are ready; then the run ends

JobResult = dict[str, Any]
# One thread per worker: there are as many workers as cores.
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}


def _ignore_progress(_job: Job, _share: float) -> None:
    pass


class PoolError(Exception):
    """No worker can be used; the message names the reason."""


class _WorkerProcess:
    """A worker process and its current job."""

    def __init__(self, analyser: str, background: bool) -> None:
        options = ["background"] if background else []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "crowdstream.library.worker", analyser, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**child_environment(), **_ONE_THREAD},
            start_new_session=True,  # Ctrl-C must not reach it; see `lower_priority`
        )  # fmt: skip
        assert self.process.stdout is not None
        self.out = self.process.stdout.fileno()
        self.job: Job | None = None
        self.up = False
        self.stuck = ""
        self.medium_hung = False  # why it is stuck: another run may succeed
        self._rest = bytearray()
        self._cpu_seconds = 0.0
        self._start_cpu_seconds = 0.0  # when it received its job
        self._progress_at = time.monotonic()

    def send_job(self, job: Job) -> None:
        """Start a job."""
        assert self.process.stdin is not None
        self.job = job
        self._start_cpu_seconds = self._cpu_seconds = self._cpu_time_and_status()[0]
        self._progress_at = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # `receive` notices that the worker has ended
            self.process.stdin.write(json.dumps(job.to_dict()).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> tuple[list[JobResult], bool]:
        """Read the available messages; return them, and whether the worker has ended."""
        data = os.read(self.out, 1 << 20)
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        return [json.loads(line) for line in lines], not data

    def kill_if_stuck(self, now: float) -> None:
        """Kill the process if it makes no progress; `now` is `time.monotonic()`."""
        if self.job is None or self.stuck:
            return
        cpu_seconds, status = self._cpu_time_and_status()
        if cpu_seconds > self._cpu_seconds or status == psutil.STATUS_RUNNING:
            self._progress_at = now
        self._cpu_seconds = cpu_seconds
        used = cpu_seconds - self._start_cpu_seconds
        if used > MAX_CPU_SECONDS + CPU_SECONDS_PER_BYTE * self.job.size:
            self.stuck = f"its analysis did not finish within {used:.0f} s of CPU time"
        elif now > self._progress_at + STUCK_SECONDS:
            self.stuck = f"reading it made no progress for {STUCK_SECONDS:g} s"
            self.medium_hung = True
        if self.stuck:
            self.process.kill()

    def end(self) -> int:
        """Kill the process if it still runs; return its exit status."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def _cpu_time_and_status(self) -> tuple[float, str]:
        try:
            process = psutil.Process(self.process.pid)
            times = process.cpu_times()
            return times.user + times.system, process.status()
        except psutil.Error:
            return self._cpu_seconds, ""


class WorkerPool:
    """Up to `count` worker processes, started on demand and kept until `close`.

    `analyser` replaces the analysis function in tests, as `module:function`.
    """

    def __init__(
        self, count: int, analyser: str = ANALYSER, background: bool = False
    ) -> None:
        self._count = count
        self._analyser = analyser
        self._background = background
        self._workers: list[_WorkerProcess] = []
        self._selector = selectors.DefaultSelector()
        self._startup_deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all workers, even in the middle of a job."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            self._selector.unregister(worker.out)
            worker.end()
        self._workers.clear()
        self._selector.close()

    def results(
        self, jobs: Iterable[Job], under_way: Callable[[Job, float], None] = _ignore_progress
    ) -> Iterator[tuple[Job, JobResult]]:
        """Do all jobs; yield each with its answer (see `job.perform`) in order of completion.

        `under_way` is called with a long-running job and its progress, 0 to 1. Raises `PoolError`
        if the workers cannot be started, or die before they are ready.
        """
        waiting = deque(jobs)
        kills: dict[int, int] = {}
        check_at = time.monotonic() + CHECK_SECONDS
        while waiting or any(worker.job for worker in self._workers):
            self._distribute(waiting)
            for key, _events in self._selector.select(CHECK_SECONDS):
                worker: _WorkerProcess = key.data
                answers, ended = worker.receive()
                for answer in answers:
                    if "up" in answer:
                        worker.up, self._startup_deaths = True, 0
                        continue
                    if "share" in answer:
                        if worker.job is not None:
                            under_way(worker.job, answer["share"])
                        continue
                    job, worker.job = worker.job, None
                    if job is not None:
                        yield job, answer
                if ended:
                    yield from self._handle_exit(worker, waiting, kills)
            now = time.monotonic()
            if now >= check_at:
                check_at = now + CHECK_SECONDS
                for worker in self._workers:
                    worker.kill_if_stuck(now)

    def _distribute(self, waiting: deque[Job]) -> None:
        for worker in self._workers:
            if worker.job is None and waiting:
                worker.send_job(waiting.popleft())
        while waiting and len(self._workers) < self._count:
            try:
                worker = _WorkerProcess(self._analyser, self._background)
            except OSError as error:
                if self._workers:
                    return  # continue with fewer workers
                raise PoolError(f"no worker can be started ({error.strerror})") from None
            self._workers.append(worker)
            self._selector.register(worker.out, selectors.EVENT_READ, worker)
            worker.send_job(waiting.popleft())

    def _handle_exit(
        self, worker: _WorkerProcess, waiting: deque[Job], kills: dict[int, int]
    ) -> Iterator[tuple[Job, JobResult]]:
        self._selector.unregister(worker.out)
        self._workers.remove(worker)
        status = worker.end()
        job = worker.job
        if not worker.up and not worker.stuck:
            self._startup_deaths += 1
            if self._startup_deaths >= MAX_STARTUP_DEATHS:
                raise PoolError("the workers exit at start-up; see their messages above")
        if job is None:
            return
        if not worker.up and not worker.stuck:
            waiting.appendleft(job)
            return
        if worker.stuck:
            passing = worker.medium_hung
            yield job, {"number": job.number, "error": worker.stuck, "passing": passing}
            return
        kills[job.number] = kills.get(job.number, 0) + 1
        if status == -signal.SIGKILL and kills[job.number] < MAX_KILLS:
            waiting.appendleft(job)
            return
        cause = f"status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                cause = signal.Signals(-status).name
        reason = f"the analysis crashed on it ({cause})"
        if status == -signal.SIGKILL:
            reason = "its analysis was killed twice; perhaps memory was short"
        yield job, {"number": job.number, "error": reason, "passing": False}
