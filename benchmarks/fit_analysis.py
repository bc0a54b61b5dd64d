"""Fit the weights of the analysis to generated tracks; write `crowdstream/analysis/weights.py`.

    python benchmarks/fit_analysis.py [--tracks 400] [--corpus FOLDER] [--out FILE]

These are small linear models: the right tempo of an octave family, the meter, the sixteenth on
which a bar of each meter starts, the key, and whether a moment of a mix contains vocals. Each is
fitted by maximum likelihood with a quadratic penalty (softmax over the choices of a track; Adam,
Kingma and Ba 2015). Half of the tracks are in the styles of DJ music, half are dances and band
music; their seeds start at 0, and `benchmarks/analysis.py` measures with others.
`--corpus` adds music with known beats that this project did not make (`benchmarks/corpus.py`), for
tempo, meter and downbeat. Printed is the accuracy on the folds of tracks that were left out of a
fit.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, print_heading
from benchmarks.corpus import CorpusTrack, read_corpus
from crowdstream.analysis import downbeat, key, rhythm, tempo, vocals
from crowdstream.analysis.features import SLOW_RATE, Features, extract
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.source import ArraySound, Sound, StemFileSound
from tests.support.generated_tracks.styles import DANCES
from tests.support.generated_tracks.tracks import GeneratedTrack, Truth, generate_track

Doubles = npt.NDArray[np.float64]
OUT = Path(__file__).resolve().parents[1] / "crowdstream" / "analysis" / "weights.py"
STEPS, RATE = 2500, 0.03
PENALTY = {
    "OCTAVE": 0.03, "METER": 0.03, "BAR_4": 0.03, "BAR_3": 0.01, "BAR_2": 0.01, "KEY": 0.01,
    "VOICE": 0.001,
}  # fmt: skip
FOLDS = 4
RARE_TRACKS = 150  # further tracks in bars of two and three beats
CORPUS_COPIES = 2  # a track of the corpus counts as much as so many generated ones
SAME_TEMPO = 0.03


@dataclass
class Choice:
    """The options for one track, one row of traits each, and the index of the right one."""

    traits: Doubles
    right: int


def sounds_of(track: GeneratedTrack) -> list[Sound]:
    """Return the sounds to analyse for a generated track: its stems, or one file."""
    if track.truth.separate:
        return [ArraySound(name, stem, track.rate) for name, stem in track.stems.items()]
    return [ArraySound("mix", track.mix(), track.rate)]


def octave_choice(bpm: float, found: list[tempo.Candidate]) -> Choice | None:
    """Return the choice among the possible tempi; None if none of them is right."""
    off = [abs(60 * candidate.hertz / bpm - 1) for candidate in found]
    if not off or min(off) > SAME_TEMPO:
        return None
    return Choice(np.array([candidate.traits for candidate in found]), int(np.argmin(off)))


def grid_of(lines: tempo.Floats, hertz: float) -> Beats:
    """Return a grid near a tempo whose sixteenths are in phase with the onsets."""
    beats, _steady = rhythm.rough_grid(lines, hertz)
    return beats.shifted(downbeat.sixteenth_offset(lines, beats))


def bar_choice(
    downbeats: Doubles, meter: int, features: Features, lines: tempo.Floats, beats: Beats
) -> Choice:
    """Return the choice of the step on which the bar starts; `downbeats` are in seconds."""
    steps = downbeat.BEAT_STEPS * meter
    turns = np.exp(2j * np.pi * beats.beat(downbeats) / meter).sum()  # the mean on a circle
    right = round(steps * float(np.angle(turns)) / (2 * np.pi)) % steps
    return Choice(downbeat.bar_traits(features, lines, beats, meter), right)


def key_choice(truth: Truth, features: Features) -> Choice:
    """Return the choice among the 24 keys."""
    pitches = features.pitches
    traits, _ = key.track_traits(
        pitches.bass(), pitches.treble(), pitches.rate, truth.beats[:-1:16]
    )
    return Choice(traits, truth.tonic + 12 * truth.minor)


def voice_rows(truth: Truth, features: Features) -> list[Choice]:
    """Return choices for moments of a mix, every 2 s: no vocals (zeros) or vocals (the traits)."""
    if not len(features.voice):
        return []
    traits = vocals.voice_traits(features)
    found = []
    for at in range(0, len(traits), round(2 * SLOW_RATE)):
        second = at / SLOW_RATE
        sung = any(begin <= second < end for begin, end in truth.vocals)
        row = np.append(traits[at], 1.0)
        found.append(Choice(np.stack([np.zeros(len(row)), row]), int(sung)))
    return found


def fit(choices: list[Choice], penalty: float, steps: int = STEPS) -> Doubles:
    """Return the fitted weights of the traits."""
    scale = np.concatenate([choice.traits for choice in choices]).std(axis=0)
    scale[scale < 1e-6] = 1.0
    most = max(len(choice.traits) for choice in choices)
    traits = np.zeros((len(choices), most, len(scale)))
    shut = np.full((len(choices), most), -1e9)
    goal = np.zeros((len(choices), most))
    for row, choice in enumerate(choices):
        traits[row, : len(choice.traits)] = choice.traits / scale
        shut[row, : len(choice.traits)] = 0.0
        goal[row, choice.right] = 1.0
    weights, mean, square = np.zeros(len(scale)), np.zeros(len(scale)), np.zeros(len(scale))
    for step in range(1, steps + 1):
        scores = traits @ weights + shut
        chance = np.exp(scores - scores.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        slope = np.tensordot(chance - goal, traits, 2) / len(choices) + penalty * weights
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        weights = weights - RATE * (1 - step / steps) * move
    return np.asarray(weights / scale)


def checked(choices: list[Choice], penalty: float) -> float:
    """Return the cross-validated share of right choices."""
    hits = 0
    for fold in range(FOLDS):
        weights = fit([c for at, c in enumerate(choices) if at % FOLDS != fold], penalty, 800)
        hits += sum(
            int(np.argmax(choice.traits @ weights)) == choice.right
            for at, choice in enumerate(choices)
            if at % FOLDS == fold
        )
    return hits / len(choices)


def write(path: Path, models: dict[str, tuple[Doubles, float]]) -> None:
    """Write the module with the weights."""
    lines = [
        '"""Weights of the models, written by `benchmarks/fit_analysis.py`. Not for editing."""',
        "",
        "from crowdstream.analysis.model import Model",
        "",
    ]
    for name, (weights, bias) in models.items():
        lines.append(f"{name} = Model(\n    (")
        numbers = [f"{weight:.4g}," for weight in weights]
        for at in range(0, len(numbers), 8):
            lines.append("        " + " ".join(numbers[at : at + 8]))
        lines.append(f"    ),\n    {bias:.4g},\n)  # fmt: skip")
    lines.append("BARS = {4: BAR_4, 3: BAR_3, 2: BAR_2}")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Generate tracks, fit the models, print their accuracy and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tracks", type=int, default=400)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    print_heading("Weights of the analysis")
    tracks = read_corpus(chosen.corpus) if chosen.corpus else []
    found: dict[str, list[Choice]] = {name: [] for name in PENALTY}
    progress = Progress(chosen.tracks + RARE_TRACKS + len(tracks))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for truth, features in pool.map(measure_generated, range(chosen.tracks)):
            collect(truth, features, found)
            progress.add(1, "making and measuring tracks")
        # For the downbeat only: how likely a meter is follows from the tracks before.
        more: dict[str, list[Choice]] = {name: [] for name in PENALTY}
        for truth, features in pool.map(measure_rare, range(RARE_TRACKS)):
            collect_rhythm(truth.bpm, truth.beats[:: truth.meter], truth.meter, features, more)
            progress.add(1, "making and measuring tracks in rare meters")
        found["BAR_3"] += more["BAR_3"]
        found["BAR_2"] += more["BAR_2"]
        for track, features in zip(tracks, pool.map(measure_file, tracks), strict=True):
            collect_rhythm(
                track.bpm, track.downbeats, track.meter, features, found, CORPUS_COPIES
            )
            progress.add(1, "measuring the corpus")
    progress.close()
    finish(found, chosen.out)


def measure_generated(seed: int) -> tuple[Truth, Features]:
    """Generate a track, every second one a dance, and extract its features."""
    style = DANCES[seed // 2 % len(DANCES)] if seed % 2 else None
    # The styles of DJ music follow from the seed: consecutive ones give all of them.
    track = generate_track(seed if style else seed // 2, 60 + seed * 37 % 60, style)
    return track.truth, extract(sounds_of(track))


def measure_rare(seed: int) -> tuple[Truth, Features]:
    """Generate a track in a meter that few styles have; of two in five, only the drums."""
    rare = [style for style in DANCES if style.beats != 4]
    track = generate_track(seed, 40.0, rare[seed % len(rare)])
    drums = [ArraySound("drums", track.stems["drums"], track.rate)]
    return track.truth, extract(drums if seed % 5 < 2 else sounds_of(track))


def measure_file(track: CorpusTrack) -> Features:
    """Extract the features of a file."""
    with closing(StemFileSound("mix", track.path)) as sound:
        return extract([sound])


def collect(truth: Truth, features: Features, found: dict[str, list[Choice]]) -> None:
    """Add the choices of one generated track."""
    downbeats = truth.beats[:: truth.meter]
    collect_rhythm(truth.bpm, downbeats, truth.meter, features, found)
    found["KEY"].append(key_choice(truth, features))
    found["VOICE"] += voice_rows(truth, features)


def collect_rhythm(
    bpm: float, downbeats: Doubles, meter: int, features: Features, found: dict[str, list[Choice]],
    copies: int = 1,
) -> None:
    """Add the choices of tempo, meter and downbeat of a track, `copies` times."""
    lines = tempo.normalize_onsets(features.onsets)
    possible = tempo.candidates(lines)
    octave = octave_choice(bpm, possible)
    if octave is None:
        return
    beats = grid_of(lines, possible[octave.right].hertz)
    meters = Choice(
        downbeat.meter_traits(features, lines, beats), downbeat.METERS.index(meter)
    )
    bar = bar_choice(downbeats, meter, features, lines, beats)
    for name, choice in (("OCTAVE", octave), ("METER", meters), (f"BAR_{meter}", bar)):
        found[name] += [choice] * copies


def finish(found: dict[str, list[Choice]], out: Path) -> None:
    """Fit all models, print their accuracy and write them."""
    models = {}
    for name, choices in found.items():
        weights = fit(choices, PENALTY[name])
        print(f"{name:7} {len(choices)} choices, right when not fitted to: ", end="")
        print(f"{checked(choices, PENALTY[name]):.3f}", flush=True)
        # The last trait of the vocals model is its bias.
        models[name] = (weights[:-1], float(weights[-1])) if name == "VOICE" else (weights, 0.0)
    write(out, models)


if __name__ == "__main__":
    main()
