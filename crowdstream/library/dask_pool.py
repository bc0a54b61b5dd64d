"""Workers on other machines: the same jobs, done by a Dask cluster (`dask.distributed`).

A Dask worker hands each job to a process of its own, as a pool on this machine does: a track that
crashes the analysis takes no other one with it, and the machine's other work goes first there,
too. Files are read by their paths, so the folders have to be shared.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from crowdstream.library.job import ANALYSER, Job
from crowdstream.library.worker_pool import Answer, PoolError, WorkerPool
from crowdstream.system.text import install_command

MISSING = f"--scheduler needs dask.distributed: {install_command('distributed>=2024.1')}"
CONNECT_SECONDS = 15.0
AHEAD = 2  # jobs that are with the cluster for each of its threads


def do_job(values: dict[str, Any], analyser: str) -> Answer:
    """One job, on a Dask worker.

    By a process that ends with it: nothing stays behind on a machine that is not ours, for half a
    second per track.
    """
    with WorkerPool(1, analyser) as pool:
        [(_job, answer)] = pool.answers([Job.from_dict(values)])
    return answer


class DaskPool:
    """A Dask cluster, by its scheduler's address. Raises `PoolError` where there is none."""

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
            raise PoolError(f"--scheduler {address}: nobody answers there ({reason})") from None

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
        """Leave the cluster; what it has not begun is not done."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def answers(
        self, jobs: Iterable[Job], _under_way: Callable[[Job, float], None] | None = None
    ) -> Iterator[tuple[Job, Answer]]:
        """As `Pool.answers`, but nothing is told of jobs under way.

        A job whose Dask workers die several times is a bad track.
        """
        import distributed

        waiting = iter(jobs)
        under_way: dict[Any, Job] = {}
        done = distributed.as_completed([], loop=self._client.loop)

        def submit() -> None:
            most = AHEAD * max(1, sum(self._client.nthreads().values()))
            while len(under_way) < most:
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
                raise PoolError(f"the Dask cluster is gone ({error})") from None
            future.release()
            submit()

    @staticmethod
    def _answer(future: Any, job: Job) -> Answer:
        if future.status == "finished":
            answer: Answer = future.result()
            return answer
        error = future.exception() if future.status == "error" else None
        if isinstance(error, PoolError):
            raise error
        reason = f"the cluster could not do it ({type(error).__name__ if error else 'cancelled'})"
        return {"number": job.number, "error": reason, "passing": True}
