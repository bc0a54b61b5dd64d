"""Recognise music that was already played under another name, by audio fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from crowdstream.analysis.fingerprint import MAX_SAME_DISTANCE, distance
from crowdstream.dj.planning.candidates import Candidates

RECENT_TRACKS = 20  # tracks: if repeats are allowed, music may return after this many others


class PlayedTracks:
    """Compares fingerprints of candidate tracks; reads each one once."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._fingerprints: dict[str, str] = {}

    def contains(self, path: str, played: Sequence[str], recent_only: bool) -> bool:
        """Return whether the same music is in `played` under another path.

        `recent_only`: look only at the last `RECENT_TRACKS` tracks.
        """
        fingerprint = self._fingerprint(path)
        return bool(fingerprint) and any(
            distance(self._fingerprint(other), fingerprint) <= MAX_SAME_DISTANCE
            for other in (played[-RECENT_TRACKS:] if recent_only else played)
            if other != path and other in self._candidates
        )

    def _fingerprint(self, path: str) -> str:
        if path not in self._fingerprints:
            self._fingerprints[path] = self._candidates.features(path).analysis.fingerprint
        return self._fingerprints[path]
