"""What the lights follow: beat, bar, phrase, section, energy and levels at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.lights.levels import Levels
from crowdstream.lights.structure import Place, StructureCache, plain_place
from crowdstream.timing.beats import CLOCK, BeatReader

LETTERS = "ABCD"
NEAR_BEAT_SECONDS = 2e-4  # a beat that begins within this time has begun: timers wake early


@dataclass(frozen=True)
class Moment:
    """The music at a moment.

    `beat`: of the leading deck's grid, or of the clock; its whole part is the number of the beat.
    `source`: A to D, or `clock`.
    """

    beat: float
    bpm: float
    source: str
    playing: bool
    place: Place

    @property
    def number(self) -> int:
        """Number of the beat."""
        return math.floor(self.beat)

    @property
    def phase(self) -> float:
        """Share of the beat that has passed, 0 to 1."""
        return self.beat - self.number

    @property
    def beat_in_bar(self) -> int:
        """Number of the beat in its bar, from 0."""
        return self.number % self.place.meter

    @property
    def starts_phrase(self) -> bool:
        """Whether the beat is the first of a phrase."""
        passed = round(self.place.phrase_beat - self.phase)
        return passed % max(1, round(self.place.phrase_beats)) == 0

    @property
    def seconds_left(self) -> float:
        """Seconds until the next beat."""
        return (self.number + 1 - self.beat) * 60.0 / max(1.0, self.bpm)


class Music:
    """Reads the music from the desk. `structures` holds the structure of the tracks."""

    def __init__(self, desk: Desk, structures: StructureCache | None = None) -> None:
        self._beats = BeatReader(desk)
        self._near = NEAR_BEAT_SECONDS * desk.sample_rate
        self._structures = structures or StructureCache()
        self._tracks: dict[int, int] = {}  # number of the track by voice
        self._meter = 4

    def set(self, message: Mapping[str, Any]) -> None:
        """Take control's message: the clock's meter, and the tracks that play.

        `tracks`: voice, number and files of each.
        """
        self._meter = int(message["meter"])
        self._tracks = {}
        for voice, number, files in message["tracks"]:
            self._tracks[int(voice)] = int(number)
            self._structures.request(int(number), [str(file) for file in files])

    def at(self, frame: float) -> Moment:
        """Return the music at a frame."""
        found = self._beats.at(frame + self._near)
        source = "clock" if found.deck == CLOCK else LETTERS[found.deck]
        structure = self._structures.get(self._tracks.get(found.voice, -1))
        if structure is not None and found.voice >= 0:
            place = structure.at(found.second)
        else:
            place = plain_place(found.beat, self._meter)
        return Moment(found.beat, found.bpm, source, found.playing, place)


def energy_of(moment: Moment, levels: Levels) -> float:
    """Energy of the music, 0 to 1: from the analysis, or else from the loudness."""
    if not moment.playing:
        return 0.0
    return levels.energy if moment.place.energy is None else moment.place.energy
