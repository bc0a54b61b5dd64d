"""Fit and check the confidences of the analysis; write `analysis/models/calibration.py`.

    python benchmarks/calibrate_analysis.py [--corpus FOLDER ...] [--check FOLDER ...]
        [--tracks 300] [--check-tracks 120] [--out FILE]

A confidence is the probability that a result is right: the tempo (within 4 percent), its octave
(the same, among the tracks whose tempo is right but for a factor of 2, 3, 4 or 3/2), the downbeat
(F-measure of at least 0.8 within 70 ms), and the key. Logistic models derive it from the evidence
of the finished analysis.

They are fitted to the tracks of each `--corpus` (`benchmarks/corpus.py`) and to generated ones
whose seeds start at 30000, and checked with the tracks of each `--check` and with generated ones
whose seeds start at 60000. No track may be in both. Those of `--check` should not be among the
tracks of `benchmarks/fit_analysis.py` either. Printed is, for each tenth of the confidence, how
many of the checked tracks have it, its mean, how often the result is right, and the standard error
of that share.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import BenchmarkError, Progress, print_heading, table
from benchmarks.corpus import CorpusTrack, read_corpus
from benchmarks.fit_analysis import Choice, Doubles, fit, measure_file, measure_generated, write
from crowdstream.analysis import confidence, key, rhythm, tempo, track
from crowdstream.analysis.features import Features
from crowdstream.analysis.models import weights

OUT = Path(__file__).resolve().parents[1] / "crowdstream" / "analysis" / "models" / "calibration.py"
FIRST_SEED, CHECK_SEED = 30000, 60000  # of the generated tracks: fitted to, checked with
SAME_TEMPO = 0.04
RELATED = (1, 2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3, 4, 1 / 4, 4 / 3, 3 / 4)
RIGHT_F = 0.8  # F-measure of downbeats that count as right
PENALTY = 0.01
MODELS = ("TEMPO", "OCTAVE", "DOWNBEAT", "KEY")
BINS = 10
MIN_COUNT = 10  # tracks in a bin whose share means something
TITLE = "Confidence weights, written by `benchmarks/calibrate_analysis.py`. Not for editing."


@dataclass
class Outcome:
    """What is known of a track: the traits of its results, and which of these are right."""

    rhythm: Doubles | None = None
    key: Doubles | None = None
    right: dict[str, bool] = field(default_factory=dict)

    def traits(self, name: str) -> Doubles | None:
        """Return the traits of a result, None if there is nothing to judge."""
        if name not in self.right:
            return None
        return self.key if name == "KEY" else self.rhythm


def judge(
    features: Features, bpm: float, downbeats: Doubles, true_key: int | None
) -> Outcome:
    """Analyse a track and compare it with the truth."""
    outcome = Outcome()
    lines = tempo.normalize_onsets(features.onsets)
    found = rhythm.track_beats(features, lines)
    if found is not None:
        outcome.rhythm = confidence.rhythm_traits(found, features.seconds)
        outcome.right["TEMPO"] = abs(found.bpm / bpm - 1) < SAME_TEMPO
        if any(abs(found.bpm * other / bpm - 1) < SAME_TEMPO for other in RELATED):
            outcome.right["OCTAVE"] = outcome.right["TEMPO"]
        import mir_eval

        whole = found.beats.whole(features.seconds)
        bars = found.beats.time(whole[whole % found.meter == 0])
        score = mir_eval.beat.f_measure(*(mir_eval.beat.trim_beats(t) for t in (downbeats, bars)))
        outcome.right["DOWNBEAT"] = bool(score >= RIGHT_F)
    if true_key is not None:
        bass, treble = features.pitches.bass(), features.pitches.treble()
        if key.tonality(bass + treble) >= track.MIN_TONALITY:
            traits, cents = key.track_traits(bass, treble, features.pitches.rate, downbeats[::8])
            chosen = key.choose_key(traits, weights.KEY.score(traits), cents)
            outcome.key = confidence.key_traits(chosen)
            outcome.right["KEY"] = chosen.tonic + 12 * chosen.minor == true_key
    return outcome


def judge_generated(seed: int) -> Outcome:
    """Judge a generated track."""
    truth, features = measure_generated(seed)
    own_key = truth.tonic + 12 * truth.minor
    return judge(features, truth.bpm, truth.beats[:: truth.meter], own_key)


def judge_file(one: CorpusTrack) -> Outcome:
    """Judge a track of a corpus."""
    return judge(measure_file(one), one.bpm, one.downbeats, one.key)


def choices_of(name: str, outcomes: Sequence[Outcome]) -> list[Choice]:
    """Return the choices between wrong (zeros) and right (the traits and a bias) of a result."""
    found = []
    for outcome in outcomes:
        traits = outcome.traits(name)
        if traits is not None:
            row = np.append(traits, 1.0)
            found.append(Choice(np.stack([np.zeros(len(row)), row]), int(outcome.right[name])))
    return found


def check(
    weights_and_bias: Doubles, choices: Sequence[Choice]
) -> tuple[list[dict[str, object]], float]:
    """Return a row per bin, and the largest error of the bins with at least `MIN_COUNT` tracks."""
    scores = np.array([choice.traits[1] @ weights_and_bias for choice in choices])
    chances = 1 / (1 + np.exp(-scores))
    right = np.array([choice.right for choice in choices])
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    rows: list[dict[str, object]] = []
    worst = 0.0
    for number in range(BINS):
        inside = bins == number
        if not inside.any():
            continue
        mean, share = float(chances[inside].mean()), float(right[inside].mean())
        if inside.sum() >= MIN_COUNT:
            worst = max(worst, abs(mean - share))
        bounds = f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}"
        rows.append({
            "confidence": bounds, "tracks": int(inside.sum()), "mean": f"{mean:.3f}",
            "right": f"{share:.3f}", "error": f"{(share * (1 - share) / inside.sum()) ** 0.5:.3f}",
        })  # fmt: skip
    return rows, worst


@dataclass(frozen=True)
class Material:
    """What the confidences are fitted to, or checked with: seeds of generated tracks, and files."""

    seeds: range
    files: Sequence[CorpusTrack]

    def __len__(self) -> int:
        return len(self.seeds) + len(self.files)


def require_apart(fitted: Material, checked: Material) -> None:
    """Raise a `BenchmarkError` if a track is in both: the check would be too favourable."""
    names = {track.name for track in fitted.files} & {track.name for track in checked.files}
    paths = {track.path.resolve() for track in fitted.files}
    names |= {track.name for track in checked.files if track.path.resolve() in paths}
    seeds = set(fitted.seeds) & set(checked.seeds)
    if names or seeds:
        shown = ", ".join([*sorted(names), *(f"seed {seed}" for seed in sorted(seeds))][:5])
        raise BenchmarkError(
            f"{len(names) + len(seeds)} tracks are both fitted to and checked with ({shown}, ...): "
            "give --corpus and --check different folders, and fewer --tracks"
        )


def fit_and_check(
    fitted: Sequence[Outcome], checked: Sequence[Outcome]
) -> tuple[dict[str, tuple[Doubles, float]], dict[str, tuple[list[dict[str, object]], float]]]:
    """Return the models that follow from `fitted`, and the result of `check` for `checked`.

    Of each of `MODELS`: the weights and the bias; the rows and the largest error. Raises a
    `BenchmarkError` if no track of either set has such a result.
    """
    models, reports = {}, {}
    for name in MODELS:
        choices = [choices_of(name, outcomes) for outcomes in (fitted, checked)]
        if not all(choices):
            raise BenchmarkError(f"no {name.lower()} to fit or to check: add tracks that have one")
        found = fit(choices[0], PENALTY)
        models[name] = found[:-1], float(found[-1])
        reports[name] = check(found, choices[1])
    return models, reports


def main() -> None:
    """Judge all tracks, fit the models to one set, print how they do on the other, write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tracks", type=int, default=300, help="generated ones that are fitted to")
    parser.add_argument("--check-tracks", type=int, default=120, help="others, to check with")
    parser.add_argument("--corpus", type=Path, action="append", default=[])
    parser.add_argument("--check", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=OUT)
    try:
        calibrate(parser.parse_args())
    except BenchmarkError as error:
        sys.exit(str(error))


def calibrate(options: argparse.Namespace) -> None:
    """Do what `main` describes. Raises a `BenchmarkError`."""
    print_heading("Confidences of the analysis")
    both = [
        Material(
            range(first, first + count), [one for folder in folders for one in read_corpus(folder)]
        )
        for first, count, folders in (
            (FIRST_SEED, options.tracks, options.corpus),
            (CHECK_SEED, options.check_tracks, options.check),
        )
    ]
    require_apart(*both)
    progress = Progress(sum(map(len, both)))
    outcomes: list[list[Outcome]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for material in both:
            outcomes.append([])
            for results in (
                pool.map(judge_generated, material.seeds), pool.map(judge_file, material.files),
            ):  # fmt: skip
                for outcome in results:
                    outcomes[-1].append(outcome)
                    progress.add(1, "analysing")
    progress.close()
    models, reports = fit_and_check(*outcomes)
    print(f"fitted to {len(both[0])} tracks, checked with {len(both[1])} others")
    for name, (rows, worst) in reports.items():
        print(f"\n{name.lower()}: largest error of a bin {worst:.3f}")
        print(table(rows))
    write(options.out, models, TITLE)


if __name__ == "__main__":
    main()
