"""A fake machine made of files, for the tests of `crowdstream doctor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

# These imports compile the kernels; here, they do not count towards a test's time.
import crowdstream.engine.render
import crowdstream.engine.schedule.ledger
import crowdstream.engine.undo_log  # noqa: F401
from crowdstream.doctor.check import Machine

Program = str | Callable[[Sequence[str]], str | None]
"""The output of a program, or a function from its command line to that; None: it failed."""


def machine(
    root: Path, files: dict[str, str] | None = None, environ: dict[str, str] | None = None,
    **programs: Program,
) -> Machine:
    """Return a machine with these `files` in /proc, /sys etc., whose programs print `programs`."""
    for path, text in (files or {}).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(command: Sequence[str]) -> str | None:
        program = programs.get(command[0])
        return program(command) if callable(program) else program

    return Machine(root, environ or {}, run)
