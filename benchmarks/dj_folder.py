"""Plan sets of a folder of plain files, and measure the plans by the true beats of the files.

    python benchmarks/dj_folder.py FOLDER ... [--sets 5] [--minutes 20] [--first 1]

Each FOLDER has the format of `benchmarks/corpus.py`. The tracks are analysed as `crowdstream
analyze` does. Printed are the kinds and lengths of the transitions, and how many of them overlap;
where two tracks overlap, the distance in milliseconds of each true beat of one track from the
nearest true beat of the other; and the step in loudness across each transition, in LU, by the
loudness of the bars of 20 s on both sides and the trims. Nothing is rendered: `benchmarks/autodj`
measures recordings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, print_heading
from benchmarks.corpus import CorpusTrack, read_corpus
from crowdstream.analysis.result import Analysis
from crowdstream.analysis.track import analyse_track
from crowdstream.audiofile.stems.track_files import find_stems
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import TrackPlacement, placements, tempo_map
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.dj.transitions.loudness_profile import trim_at

COMPARED_SECONDS = 20.0  # on either side of a transition
MARGIN_BEATS = 0.25  # a beat this far outside of an overlap may belong to one inside it

Doubles = npt.NDArray[np.float64]


@dataclass
class Findings:
    """What was found in all sets.

    kinds, lengths: of the transitions; lengths in bars.
    largest: the share of the most frequent kind in each set.
    offsets: milliseconds between beats that should coincide.
    steps: LU.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    lengths: Counter[float] = field(default_factory=Counter)
    largest: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    transposed: int = 0
    rides: int = 0


def main() -> None:
    """Analyse, plan, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--first", type=int, default=1, help="seed of the first set")
    chosen = parser.parse_args()
    print_heading("Sets of plain files, planned and measured by their true beats")
    tracks = {
        str(track.path.absolute()): track for folder in chosen.folders
        for track in read_corpus(folder)
    }  # fmt: skip
    candidates = of_analyses(_analysed(list(tracks)))
    found = Findings()
    for seed in range(chosen.first, chosen.first + chosen.sets):
        mix = Planner(candidates, PlanOptions(chosen.minutes, seed)).plan().mix
        _measure(mix, candidates, tracks, found)
    print("\n".join(_report(found, len(candidates.cards), chosen.sets, chosen.minutes)))


def _analysed(paths: Sequence[str]) -> dict[str, Analysis]:
    found = {}
    progress = Progress(len(paths))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for path, analysis in zip(paths, pool.map(_analyse, paths), strict=True):
            found[path] = analysis
            progress.add(1, "analysing")
    progress.close()
    return found


def _analyse(path: str) -> Analysis:
    return analyse_track(find_stems(Path(path)))


def _measure(
    mix: Set, candidates: Candidates, tracks: dict[str, CorpusTrack], found: Findings
) -> None:
    where, tempo = placements(mix), tempo_map(mix)
    kinds: Counter[str] = Counter()
    for at, (out, into) in enumerate(pairwise(mix.entries)):
        made = out.transition
        assert made is not None
        kinds[made.kind] += 1
        found.lengths[made.bars] += 1
        found.transposed += bool(into.pitch)
        found.rides += sum(row.target == "clock" for row in made.rows) > 1
        if made.bars:
            before, after = (
                _true_beats(candidates.features(mix.entries[n].path), mix, where[n],
                            tracks[mix.entries[n].path])
                for n in (at, at + 1)
            )  # fmt: skip
            pace = 60_000 / tempo.bpm(where[at + 1].begin)
            found.offsets += _offsets(before, after, where[at + 1].begin, where[at].end, pace)
        found.steps.append(_step(mix, at, candidates))
    found.kinds += kinds
    found.largest.append(max(kinds.values()) / kinds.total())


def _true_beats(
    features: TrackFeatures, mix: Set, place: TrackPlacement, track: CorpusTrack
) -> Doubles:
    # The clock beats at which the track's true beats are heard.
    entry = mix.entries[place.index]
    own = np.array([features.beat(float(second)) for second in track.beats])
    return np.asarray(place.begin + (own - entry.enter) / entry.ratio)


def _offsets(out: Doubles, into: Doubles, begin: float, end: float, pace: float) -> list[float]:
    # In milliseconds; `pace` is that of a clock beat. In half time, every other beat coincides.
    low, high = begin - MARGIN_BEATS, end + MARGIN_BEATS
    sides = [line[(line >= low) & (line < high)] for line in (out, into)]
    few, many = sorted(sides, key=len)
    if not len(few):
        return []
    return [float(np.abs(many - beat).min() * pace) for beat in few]


def _step(mix: Set, at: int, candidates: Candidates) -> float:
    # Loudness after the transition from track `at`, relative to that before it.
    out, into = mix.entries[at : at + 2]
    made = out.transition
    assert made is not None
    exit_beat = out.leave - made.beats * out.ratio
    features, other = candidates.features(out.path), candidates.features(into.path)
    span = COMPARED_SECONDS * features.bpm / 60
    came = mix.entries[at - 1].transition if at else None
    rows = came.rows if came is not None else ()
    before = features.loudness(exit_beat - span, exit_beat) + trim_at(
        rows, out.gain_db, (exit_beat - out.enter) / out.ratio
    )
    start = into.enter + made.beats * into.ratio
    after = other.loudness(start, start + COMPARED_SECONDS * other.bpm / 60)
    return after + trim_at(made.rows, into.gain_db, made.beats) - before


def _report(found: Findings, tracks: int, sets: int, minutes: float) -> list[str]:
    total = found.kinds.total()
    overlap = sum(count for bars, count in found.lengths.items() if bars)
    steps = np.abs(found.steps)
    lines = [
        f"{tracks} tracks; {sets} sets of {minutes:g} minutes: {total} transitions",
        f"overlapping: {overlap} ({overlap / total:.0%})",
        f"most frequent kind of a set: at most {max(found.largest):.0%} of its transitions",
        *(f"  {count:3} {kind}" for kind, count in found.kinds.most_common()),
        "lengths in bars: "
        + ", ".join(f"{bars:g}: {count}" for bars, count in sorted(found.lengths.items())),
        f"transposed: {found.transposed}; with a tempo ride before and after: {found.rides}",
    ]
    if found.offsets:
        low, high = np.percentile(found.offsets, [50, 95])
        lines.append(
            f"beats of overlapping tracks apart: {low:.1f} ms (median), {high:.1f} ms (95th "
            f"percentile) of {len(found.offsets)}"
        )
    lines.append(
        f"steps in loudness: {np.median(steps):.1f} LU (median), {steps.max():.1f} LU (largest)"
    )
    return lines


if __name__ == "__main__":
    main()
