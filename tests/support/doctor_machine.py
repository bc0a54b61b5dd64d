"""A machine made of files, for the doctor's tests."""

from __future__ import annotations

from pathlib import Path

# Importing is compiling: done here, it is not part of a test's time.
import crowdstream.engine.render
import crowdstream.engine.schedule.ledger
import crowdstream.engine.undo_log  # noqa: F401
from crowdstream.doctor.check import Machine


def machine(root: Path, files: dict[str, str] | None = None, **programs: str) -> Machine:
    """One whose /proc, /sys and so on are `files`, and whose programs print `programs`."""
    for path, text in (files or {}).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Machine(root, {}, lambda command: programs.get(command[0]))
