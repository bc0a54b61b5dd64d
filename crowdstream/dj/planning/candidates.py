"""The tracks available for a set: a summary card of each, and its features on demand."""

from __future__ import annotations

import logging
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from crowdstream.analysis.result import Analysis
from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.dj.track_features import BEATLESS_BPM, TrackFeatures
from crowdstream.library.database import Library, LibraryDamaged, LibraryError
from crowdstream.library.deck_grids import grid_of_analysis
from crowdstream.library.models import Entry, Query
from crowdstream.library.refit import with_grid
from crowdstream.system.text import folded

log = logging.getLogger(__name__)

MIN_SECONDS = 4.0  # two bars; anything shorter is not a track
REFUSED_CONFIDENCE = 0.5  # of a beatgrid that no deck accepts
CACHED_ANALYSES = 64  # analyses kept in memory: each place of a set compares a few dozen candidates


@dataclass(frozen=True)
class Card:
    """Summary of a track. `path`: loaded by a deck. `bpm`: 0 without a beat."""

    path: str
    name: str
    bpm: float
    key: str
    level: float
    seconds: float
    artist: str = ""
    tags: frozenset[str] = frozenset()  # in the form of `folded`

    @property
    def tempo(self) -> float:
        """Tempo in beats per minute of the grid that the track is played with."""
        return self.bpm or BEATLESS_BPM


def at_own_speed(analysis: Analysis) -> Analysis:
    """Replace an uncertain, varying beatgrid by one with a constant tempo.

    A deck that follows the clock would otherwise play such a track faster and slower, in step
    with the errors of its grid. A varying grid that no deck accepts is uncertain, too: earlier
    analyses may have joined two parts by beats that are too close to each other.
    """
    tempo = analysis.tempo
    if tempo.steady:
        return analysis
    if not tempo.uncertain:
        if grid_of_analysis(analysis) is not None:
            return analysis
        tempo = replace(tempo, confidence=REFUSED_CONFIDENCE, doubt="no deck accepts its beats")
    even = with_grid(analysis, BeatGrid.of_tempo(tempo.bpm, max(0.0, tempo.anchors[0][1])))
    kept = replace(even.tempo, confidence=tempo.confidence, doubt=tempo.doubt)
    return replace(even, tempo=kept)


class Candidates:
    """Tracks to choose from. `left_out`: those that cannot be played, with the reason.

    `source` returns the analysis for a path. It raises KeyError for an unknown path, and
    `LibraryError` if the analysis cannot be read, or does not exist any more. `damaged`: tracks
    whose analyses were found to be corrupt. They are no candidates from then on.
    """

    def __init__(
        self, cards: Iterable[Card], source: Callable[[str], Analysis], left_out: Sequence[str] = ()
    ) -> None:
        self.cards = tuple(sorted(cards, key=lambda card: card.path))
        self.left_out = tuple(left_out)
        self.damaged: set[str] = set()
        self._reported: set[str] = set()
        self._by_path = {card.path: card for card in self.cards}
        self._source = source
        self._read = lru_cache(CACHED_ANALYSES)(self._features)

    def __contains__(self, path: str) -> bool:
        return path in self._by_path and path not in self.damaged

    def card(self, path: str) -> Card:
        """Return the card of a path. Raise KeyError if the path is unknown."""
        return self._by_path[path]

    def features(self, path: str) -> TrackFeatures:
        """Return the features of a track. Raise KeyError if the path is unknown."""
        return self._read(path)

    def analysis(self, path: str) -> Analysis:
        """Return the analysis of a track. Raise KeyError if the path is unknown."""
        return self._source(path)

    def _features(self, path: str) -> TrackFeatures:
        try:
            analysis = self._source(path)
        except LibraryDamaged as error:
            self.damaged.add(path)
            if str(error) not in self._reported:  # a file that is damaged has one message
                self._reported.add(str(error))
                log.warning("%s", error)
            raise
        return TrackFeatures(path, self._by_path[path].name, at_own_speed(analysis))

    @cached_property
    def _levels(self) -> list[float]:
        return sorted(card.level for card in self.cards)

    def energy(self, card: Card) -> float:
        """Return the track's energy rank among all tracks: 0 the calmest, 1 the most energetic."""
        levels = self._levels
        if levels[0] == levels[-1]:
            return 0.5
        low, high = bisect_left(levels, card.level), bisect_right(levels, card.level)
        return (low + high - 1) / 2 / (len(levels) - 1)


def merged(parts: Sequence[Candidates]) -> Candidates:
    """Return the tracks of several candidates; of those with the same path, the first one."""
    owners: dict[str, Candidates] = {}
    for part in parts:
        for card in part.cards:
            owners.setdefault(card.path, part)
    cards = [owner.card(path) for path, owner in owners.items()]
    left_out = [reason for part in parts for reason in part.left_out]
    return Candidates(cards, lambda path: owners[path].analysis(path), left_out)


def is_unchanged(entry: Entry) -> bool:
    """Return whether the files of a track are still those that were analysed."""
    try:
        for file in entry.files:
            status = os.stat(file.path)
            if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
                return False
    except OSError:
        return False
    return True


def of_library(
    library: Library, query: Query | None = None, unchanged: bool = False
) -> Candidates:
    """Return the playable tracks of a library, or of those that match `query`.

    `unchanged`: only those whose files are still the analysed ones. Another stick in the same place
    may have other music under the same names.
    """
    cards: list[Card] = []
    left_out: list[str] = []
    numbers: dict[str, int] = {}
    for entry in library.find(replace(query or Query(), bad=True)):
        left_out.append(f"{entry.name}: {entry.error}")
    for entry in library.find(query):
        seconds = entry.seconds or 0.0
        if entry.silent:
            left_out.append(f"{entry.name}: the track is silent")
        elif seconds < MIN_SECONDS:
            left_out.append(f"{entry.name}: the track lasts only {seconds:.1f} s")
        elif not os.path.exists(entry.play):
            left_out.append(f"{entry.name}: the file no longer exists")
        elif unchanged and not is_unchanged(entry):
            left_out.append(f"{entry.name}: the file has changed since it was analysed")
        elif entry.play not in numbers:
            numbers[entry.play] = entry.number
            name = entry.title or entry.name
            cards.append(Card(entry.play, name, entry.bpm or 0.0, entry.key or "",
                              entry.level or 0.0, seconds, entry.artist,
                              frozenset(map(folded, entry.labels))))  # fmt: skip

    def source(path: str) -> Analysis:
        number = numbers[path]
        try:
            return library.analysis(number)
        except KeyError:  # another process has changed the library since it was listed
            raise LibraryError(f"{path}: it has just left the library") from None

    return Candidates(cards, source, left_out)


def of_analyses(analyses: dict[str, Analysis]) -> Candidates:
    """Return the playable tracks of a mapping from paths to analyses."""
    cards: list[Card] = []
    left_out: list[str] = []
    for path, known in analyses.items():
        name = path.rstrip("/").rpartition("/")[2]
        if known.silent:
            left_out.append(f"{name}: the track is silent")
        elif known.seconds < MIN_SECONDS:
            left_out.append(f"{name}: the track lasts only {known.seconds:.1f} s")
        else:
            cards.append(Card(path, name, known.tempo.bpm, known.key.name, known.level,
                              known.seconds))  # fmt: skip
    return Candidates(cards, analyses.__getitem__, left_out)
