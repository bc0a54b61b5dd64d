"""The tempo of a set's clock: from beats to seconds, as the server's clock has it.

A ramp is straight over time, so over beats the square of the tempo is straight: it is a body that
speeds up evenly.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class _Piece:
    beat: float
    second: float
    bpm: float  # where it begins
    target: float
    beats: float  # until the target is reached, 0: at once


class TempoMap:
    """Changes of tempo in the order of their beats."""

    def __init__(self, bpm: float) -> None:
        self._pieces = [_Piece(-math.inf, 0.0, bpm, bpm, 0.0), _Piece(0.0, 0.0, bpm, bpm, 0.0)]

    def add(self, beat: float, bpm: float, over: float = 0.0) -> None:
        """At `beat` the tempo begins to move to `bpm`, and gets there after `over` beats.

        A move that has not ended by then goes no further.
        """
        at = bisect_right(self._pieces, beat, key=lambda piece: piece.beat)
        later = self._pieces[at:]
        del self._pieces[at:]
        self._append(beat, bpm, over)
        for piece in later:
            self._append(piece.beat, piece.target, piece.beats)

    def _append(self, beat: float, bpm: float, over: float) -> None:
        piece = _Piece(beat, self.second(beat), self.bpm(beat), bpm, over)
        self._pieces.append(piece)

    def _piece(self, beat: float) -> _Piece:
        at = bisect_right(self._pieces, beat, key=lambda piece: piece.beat)
        return self._pieces[max(1, at - 1)]

    def bpm(self, beat: float) -> float:
        """Beats a minute at a beat."""
        piece = self._piece(beat)
        passed = beat - piece.beat
        if passed >= piece.beats:
            return piece.target
        share = max(0.0, passed) / piece.beats
        return math.sqrt(piece.bpm**2 + (piece.target**2 - piece.bpm**2) * share)

    def second(self, beat: float) -> float:
        """Seconds from beat 0."""
        piece = self._piece(beat)
        passed = beat - piece.beat
        ramped = min(max(passed, 0.0), piece.beats)
        within = 120.0 * ramped / (piece.bpm + self.bpm(piece.beat + ramped)) if ramped else 0.0
        return piece.second + within + 60.0 * (passed - ramped) / (
            piece.target if passed >= piece.beats else piece.bpm
        )

    def beat(self, second: float) -> float:
        """The inverse of `second`."""
        at = bisect_right(self._pieces, second, key=lambda piece: piece.second)
        piece = self._pieces[max(1, at - 1)]
        low, left = piece.beat, second - piece.second
        ramp = 120.0 * piece.beats / (piece.bpm + piece.target)
        if left >= ramp:
            return low + piece.beats + (left - ramp) * piece.target / 60.0
        reached = piece.bpm + (piece.target - piece.bpm) * left / ramp if left > 0 else piece.bpm
        return low + left * (piece.bpm + reached) / 120.0

    def seconds(self, beat: float, over: float) -> float:
        """How long so many beats from `beat` on last."""
        return self.second(beat + over) - self.second(beat)
