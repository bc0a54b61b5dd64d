"""Resources that a test leaves in its process: open descriptors, threads, mappings of desks."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """Resources held by a process. `descriptors`: number, device and inode of each."""

    descriptors: frozenset[tuple[int, int, int]]
    threads: frozenset[threading.Thread]
    desks: frozenset[str]


def held() -> Held:
    """Return the resources that this process holds, after garbage collection."""
    gc.collect()
    descriptors = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing is closed again
            status = os.fstat(int(name))
            descriptors.add((int(name), status.st_dev, status.st_ino))
    desks = {
        line for line in Path("/proc/self/maps").read_text().splitlines()
        if "crowdstream-desk" in line
    }
    return Held(frozenset(descriptors), frozenset(threading.enumerate()), frozenset(desks))


def added(before: Held) -> list[str]:
    """Return the resources that this process did not hold before, as text.

    Only additions count: a worker runs thousands of tests, and resources of an earlier one may be
    released at any time.
    """
    now = held()
    return [
        f"{kind}: {one}"
        for kind, old, new in zip(Held._fields, before, now, strict=True)
        for one in sorted(new - old, key=str)
    ]


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Fail if the block has left a descriptor open, a thread running or a desk mapped."""
    before = held()
    yield
    left = added(before)
    assert not left, "; ".join(left)
