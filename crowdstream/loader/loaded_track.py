"""A track in the loader: its open files, its sources in the desk, and its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crowdstream.loader.idle_scans import LoudnessScan
from crowdstream.loader.prefetch import Stem

if TYPE_CHECKING:
    from crowdstream.loader.tempo_check import TempoCheck


@dataclass
class LoadedTrack:
    """The stems of one buffer and their state."""

    number: int
    stems: list[Stem]
    cue: int  # frames
    streamed: bool
    reserved: int
    whole: bool = False  # all of it is read even if that is not usual
    kept: int = 0  # pages reserved for `places`
    places: list[int] = field(default_factory=list)  # frames it may jump to, such as hot cues
    resident_pages: int = 0  # number of pages from the cue on that are known to be resident
    ready: bool = False
    complete: bool = False
    broken: str = ""  # why reading was abandoned; resident pages play on
    warnings: list[str] = field(default_factory=list)  # irregularities in its files
    selection: dict[str, Any] = field(default_factory=dict)  # which files of its folder it uses
    opened: dict[str, Any] = field(default_factory=dict)  # the event that reported its opening
    loudness_scan: LoudnessScan | None = None  # of its loudness, once it can be measured
    tagged_bpm: float = 0.0  # tempo in its tags, beats per minute, until it is checked; 0: none
    tempo_check: TempoCheck | None = None  # of that tempo

    @property
    def frames(self) -> int:
        """Length of the longest stem."""
        return max(stem.reader.frames for stem in self.stems)

    @property
    def state(self) -> str:
        """One of opened (can't be started yet), ready, complete (all in memory), broken."""
        if self.broken:
            return "broken"
        return "complete" if self.complete else "ready" if self.ready else "opened"
