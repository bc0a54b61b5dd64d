"""The targets by name, their corpora, and what a found fault is."""

from __future__ import annotations

import hashlib
import importlib
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
# Those of the first line are looked at most, as they are what strangers can reach.
NAMES = (
    "osc", "bundles", "commands", "settings", "sets", "grids", "tags", "sizes", "audio", "rings",
)  # fmt: skip
OUTSIDE = frozenset({"audio"})  # they run in a child process: nothing of this one is instrumented


class Fault(AssertionError):
    """What a target asserts does not hold."""


@dataclass(frozen=True)
class Target:
    """Something to be fuzzed. `run(data)` returns, whatever `data` is; it raises for a fault.

    `about`: what it asserts, in a clause. `seeds()`: inputs to begin with, besides the corpus.
    `modules`: those whose coverage guides the search (prefixes of names). `longest`: bytes of an
    input. `covered()`: the lines gone through in a child process, for one that is `OUTSIDE`.
    `budget`: seconds of CPU time that an input may take, some hundred times what one does: what
    takes so long would take hours at the size that files have.
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
        """Where its corpus and found cases are kept."""
        return CORPUS / self.name

    def corpus(self) -> dict[str, bytes]:
        """What is kept, by name."""
        files = sorted(self.folder.glob("*")) if self.folder.is_dir() else []
        return {file.name: file.read_bytes() for file in files}


def load(name: str) -> Target:
    """The target of that name, which keeps to its budget; imports what it needs."""
    target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return in_time(target)


def in_time(target: Target) -> Target:
    """The target, interrupted with a `Fault` where an input takes more than its budget.

    What this process works is counted: a busy machine makes nothing slow. For the main thread.
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
    """What an input is called in a corpus."""
    return hashlib.sha256(data).hexdigest()[:16]
