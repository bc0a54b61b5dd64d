"""Harmonic mixing on the Camelot wheel: 12 hours, minor keys (A) inside, major keys (B) outside.

Adjacent hours share six of their seven notes; the two keys of one hour share all seven.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASH = 1.0
# Cost of each step on the wheel, 0 is best, under the name that DJs use for it. The order is a
# matter of taste and follows the way harmonic mixing is usually taught.
_SAME = 0.0
_NEIGHBOUR = 0.1
_RELATIVE = 0.15
_BOOST = 0.35  # two hours clockwise: a whole tone up
_DIAGONAL = 0.4
_LIFT = 0.5  # seven hours clockwise: a semitone up, as in the last chorus of a song
UNKNOWN = 0.3
MAX_SHIFT = 2  # semitones: voices and drums still sound natural
SHIFT_COSTS = (0.0, 0.15, 0.25)  # cost of transposing by so many semitones


@dataclass(frozen=True)
class KeyFit:
    """How well one key follows another: `cost` from 0 (same key) to 1 (clash), and in words.

    `shift`: semitones by which the second track is transposed for that.
    """

    cost: float
    words: str
    shift: int = 0


def is_key(name: str) -> bool:
    """Return whether `name` is a Camelot key, 1A to 12B."""
    return name[-1:] in ("A", "B") and name[:-1] in {str(hour) for hour in range(1, 13)}


def transposed(key: str, semitones: int) -> str:
    """Return a Camelot key some semitones higher; a fifth up is one hour clockwise."""
    if not key or not semitones:
        return key
    return f"{(int(key[:-1]) - 1 + 7 * semitones) % 12 + 1}{key[-1]}"


def best_key_fit(before: str, after: str) -> KeyFit:
    """Return the best fit of the key `after`, transposed by up to `MAX_SHIFT` semitones."""
    best = key_fit(before, after)
    if not before or not after:
        return best
    for shift in sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=abs):
        found = key_fit(before, transposed(after, shift))
        cost = found.cost + SHIFT_COSTS[abs(shift)]
        if shift and cost < best.cost - 1e-9:
            best = KeyFit(cost, f"transposed by {shift:+d}: {found.words}", shift)
    return best


def key_fit(before: str, after: str) -> KeyFit:
    """Return how well the Camelot key `after` follows `before`; either may be empty (unknown)."""
    if not before or not after:
        return KeyFit(UNKNOWN, "one key is unknown")
    hours = (int(after[:-1]) - int(before[:-1])) % 12
    same_ring = before[-1] == after[-1]
    step = f"{before} to {after}"
    if same_ring and not hours:
        return KeyFit(_SAME, f"same key, {after}")
    if same_ring and hours in (1, 11):
        return KeyFit(_NEIGHBOUR, f"adjacent keys, {step}")
    if not hours:
        return KeyFit(_RELATIVE, f"relative keys, {step}")
    if same_ring and hours == 2:
        return KeyFit(_BOOST, f"energy boost, {step}")
    if hours in (1, 11):
        return KeyFit(_DIAGONAL, f"diagonal keys, {step}")
    if same_ring and hours == 7:
        return KeyFit(_LIFT, f"semitone up, {step}")
    return KeyFit(CLASH, f"clashing keys, {step}")
