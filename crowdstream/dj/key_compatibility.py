"""Which keys go together: Camelot's wheel of 12 hours, an inner ring (A, minor) and an outer one.

Neighbours share six of seven notes; the two of an hour share all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASH = 1.0
# Fit of steps on the wheel, 0 good, and what a DJ calls them. Ordered by taste, after "harmonic
# mixing" as it is taught.
_SAME = 0.0
_NEIGHBOUR = 0.1
_RELATIVE = 0.15
_BOOST = 0.35  # two hours on: a whole tone up
_DIAGONAL = 0.4
_LIFT = 0.5  # seven hours on: a semitone up, as in the last chorus of a song
UNKNOWN = 0.3


@dataclass(frozen=True)
class KeyFit:
    """How well one key follows another: 0 the same, 1 a clash; and in words."""

    cost: float
    words: str


def is_key(name: str) -> bool:
    """Whether it is one of Camelot's names."""
    return name[-1:] in ("A", "B") and name[:-1] in {str(hour) for hour in range(1, 13)}


def key_fit(before: str, after: str) -> KeyFit:
    """For two of Camelot's names, either of which may be empty (no key known)."""
    if not before or not after:
        return KeyFit(UNKNOWN, "a key is not known")
    hours = (int(after[:-1]) - int(before[:-1])) % 12
    same_ring = before[-1] == after[-1]
    step = f"{before} to {after}"
    if same_ring and not hours:
        return KeyFit(_SAME, f"the same key, {after}")
    if same_ring and hours in (1, 11):
        return KeyFit(_NEIGHBOUR, f"neighbouring keys, {step}")
    if not hours:
        return KeyFit(_RELATIVE, f"relative keys, {step}")
    if same_ring and hours == 2:
        return KeyFit(_BOOST, f"an energy boost, {step}")
    if hours in (1, 11):
        return KeyFit(_DIAGONAL, f"keys across the wheel's corner, {step}")
    if same_ring and hours == 7:
        return KeyFit(_LIFT, f"a semitone up, {step}")
    return KeyFit(CLASH, f"keys that clash, {step}")
