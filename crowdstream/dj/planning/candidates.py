"""The tracks that a set can be made of: cards to choose by, and what is known of each."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from crowdstream.analysis.result import Analysis
from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.dj.track_features import BEATLESS_BPM, TrackFeatures
from crowdstream.library import Library, Query
from crowdstream.library.refit import with_grid

MIN_SECONDS = 4.0  # two bars: what is shorter is no track
KEPT = 64  # analyses in memory: a set looks at some dozen candidates for each place


@dataclass(frozen=True)
class Card:
    """A track as it is listed. `path`: what a deck loads. `bpm`: 0 without a beat."""

    path: str
    name: str
    bpm: float
    key: str
    level: float
    seconds: float
    artist: str = ""

    @property
    def tempo(self) -> float:
        """Beats a minute of the grid that it is played with."""
        return self.bpm or BEATLESS_BPM


def at_own_speed(analysis: Analysis) -> Analysis:
    """An analysis whose grid, where it is uncertain and moves, is an even one instead.

    A deck that follows the clock would play such a track faster and slower, as its grid moves.
    """
    tempo = analysis.tempo
    if not tempo.uncertain or tempo.steady:
        return analysis
    even = with_grid(analysis, BeatGrid.of_tempo(tempo.bpm, max(0.0, tempo.anchors[0][1])))
    kept = replace(even.tempo, confidence=tempo.confidence, doubt=tempo.doubt)
    return replace(even, tempo=kept)


class Candidates:
    """Tracks, and a way to get at their analyses. `left_out`: what can't be played, and why.

    `source` gives the analysis of a path; it raises KeyError for one that is not there.
    """

    def __init__(
        self, cards: Iterable[Card], source: Callable[[str], Analysis], left_out: Sequence[str] = ()
    ) -> None:
        self.cards = tuple(sorted(cards, key=lambda card: card.path))
        self.left_out = tuple(left_out)
        self._by_path = {card.path: card for card in self.cards}
        self._source = source
        self._read = lru_cache(KEPT)(self._facts)

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    def card(self, path: str) -> Card:
        """The card of a path. Raises KeyError."""
        return self._by_path[path]

    def facts(self, path: str) -> TrackFeatures:
        """What is known of a track. Raises KeyError."""
        return self._read(path)

    def _facts(self, path: str) -> TrackFeatures:
        return TrackFeatures(path, self._by_path[path].name, at_own_speed(self._source(path)))

    @cached_property
    def _levels(self) -> list[float]:
        return sorted(card.level for card in self.cards)

    def energy(self, card: Card) -> float:
        """Its place among all of them by energy: 0 the calmest, 1 the most energetic."""
        levels = self._levels
        if levels[0] == levels[-1]:
            return 0.5
        low, high = bisect_left(levels, card.level), bisect_right(levels, card.level)
        return (low + high - 1) / 2 / (len(levels) - 1)


def of_library(library: Library, query: Query | None = None) -> Candidates:
    """The tracks of a library that can be played. `query`: as far as this finds them."""
    cards: list[Card] = []
    left_out: list[str] = []
    numbers: dict[str, int] = {}
    for entry in library.find(replace(query or Query(), bad=True)):
        left_out.append(f"{entry.name}: {entry.error}")
    for entry in library.find(query):
        seconds = entry.seconds or 0.0
        if entry.silent:
            left_out.append(f"{entry.name}: it is silent")
        elif seconds < MIN_SECONDS:
            left_out.append(f"{entry.name}: it lasts only {seconds:.1f} s")
        elif not os.path.exists(entry.play):
            left_out.append(f"{entry.name}: it is not there any more")
        elif entry.play not in numbers:
            numbers[entry.play] = entry.number
            name = entry.title or entry.name
            cards.append(Card(entry.play, name, entry.bpm or 0.0, entry.key or "",
                              entry.level or 0.0, seconds, entry.artist))  # fmt: skip
    return Candidates(cards, lambda path: library.analysis(numbers[path]), left_out)


def of_analyses(analyses: dict[str, Analysis]) -> Candidates:
    """Tracks by path."""
    cards: list[Card] = []
    left_out: list[str] = []
    for path, known in analyses.items():
        name = path.rstrip("/").rpartition("/")[2]
        if known.silent:
            left_out.append(f"{name}: it is silent")
        elif known.seconds < MIN_SECONDS:
            left_out.append(f"{name}: it lasts only {known.seconds:.1f} s")
        else:
            cards.append(Card(path, name, known.tempo.bpm, known.key.name, known.level,
                              known.seconds))  # fmt: skip
    return Candidates(cards, analyses.__getitem__, left_out)
