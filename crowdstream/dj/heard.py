"""Whether music was played before, under whatever name: by fingerprints."""

from __future__ import annotations

from crowdstream.analysis.fingerprint import SAME, distance
from crowdstream.dj.sets import Set
from crowdstream.dj.shelf import Shelf

LATELY = 20  # tracks: where music may come again, it has not been heard for so long


class Heard:
    """Looks into fingerprints of a shelf's tracks; each is read once."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._marks: dict[str, str] = {}

    def already(self, path: str, mix: Set, again: bool) -> bool:
        """Whether a set has the same music under another path; `again`: of late."""
        mark = self._mark(path)
        played = mix.entries[-LATELY:] if again else mix.entries
        return bool(mark) and any(
            distance(self._mark(entry.path), mark) <= SAME
            for entry in played if entry.path != path and entry.path in self._shelf
        )  # fmt: skip

    def _mark(self, path: str) -> str:
        if path not in self._marks:
            self._marks[path] = self._shelf.facts(path).analysis.fingerprint
        return self._marks[path]
