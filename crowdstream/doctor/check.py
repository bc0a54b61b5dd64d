"""The result of a check, and the machine that is checked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"
COMMAND_SECONDS = 5.0


@dataclass(frozen=True)
class Check:
    """One line of the report: `name` of the check, `state`, finding, and remedy.

    `state` is "ok", "warn" (it works, but could work better) or "fail" (it will not work). `data`
    contains numbers and names for programs.
    """

    name: str
    state: str
    text: str
    fix: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def _run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=COMMAND_SECONDS, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class Machine:
    """Access to the machine: `root` is the parent folder of /proc, /sys etc.; `run` runs a program.

    `run(command)` returns the program's output, or None if it is missing or failed.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[[Sequence[str]], str | None] = _run

    def resolve(self, path: str) -> Path:
        """Map an absolute path of the machine to a path below `root`."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """Return the text of a file without surrounding whitespace, or None if it is unreadable."""
        try:
            return self.resolve(path).read_text(encoding="utf-8", errors="replace").strip(" \n\t\0")
        except OSError:
            return None

    def glob(self, pattern: str) -> list[Path]:
        """Return the matching paths, sorted."""
        return sorted(self.root.glob(pattern.lstrip("/")))
