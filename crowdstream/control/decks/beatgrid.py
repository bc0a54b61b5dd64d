"""Beat grids in frames, and their places in the desk."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Container
from copy import copy
from typing import Any

from crowdstream.audiofile.beatgrid import CERTAIN, BeatGrid
from crowdstream.commands.errors import Refused
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import GRIDS


class Grid:
    """A track's beats against its frames, at the desk's sample rate; both are fractional.

    `source`: "command", "sidecar", "correction", "analysis" or "tag". `seconds`: the grid it was
    made from. `confidence`: 0 to 1. `doubt`: what speaks against it, in words.
    """

    def __init__(
        self, grid: BeatGrid, sample_rate: float, source: str, confidence: float = 1.0,
        doubt: str = "",
    ) -> None:  # fmt: skip
        self.source = source
        self.confidence = confidence
        self.doubt = doubt
        self.seconds = grid
        self.bpm = grid.bpm
        self.beats = [beat for beat, _ in grid.anchors]
        self.frames = [second * sample_rate for _, second in grid.anchors]

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `from_note`."""
        return [
            self.source, self.seconds.anchors, self.seconds.steady, self.confidence, self.doubt
        ]  # fmt: skip

    @property
    def uncertain(self) -> bool:
        """Whether it may be wrong."""
        return self.confidence < CERTAIN

    @classmethod
    def from_state(cls, note: list[Any], sample_rate: float) -> Grid:
        """What was noted."""
        source, anchors, steady, *trust = note  # of an earlier version without trust
        pairs = tuple((beat, second) for beat, second in anchors)
        return cls(BeatGrid(pairs, steady), sample_rate, source, *trust)

    def trusted(self, confidence: float) -> Grid:
        """The same grid with another confidence."""
        made = copy(self)
        made.confidence = confidence
        return made

    def _between(self, place: float, known: list[float], wanted: list[float]) -> float:
        # The first and the last stretch go on outwards.
        left = min(max(bisect_right(known, place) - 1, 0), len(known) - 2)
        step = (wanted[left + 1] - wanted[left]) / (known[left + 1] - known[left])
        return wanted[left] + (place - known[left]) * step

    def beat(self, frame: float) -> float:
        """The beat at a file frame."""
        return self._between(frame, self.frames, self.beats)

    def frame(self, beat: float) -> float:
        """The file frame of a beat."""
        return self._between(beat, self.beats, self.frames)


class GridSlots:
    """Hands out the desk's grids. The engine must have let go of one before it is given back."""

    def __init__(
        self, desk: Desk, used: Container[int] = (), read: Container[int] = ()
    ) -> None:
        """`used`: those that are taken; `read`: those that the engine may have in use."""
        self._desk = desk
        # The one that has been free for longest comes first: what fades out may read it still.
        free = [slot for slot in range(GRIDS) if slot not in used]
        self._free = deque(sorted(free, key=lambda slot: slot in read))

    def write(self, grid: Grid) -> int:
        """Write a grid; its number. It has to be published with a command that names it.

        Raises `Refused` when all are taken.
        """
        if not self._free:
            raise Refused(f"{GRIDS} beat grids are in use: unload some tracks")
        slot = self._free.popleft()
        record = self._desk.grids[slot]
        count = len(grid.beats)
        record["count"] = count
        record["beats"][:count] = grid.beats
        record["frames"][:count] = grid.frames
        return slot

    def give_back(self, slot: int) -> None:
        """Free a number, -1 is none."""
        if slot >= 0:
            self._free.append(slot)

    @property
    def free(self) -> int:
        """Grids that nobody holds."""
        return len(self._free)
