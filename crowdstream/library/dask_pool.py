"""Analyse on other machines, with a Dask cluster (`dask.distributed`).

A Dask worker runs each job in a separate process with low priority, as the local pool does: a
track that crashes the analysis affects no other track, and the machine's other work takes
precedence. Jobs name files by their paths, so all machines must share the folders.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from crowdstream.library.worker import ANALYSER, Job
from crowdstream.library.worker_pool import JobResult, PoolError, WorkerPool
from crowdstream.system.text import install_command

MISSING = f"--scheduler needs dask.distributed: {install_command('distributed>=2024.1')}"
CONNECT_SECONDS = 15.0
JOBS_PER_THREAD = 2  # submitted jobs per thread of the cluster, so that no thread waits for a job


def do_job(values: dict[str, Any], analyser: str) -> JobResult:
    """Do one job on a Dask worker; `values` is from `Job.to_dict`.

    The process that does it ends with the job: half a second per track is the price for leaving
    no process behind on somebody else's machine.
    """
    with WorkerPool(1, analyser, background=True) as pool:
        [(_job, answer)] = pool.results([Job.from_dict(values)])
    return answer


class DaskPool:
    """A Dask cluster, given its scheduler's address. Raises `PoolError` if it cannot connect."""

    def __init__(self, address: str, analyser: str = ANALYSER) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise PoolError(MISSING)
        import distributed

        self._analyser = analyser
        try:
            self._client = distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError, TimeoutError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PoolError(f"--scheduler {address}: cannot connect ({reason})") from None

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
        """Disconnect from the cluster; jobs that it has not started are dropped."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def results(
        self, jobs: Iterable[Job], _under_way: Callable[[Job, float], None] | None = None
    ) -> Iterator[tuple[Job, JobResult]]:
        """Like `WorkerPool.answers`, but without the progress of running jobs.

        A job whose Dask workers die several times is answered with an error.
        """
        import distributed

        waiting = iter(jobs)
        under_way: dict[Any, Job] = {}
        done = distributed.as_completed([], loop=self._client.loop)

        def submit() -> None:
            max_submitted = JOBS_PER_THREAD * max(1, sum(self._client.nthreads().values()))
            while len(under_way) < max_submitted:
                job = next(waiting, None)
                if job is None:
                    return
                future = self._client.submit(do_job, job.to_dict(), self._analyser, pure=False)
                under_way[future] = job
                done.add(future)

        submit()
        while under_way:
            try:
                future = next(done)
                job = under_way.pop(future)
                yield job, self._answer(future, job)
            except (OSError, RuntimeError) as error:
                raise PoolError(f"lost the connection to the Dask cluster ({error})") from None
            future.release()
            submit()

    @staticmethod
    def _answer(future: Any, job: Job) -> JobResult:
        if future.status == "finished":
            answer: JobResult = future.result()
            return answer
        error = future.exception() if future.status == "error" else None
        if isinstance(error, PoolError):
            raise error
        cause = type(error).__name__ if error else "cancelled"
        reason = f"its analysis failed on the cluster ({cause})"
        return {"number": job.number, "error": reason, "passing": True}
