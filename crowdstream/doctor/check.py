"""What a check gives, and the machine that it looks at."""

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
    """One line: `name` of what was looked at, `state`, what was found, and what to do about it.

    `state` is "ok", "warn" (it works, not as well as it could) or "fail" (it will not work).
    `data` are numbers and names for programs.
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
    """Where checks read: `root` stands before /proc, /sys and so on; `run` runs a program.

    `run(command)` gives what the program printed, None where it is missing or failed.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[[Sequence[str]], str | None] = _run

    def path(self, path: str) -> Path:
        """A path of the machine that begins with /."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """The text of a file without surrounding blanks; None where it can't be read."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip(" \n\t\0")
        except OSError:
            return None

    def glob(self, pattern: str) -> list[Path]:
        """The paths that fit, sorted."""
        return sorted(self.root.glob(pattern.lstrip("/")))
