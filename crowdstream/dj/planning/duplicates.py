"""Whether music was played before, under whatever name: by fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

from crowdstream.analysis.fingerprint import SAME, distance
from crowdstream.dj.planning.candidates import Candidates

LATELY = 20  # tracks: where music may come again, it has not been heard for so long


class PlayedTracks:
    """Looks into fingerprints of a shelf's tracks; each is read once."""

    def __init__(self, shelf: Candidates) -> None:
        self._shelf = shelf
        self._marks: dict[str, str] = {}

    def already(self, path: str, played: Sequence[str], again: bool) -> bool:
        """Whether the same music is among `played` under another path; `again`: of late."""
        mark = self._mark(path)
        return bool(mark) and any(
            distance(self._mark(other), mark) <= SAME
            for other in (played[-LATELY:] if again else played)
            if other != path and other in self._shelf
        )

    def _mark(self, path: str) -> str:
        if path not in self._marks:
            self._marks[path] = self._shelf.facts(path).analysis.fingerprint
        return self._marks[path]
