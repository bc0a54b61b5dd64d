"""What it costs to let one track follow another, before it is known where they could meet.

A cost of 1 is as much as the best transition is worth.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from crowdstream.dj.key_compatibility import key_fit
from crowdstream.dj.planning.candidates import Card
from crowdstream.dj.planning.transition_search import fold

# For energies as far apart as can be, keys that clash, the most comfortable change of tempo, tempi
# that can't be played together, and two tracks of one artist.
ENERGY_COST, KEY_COST, TEMPO_COST, JUMP_COST, ARTIST_COST = 1.6, 0.9, 0.25, 1.0, 0.2
CHANCE = 0.12  # what the seed decides
COMFORT = 0.06  # of the tempo, while two tracks play
STRETCH = 0.08  # of a track's own tempo, at any time


@dataclass(frozen=True)
class CostModel:
    """The costs, for a seed and limits of tempo: 0.06 is 6 percent."""

    seed: int = 1
    comfort: float = COMFORT
    stretch: float = STRETCH

    def within(self, own: float, wished: float) -> float:
        """The clock's tempo for a track: what is wished (0: its own), as far as that is fine."""
        if not wished:
            return own
        return max(own / (1 + self.stretch), min(own * (1 + self.stretch), wished))

    def energy(self, energy: float, wanted: float) -> float:
        """Of an energy beside the one that is wanted, both 0 to 1."""
        return ENERGY_COST * abs(energy - wanted)

    def step(self, before: Card, after: Card, clock: float, wished: float = 0.0) -> float:
        """Of keys, tempi and artists; `clock`: the tempo in which the first one ends."""
        _, own = fold(after.tempo, clock, wished)
        change = abs(self.within(own, wished) / clock - 1)
        tempo = JUMP_COST if change > self.comfort else TEMPO_COST * change / self.comfort
        same = bool(before.artist) and before.artist == after.artist
        return KEY_COST * key_fit(before.key, after.key).cost + tempo + ARTIST_COST * same

    def chance(self, path: str, index: int = 0) -> float:
        """0 to `CHANCE`: the same in every run and on every machine, whatever else there is."""
        name = path.rstrip("/").rpartition("/")[2]
        return CHANCE * zlib.crc32(f"{self.seed}:{index}:{name}".encode()) / 2**32
