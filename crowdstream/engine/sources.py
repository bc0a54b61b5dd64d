"""Which source files the machine code of the kernels is made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Of the engine's files those that hold no kernel: a change in them leaves the machine code good.
WITHOUT_KERNELS = frozenset(
    {"callback.py", "kernels.py", "process.py", "sources.py", "successor.py"}
)


def digest() -> str:
    """A hash of all sources that kernels are compiled from, as 64 hexadecimal digits."""
    package = Path(__file__).resolve().parent.parent
    made = hashlib.sha256()
    for part in ("desk", "engine"):
        for source in sorted((package / part).rglob("*.py")):
            if part == "engine" and (
                source.name in WITHOUT_KERNELS or source.parent.name == "drivers"
            ):
                continue
            made.update(source.relative_to(package).as_posix().encode())
            made.update(source.read_bytes())
    return made.hexdigest()
