"""Quantisation: how far apart the beats are on which what is asked for now happens."""

from __future__ import annotations

from typing import Any

from crowdstream.desk.constants import DECKS

PHRASE_BARS = 8  # what dance music is counted in: 32 beats in a meter of 4
WORDS = ("beat", "bar", "phrase")
MIN_QUANTUM_BEATS, MAX_QUANTUM_BEATS = 0.25, 32.0  # beats


def quantum_beats(quantum: float | str, meter: int) -> float:
    """Beats of a quantum that may be one of `WORDS`."""
    if isinstance(quantum, str):
        return float({"beat": 1, "bar": meter, "phrase": PHRASE_BARS * meter}[quantum])
    return quantum


class Quantize:
    """The quantum of each deck, and the one of those that have none of their own."""

    def __init__(self) -> None:
        self.common: float | str = 0.0
        self.decks: list[float | str] = [0.0] * DECKS

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [self.common, list(self.decks)]

    def restore(self, note: list[Any]) -> None:
        """Set what was noted."""
        self.common, self.decks = note[0], list(note[1])

    def beats(self, deck: int | None, meter: int) -> float:
        """Beats between two places at which a command acts, 0 for at once."""
        own = self.decks[deck] if deck is not None else 0.0
        return quantum_beats(own or self.common, meter)
