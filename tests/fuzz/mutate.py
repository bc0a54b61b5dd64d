"""A search without atheris: mutates inputs at random and keeps those that reach new lines.

It is slower than atheris but needs only Python: for machines without an atheris wheel, and for
targets that run in another process.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from tests.fuzz.registry import OUTSIDE, Target

MAX_CHANGES = 6
_EXTREMES = (0, 1, -1, 2, 4, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000,
             0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFFFFFFFFFF, 1 << 63, (1 << 64) - 1)  # fmt: skip


class Lines:
    """Trace function that records the executed lines of some modules."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._wanted: dict[str, bool] = {}
        self.seen: set[int] = set()

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        name = str(frame.f_globals.get("__name__", ""))
        if name not in self._wanted:
            self._wanted[name] = name.startswith(self._modules)
        return self._line if self._wanted[name] else None

    def _line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        self.seen.add(hash((frame.f_code.co_filename, frame.f_lineno)))
        return self._line


def change(data: bytes, others: list[bytes], choose: random.Random, longest: int) -> bytes:
    """Return `data` with a few random changes, most of them near the start, where headers are."""
    out = bytearray(data)
    for _ in range(choose.randint(1, MAX_CHANGES)):
        at = int(len(out) * choose.random() ** choose.choice((1, 3)))
        how = choose.randrange(9)
        if how == 0 and out:
            out[min(at, len(out) - 1)] ^= 1 << choose.randrange(8)
        elif how == 1 and out:
            out[min(at, len(out) - 1)] = choose.randrange(256)
        elif how in (2, 3):
            size = choose.choice((1, 2, 4, 8))
            number = choose.choice(_EXTREMES) + choose.choice((0, 0, -1, 1))
            order = choose.choice(("little", "big"))
            bits = (number % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
            out[at : at + size] = bits
        elif how == 4:
            del out[at : at + choose.choice((1, 2, 4, 16, 64))]
        elif how == 5:
            out[at:at] = choose.randbytes(choose.choice((1, 2, 4, 16)))
        elif how == 6:
            part = out[at : at + choose.choice((4, 8, 32, 128))]
            place = choose.randrange(len(out) + 1)
            out[place:place] = part
        elif how == 7 and others:
            other = choose.choice(others)
            begin = choose.randrange(len(other) + 1)
            out[at : at + choose.choice((4, 32, 256))] = other[begin : begin + 256]
        elif how == 8 and choose.random() < 0.3:
            del out[at:]
    return bytes(out[:longest])


def traced(target: Target) -> Callable[[bytes], set[int]]:
    """Return a function that runs the target on an input and returns the lines it executed."""

    def run(data: bytes) -> set[int]:
        lines = Lines(target.modules)
        if target.name not in OUTSIDE:
            sys.settrace(lines)
        try:
            target.run(data)
        finally:
            sys.settrace(None)
        return target.covered() if target.name in OUTSIDE else lines.seen

    return run


def needed(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return those of `inputs` that reach lines which no smaller input and no seed reaches."""
    run = traced(target)
    reached: set[int] = set()
    for data in target.seeds():
        reached |= run(data)
    kept = []
    for data in sorted(inputs, key=len):
        seen = run(data)
        if not seen <= reached:
            reached |= seen
            kept.append(data)
    return kept


def search(
    target: Target,
    begin: list[bytes],
    seconds: float,
    seed: int,
    on_new: Callable[[bytes], None],
    on_fault: Callable[[bytes, Exception], None],
) -> tuple[int, int]:
    """Run a target on mutated inputs for `seconds`; return the executions and the lines reached.

    `on_new(data)` is called for an input that reaches a line which no earlier input has reached,
    `on_fault(data, error)` for an input that makes the target raise.
    """
    choose = random.Random(seed)
    pool: list[bytes] = []
    reached: set[int] = set()
    count = 0
    run = traced(target)

    def execute(data: bytes) -> bool:
        try:
            seen = run(data)
        except Exception as error:
            on_fault(data, error)
            return False
        new = not seen <= reached
        reached.update(seen)
        return new

    for data in begin:
        count += 1
        execute(data)
        pool.append(data)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        # Inputs that were found recently are chosen more often.
        place = int(len(pool) * choose.random() ** 0.5)
        data = change(pool[place] if pool else b"", pool, choose, target.longest)
        count += 1
        if execute(data):
            pool.append(data)
            on_new(data)
    return count, len(reached)
