"""Recognise music that was already played under another name, by audio fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from crowdstream.analysis.fingerprint import SAME, distance
from crowdstream.dj.planning.candidates import Candidates

LATELY = 20  # tracks: if repeats are allowed, music may return after this many others


class PlayedTracks:
    """Compares fingerprints of candidate tracks; reads each one once."""

    def __init__(self, shelf: Candidates) -> None:
        self._shelf = shelf
        self._marks: dict[str, str] = {}

    def already(self, path: str, played: Sequence[str], again: bool) -> bool:
        """Return whether the same music is in `played` under another path.

        `again`: look only at the last `LATELY` tracks.
        """
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
