"""Beat grids in frames, and their slots in the desk."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Container
from copy import copy
from typing import Any

from crowdstream.audiofile.beatgrid import MIN_CERTAIN_CONFIDENCE, BeatGrid
from crowdstream.commands.errors import Refused
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import GRIDS


class Grid:
    """Maps a track's beats to its file frames at the desk's sample rate; both are fractional.

    `source`: "command", "sidecar", "correction", "analysis" or "tag". `seconds`: the underlying
    grid in seconds. `confidence`: 0 to 1. `doubt`: the reason for a low confidence, in words.
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
        """Return the grid as JSON-compatible state; see `from_state`."""
        return [
            self.source, self.seconds.anchors, self.seconds.steady, self.confidence, self.doubt
        ]  # fmt: skip

    @property
    def uncertain(self) -> bool:
        """Whether the confidence is too low to rely on the grid."""
        return self.confidence < MIN_CERTAIN_CONFIDENCE

    @classmethod
    def from_state(cls, state: list[Any], sample_rate: float) -> Grid:
        """Restore a grid from `to_state`."""
        source, anchors, steady, *trust = state  # earlier versions saved no confidence
        pairs = tuple((beat, second) for beat, second in anchors)
        return cls(BeatGrid(pairs, steady), sample_rate, source, *trust)

    def trusted(self, confidence: float) -> Grid:
        """Return a copy of the grid with another confidence."""
        made = copy(self)
        made.confidence = confidence
        return made

    def _between(self, place: float, known: list[float], wanted: list[float]) -> float:
        # Interpolate linearly; extrapolate the first and the last segment.
        left = min(max(bisect_right(known, place) - 1, 0), len(known) - 2)
        step = (wanted[left + 1] - wanted[left]) / (known[left + 1] - known[left])
        return wanted[left] + (place - known[left]) * step

    def beat(self, frame: float) -> float:
        """Return the beat at a file frame."""
        return self._between(frame, self.frames, self.beats)

    def frame(self, beat: float) -> float:
        """Return the file frame of a beat."""
        return self._between(beat, self.beats, self.frames)


class GridSlots:
    """Allocates the desk's grid slots. Free a slot only when the engine no longer reads it."""

    def __init__(
        self, desk: Desk, used: Container[int] = (), read: Container[int] = ()
    ) -> None:
        """`used`: slots that are taken; `read`: slots that the engine may be reading."""
        self._desk = desk
        # Reuse the slot that has been free for the longest: a voice that is fading out may still
        # read the others.
        free = [slot for slot in range(GRIDS) if slot not in used]
        self._free = deque(sorted(free, key=lambda slot: slot in read))

    def write(self, grid: Grid) -> int:
        """Write a grid to a free slot and return the slot's number.

        The engine uses it after a command that names the slot. Raises `Refused` if none is free.
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

    def release(self, slot: int) -> None:
        """Free a slot; -1 stands for none."""
        if slot >= 0:
            self._free.append(slot)

    @property
    def free(self) -> int:
        """Number of free slots."""
        return len(self._free)
