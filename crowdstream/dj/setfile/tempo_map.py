"""The tempo of a set's clock: convert beats to seconds the way the server's clock does.

A tempo ramp is linear in time. The square of the tempo is therefore linear in beats, like the
speed of a body under constant acceleration.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class _Piece:
    beat: float
    second: float
    bpm: float  # at the start of the piece
    target: float
    beats: float  # duration of the ramp to `target`; 0 changes at once


class TempoMap:
    """A piecewise tempo curve over clock beats."""

    def __init__(self, bpm: float) -> None:
        self._pieces = [_Piece(-math.inf, 0.0, bpm, bpm, 0.0), _Piece(0.0, 0.0, bpm, bpm, 0.0)]

    def add(self, beat: float, bpm: float, over: float = 0.0) -> None:
        """Ramp the tempo to `bpm` over `over` beats from `beat` on.

        This cuts off a ramp that is still running at `beat`.
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
        """Return the tempo at a beat, in beats per minute."""
        piece = self._piece(beat)
        passed = beat - piece.beat
        if passed >= piece.beats:
            return piece.target
        share = max(0.0, passed) / piece.beats
        return math.sqrt(piece.bpm**2 + (piece.target**2 - piece.bpm**2) * share)

    def second(self, beat: float) -> float:
        """Return the time of a beat in seconds after beat 0."""
        piece = self._piece(beat)
        passed = beat - piece.beat
        ramped = min(max(passed, 0.0), piece.beats)
        within = 120.0 * ramped / (piece.bpm + self.bpm(piece.beat + ramped)) if ramped else 0.0
        return piece.second + within + 60.0 * (passed - ramped) / (
            piece.target if passed >= piece.beats else piece.bpm
        )

    def beat(self, second: float) -> float:
        """Return the beat at a time in seconds; the inverse of `second`."""
        at = bisect_right(self._pieces, second, key=lambda piece: piece.second)
        piece = self._pieces[max(1, at - 1)]
        low, left = piece.beat, second - piece.second
        ramp = 120.0 * piece.beats / (piece.bpm + piece.target)
        if left >= ramp:
            return low + piece.beats + (left - ramp) * piece.target / 60.0
        reached = piece.bpm + (piece.target - piece.bpm) * left / ramp if left > 0 else piece.bpm
        return low + left * (piece.bpm + reached) / 120.0

    def seconds(self, beat: float, over: float) -> float:
        """Return the duration in seconds of `over` beats from `beat` on."""
        return self.second(beat + over) - self.second(beat)
