"""The fuzz targets by name, their corpora, and the exception that reports a fault."""

from __future__ import annotations

import hashlib
import importlib
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
# The first line lists the targets that strangers can reach, which matter most.
NAMES = (
    "osc", "bundles", "commands", "settings", "sets", "grids", "tags", "sizes", "audio", "rings",
)  # fmt: skip
OUTSIDE = frozenset({"audio"})  # these run in a child process, where nothing is instrumented


class Fault(AssertionError):
    """An assertion of a target does not hold."""


@dataclass(frozen=True)
class Target:
    """A fuzz target. `run(data)` returns for any `data`; it raises an exception for a fault.

    `about`: what the target asserts, as a clause. `seeds()`: initial inputs in addition to the
    corpus. `modules`: prefixes of the names of the modules whose coverage guides the search.
    `longest`: maximum size of an input in bytes. `covered()`: the lines executed in the child
    process, for targets that are `OUTSIDE`. `budget`: seconds of CPU time that an input may take,
    several hundred times the usual time: an input beyond it would take hours at the size of real
    files.
    """

    name: str
    about: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    modules: tuple[str, ...]
    longest: int = 4096
    covered: Callable[[], set[int]] = set
    budget: float = 20.0

    @property
    def folder(self) -> Path:
        """The folder of the corpus and of found faults."""
        return CORPUS / self.name

    def corpus(self) -> dict[str, bytes]:
        """The inputs of the corpus by file name."""
        files = sorted(self.folder.glob("*")) if self.folder.is_dir() else []
        return {file.name: file.read_bytes() for file in files}


def load(name: str) -> Target:
    """Import a target and what it needs; return it with its time limit."""
    target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return with_time_limit(target)


def with_time_limit(target: Target) -> Target:
    """Return the target with a time limit: an input beyond the budget raises `Fault`.

    The limit counts the CPU time of this process, so a busy machine does not matter. Call it in
    the main thread only.
    """

    def late(_number: int, _frame: object) -> None:
        raise Fault(f"an input takes more than {target.budget:g} s")

    def run(data: bytes) -> None:
        before = signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, target.budget)
        try:
            target.run(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, before)

    return replace(target, run=run)


def file_name(data: bytes) -> str:
    """The name of an input in a corpus."""
    return hashlib.sha256(data).hexdigest()[:16]
