"""The log of a night: JSON lines, each written immediately, so that nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = "night.jsonl"


class Log:
    """Writes entries: `what` happened, `t` seconds after the start, and its values."""

    def __init__(self, folder: Path, begin: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.begin = begin
        self._file = (folder / NAME).open("w", buffering=1, encoding="utf-8")

    def write(self, what: str, /, **values: Any) -> None:
        """Write one line; the operating system has it when this returns."""
        entry = {"what": what, "t": round(time.monotonic() - self.begin, 4), **values}
        self._file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Night:
    """A log that was read: entries by kind."""

    def __init__(self, entries: Iterator[dict[str, Any]]) -> None:
        self._by: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            self._by.setdefault(entry["what"], []).append(entry)

    def all(self, what: str) -> list[dict[str, Any]]:
        """Return all entries of a kind in order."""
        return self._by.get(what, [])

    def one(self, what: str) -> dict[str, Any]:
        """Return the latest entry of a kind; empty if there is none."""
        return self.all(what)[-1] if self.all(what) else {}


def read(folder: Path) -> Night:
    """Read the log in a folder. Reading stops at a line that was cut off by a crash."""

    def entries() -> Iterator[dict[str, Any]]:
        with (folder / NAME).open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    return Night(entries())
