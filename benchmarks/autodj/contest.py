"""Choose the tracks of a contest from corpora of labelled music, by a rule and not by results.

Of each source of music (`benchmarks/corpus.py`), the tracks in 4/4 that last at least `MIN_SECONDS`
are sorted by the distance of their tempo from `TEMPO`, then by name, and the first ones are taken.
So all programs can mix them without tempo changes of more than a few percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks.autodj.sources import PHRASE_BARS, Source, write_sources
from benchmarks.common import BenchmarkError
from benchmarks.corpus import CorpusTrack, read_corpus

TEMPO = 128.0
MIN_SECONDS = 100.0  # every program can mix in and out of such a track
FOLDER = "tracks"


def choose(corpora: Sequence[Path], sources: Sequence[str], count: int) -> list[CorpusTrack]:
    """Return up to `count` tracks of each source, in the order of `sources`.

    Raises `BenchmarkError` if there are none.
    """
    every = [track for corpus in corpora for track in read_corpus(corpus)]
    chosen: list[CorpusTrack] = []
    for source in sources or sorted({track.source for track in every}):
        fit = [
            track for track in every
            if track.source == source and track.meter == 4 and not track.compound
            and soundfile.info(track.path).duration >= MIN_SECONDS
        ]  # fmt: skip
        fit.sort(key=lambda track: (abs(round(track.bpm, 1) - TEMPO), track.name))
        chosen += fit[:count]
    if not chosen:
        raise BenchmarkError(f"no track in 4/4 of {MIN_SECONDS:g} s or more in the corpora")
    return chosen


def make_contest(
    folder: Path, corpora: Sequence[Path], sources: Sequence[str], count: int
) -> list[Source]:
    """Link the chosen tracks into a folder and describe them there in `tracks.json`.

    The names of the links are neutral; the labels stay out of reach of programs that are given
    only the folder of the tracks.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    made = []
    for track in choose(corpora, sources, count):
        name = track.name.replace("/", "-")
        link = folder / FOLDER / f"{name}.wav"
        if not link.exists():
            link.hardlink_to(track.path.resolve())
        made.append(
            Source(name, link, track.beats, track.downbeats, track.downbeats[::PHRASE_BARS])
        )
    write_sources(folder, made)
    return made
