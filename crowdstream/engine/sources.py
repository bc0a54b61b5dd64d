"""Which source files the machine code of the kernels is made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Files that no kernel has anything from: a change in them leaves the machine code good.
WITHOUT_KERNELS = frozenset(
    {
        "desk/lease.py", "desk/moment.py", "desk/ordering.py", "desk/ordering_llvm.py",
        "desk/stamp.py", "desk/stream.py", "desk/taps.py", "engine/callback.py",
        "engine/kernels.py", "engine/lifeline.py", "engine/process.py", "engine/sources.py",
        "engine/successor.py",
    }
)  # fmt: skip


def digest() -> str:
    """A hash of all sources that kernels are compiled from, as 64 hexadecimal digits."""
    package = Path(__file__).resolve().parent.parent
    made = hashlib.sha256()
    for part in ("desk", "engine"):
        for source in sorted((package / part).rglob("*.py")):
            name = source.relative_to(package).as_posix()
            if name in WITHOUT_KERNELS or source.parent.name == "drivers":
                continue
            made.update(name.encode())
            made.update(source.read_bytes())
    return made.hexdigest()
