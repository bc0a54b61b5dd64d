"""Quantization: the grid of beats on which immediate commands act."""

from __future__ import annotations

from typing import Any

from crowdstream.desk.constants import DECKS

PHRASE_BARS = 8  # the usual phrase of dance music: 32 beats in a meter of 4
WORDS = ("beat", "bar", "phrase")
MIN_QUANTUM_BEATS, MAX_QUANTUM_BEATS = 0.25, 32.0  # beats


def quantum_beats(quantum: float | str, meter: int) -> float:
    """Convert a quantum, in beats or one of `WORDS`, to beats."""
    if isinstance(quantum, str):
        return float({"beat": 1, "bar": meter, "phrase": PHRASE_BARS * meter}[quantum])
    return quantum


class Quantize:
    """The quantum of each deck, and the common one of decks that have none of their own."""

    def __init__(self) -> None:
        self.common: float | str = 0.0
        self.decks: list[float | str] = [0.0] * DECKS

    def to_state(self) -> list[Any]:
        """Return the quanta as JSON-compatible state; see `restore`."""
        return [self.common, list(self.decks)]

    def restore(self, state: list[Any]) -> None:
        """Restore the quanta from `to_state`."""
        self.common, self.decks = state[0], list(state[1])

    def beats(self, deck: int | None, meter: int) -> float:
        """Return the quantum of a deck (None: the common one) in beats; 0 for immediate."""
        own = self.decks[deck] if deck is not None else 0.0
        return quantum_beats(own or self.common, meter)
