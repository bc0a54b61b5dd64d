"""Workers on this machine: one process per core, each with one track at a time.

A worker that dies of a track takes nothing else with it: the track is bad, and the next worker
goes on. One that is killed may have been short of memory, or in somebody's way; its track is
tried once more.
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

from crowdstream.library.job import ANALYSER, Job
from crowdstream.system.child_environment import child_environment

LOOK_SECONDS = 5.0  # between two looks whether workers get anywhere
# A worker that neither computes nor waits for the processor hangs in a disk or a network.
STUCK_SECONDS = 180.0
# Processor time that a track may take: a hundred times what it should, on a slow machine.
MAX_SECONDS, SECONDS_PER_BYTE = 900.0, 1e-5
KILLS = 2  # that end a track's chances
DEATHS_AT_START = 3  # in a row, before a worker is up, that end the run

Answer = dict[str, Any]
# One thread each: the workers themselves are as many as there are cores.
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}


def _untold(_job: Job, _share: float) -> None:
    pass


class PoolError(Exception):
    """Nothing can be analysed here; the message says why."""


class _Hand:
    """A worker process, and the job it has."""

    def __init__(self, analyser: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "crowdstream.library.worker", analyser],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**child_environment(), **_ONE_THREAD},
            start_new_session=True,  # a Ctrl-C is not for it; see also `give_way`
        )  # fmt: skip
        assert self.process.stdout is not None
        self.out = self.process.stdout.fileno()
        self.job: Job | None = None
        self.up = False
        self.stuck = ""
        self._rest = bytearray()
        self._worked = 0.0
        self._begun = 0.0  # processor time when it got its job
        self._moved_at = time.monotonic()

    def give(self, job: Job) -> None:
        """Have it do a job."""
        assert self.process.stdin is not None
        self.job = job
        self._begun = self._worked = self._time()[0]
        self._moved_at = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where answers are read
            self.process.stdin.write(json.dumps(job.to_dict()).encode() + b"\n")
            self.process.stdin.flush()

    def hear(self) -> tuple[list[Answer], bool]:
        """What it says, and whether it has ended."""
        data = os.read(self.out, 1 << 20)
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        return [json.loads(line) for line in lines], not data

    def look(self, now: float) -> None:
        """End it if it gets nowhere."""
        if self.job is None or self.stuck:
            return
        worked, status = self._time()
        if worked > self._worked or status == psutil.STATUS_RUNNING:
            self._moved_at = now
        self._worked = worked
        if worked - self._begun > MAX_SECONDS + SECONDS_PER_BYTE * self.job.size:
            self.stuck = f"its analysis came to no end within {worked - self._begun:.0f} s"
        elif now > self._moved_at + STUCK_SECONDS:
            self.stuck = f"reading it stood still for {STUCK_SECONDS:g} s"
        if self.stuck:
            self.process.kill()

    def end(self) -> int:
        """End it; its exit status."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def _time(self) -> tuple[float, str]:
        try:
            process = psutil.Process(self.process.pid)
            times = process.cpu_times()
            return times.user + times.system, process.status()
        except psutil.Error:
            return self._worked, ""


class WorkerPool:
    """Up to `count` workers, which are started as they are needed and stay until `close`.

    `analyser`: what analyses, as `module:function`; for tests.
    """

    def __init__(self, count: int, analyser: str = ANALYSER) -> None:
        self._count = count
        self._analyser = analyser
        self._hands: list[_Hand] = []
        self._selector = selectors.DefaultSelector()
        self._deaths = 0

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
        """End all workers, whatever they do."""
        for hand in self._hands:
            hand.process.kill()
        for hand in self._hands:
            self._selector.unregister(hand.out)
            hand.end()
        self._hands.clear()
        self._selector.close()

    def answers(
        self, jobs: Iterable[Job], under_way: Callable[[Job, float], None] = _untold
    ) -> Iterator[tuple[Job, Answer]]:
        """Have all jobs done; each with its answer as it comes, see `work.perform`.

        `under_way` is told which share of a job is done, now and then, if it takes long.
        Raises `PoolError` where workers can't even begin.
        """
        waiting = deque(jobs)
        kills: dict[int, int] = {}
        look_at = time.monotonic() + LOOK_SECONDS
        while waiting or any(hand.job for hand in self._hands):
            self._hand_out(waiting)
            for key, _events in self._selector.select(LOOK_SECONDS):
                hand: _Hand = key.data
                answers, ended = hand.hear()
                for answer in answers:
                    if "up" in answer:
                        hand.up, self._deaths = True, 0
                        continue
                    if "share" in answer:
                        if hand.job is not None:
                            under_way(hand.job, answer["share"])
                        continue
                    job, hand.job = hand.job, None
                    if job is not None:
                        yield job, answer
                if ended:
                    yield from self._bury(hand, waiting, kills)
            now = time.monotonic()
            if now >= look_at:
                look_at = now + LOOK_SECONDS
                for hand in self._hands:
                    hand.look(now)

    def _hand_out(self, waiting: deque[Job]) -> None:
        for hand in self._hands:
            if hand.job is None and waiting:
                hand.give(waiting.popleft())
        while waiting and len(self._hands) < self._count:
            try:
                hand = _Hand(self._analyser)
            except OSError as error:
                if self._hands:
                    return  # fewer do it, too
                raise PoolError(f"no worker can be started ({error.strerror})") from None
            self._hands.append(hand)
            self._selector.register(hand.out, selectors.EVENT_READ, hand)
            hand.give(waiting.popleft())

    def _bury(
        self, hand: _Hand, waiting: deque[Job], kills: dict[int, int]
    ) -> Iterator[tuple[Job, Answer]]:
        self._selector.unregister(hand.out)
        self._hands.remove(hand)
        status = hand.end()
        job = hand.job
        if not hand.up and not hand.stuck:
            self._deaths += 1
            if self._deaths >= DEATHS_AT_START:
                raise PoolError("workers end as soon as they begin; what they say is above")
        if job is None:
            return
        if not hand.up and not hand.stuck:
            waiting.appendleft(job)
            return
        if hand.stuck:
            yield job, {"number": job.number, "error": hand.stuck, "passing": False}
            return
        kills[job.number] = kills.get(job.number, 0) + 1
        if status == -signal.SIGKILL and kills[job.number] < KILLS:
            waiting.appendleft(job)
            return
        how = f"status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        reason = f"the analysis crashed on it ({how})"
        if status == -signal.SIGKILL:
            reason = "its analysis was killed twice; perhaps memory was short"
        yield job, {"number": job.number, "error": reason, "passing": False}
