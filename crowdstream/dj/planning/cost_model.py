"""Cost of letting one track follow another, before a transition between them has been searched.

A cost of 1 cancels the score of the best possible transition.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from crowdstream.dj.key_compatibility import best_key_fit
from crowdstream.dj.planning.candidates import Card
from crowdstream.dj.planning.transition_search import match_tempo_ratio

# Maximum cost of: opposite energies, clashing keys, the largest comfortable change of tempo,
# tempos too far apart to be mixed, two tracks by the same artist, and a transposition.
ENERGY_COST, KEY_COST, TEMPO_COST, JUMP_COST, ARTIST_COST = 1.6, 0.9, 0.25, 1.0, 0.2
SHIFT_COST = 0.6
CHANCE = 0.12  # range of the random share, set by the seed
COMFORT = 0.06  # maximum relative change of tempo while two tracks play
STRETCH = 0.08  # maximum relative deviation from a track's own tempo


@dataclass(frozen=True)
class CostModel:
    """The costs for a seed and relative tempo limits; 0.06 is 6 percent."""

    seed: int = 1
    comfort: float = COMFORT
    stretch: float = STRETCH

    def within(self, own: float, requested: float) -> float:
        """Return the clock's tempo for a track: `requested` (0: `own`), limited to its stretch."""
        if not requested:
            return own
        return max(own / (1 + self.stretch), min(own * (1 + self.stretch), requested))

    def energy(self, energy: float, wanted: float) -> float:
        """Return the cost of an energy when `wanted` was asked for, both 0 to 1."""
        apart = abs(energy - wanted)
        # Slightly convex: two tracks that are nearly right are better than one that is quite wrong.
        return ENERGY_COST * (0.9 * apart + 0.1 * apart**2)

    def step(self, before: Card, after: Card, clock: float, requested: float = 0.0) -> float:
        """Return the cost of keys, tempos and artists.

        `clock`: tempo of the clock in beats per minute at the end of the first track.
        """
        _, own = match_tempo_ratio(after.tempo, clock, requested)
        change = abs(self.within(own, requested) / clock - 1)
        # With a tempo ride, each of the two bears half of the change while both play.
        far = change > (1 + self.comfort) ** 2 - 1
        tempo = JUMP_COST if far else TEMPO_COST * change / self.comfort
        same = bool(before.artist) and before.artist == after.artist
        fit = best_key_fit(before.key, after.key)
        key = KEY_COST * fit.cost + (SHIFT_COST if fit.shift else 0.0)
        return key + tempo + ARTIST_COST * same

    def chance(self, path: str, index: int = 0) -> float:
        """Return a random cost from 0 to `CHANCE`, reproducible from the seed and the name."""
        name = path.rstrip("/").rpartition("/")[2]
        return CHANCE * zlib.crc32(f"{self.seed}:{index}:{name}".encode()) / 2**32
