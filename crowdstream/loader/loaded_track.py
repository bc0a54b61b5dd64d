"""A track as the loader knows it: open files, places in the desk, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crowdstream.loader.loudness_scan import LoudnessScan
from crowdstream.loader.prefetch import Stem
from crowdstream.loader.tempo_check import TempoCheck


@dataclass
class Track:
    """The stems of one buffer, and how far they are."""

    number: int
    stems: list[Stem]
    cue: int  # frames
    streamed: bool
    reserved: int
    kept: int = 0  # pages set aside for `places`
    places: list[int] = field(default_factory=list)  # frames it may jump to, such as hot cues
    turn: int = 0  # how many pages from the cue on have been seen to be there
    ready: bool = False
    complete: bool = False
    broken: str = ""  # why nothing more is read of it; what is resident plays on
    warnings: list[str] = field(default_factory=list)  # what is odd about its files
    sifted: dict[str, Any] = field(default_factory=dict)  # which files of its folder it is
    measure: LoudnessScan | None = None  # of its loudness, from when it can be measured
    said: float = 0.0  # beats a minute that its tags say, and nobody has checked
    check: TempoCheck | None = None  # of that

    @property
    def frames(self) -> int:
        """Length of the longest stem."""
        return max(stem.reader.frames for stem in self.stems)

    @property
    def state(self) -> str:
        """opened (can't be started yet), ready, complete (all of it is in memory) or broken."""
        if self.broken:
            return "broken"
        return "complete" if self.complete else "ready" if self.ready else "opened"
