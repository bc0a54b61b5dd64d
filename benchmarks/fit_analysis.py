"""Fit the weights of the analysis to generated tracks; write `analysis/models/weights.py`.

    python benchmarks/fit_analysis.py [--tracks 400] [--corpus FOLDER ...] [--last N] [--out FILE]

These are small linear models: the right tempo of an octave family, the meter, the sixteenth on
which a bar of each meter starts, the choice between the readings of a track that follow from these,
the key, and whether a moment of a mix contains vocals. Each is fitted by maximum likelihood with a
quadratic penalty (softmax over the choices of a track; Adam, Kingma and Ba 2015). Half of the
tracks are in the styles of DJ music, half are dances and band music; their seeds start at 0, and
`benchmarks/analysis.py` measures with others. `--corpus` adds music with known beats
(`benchmarks/corpus.py`), for tempo, meter and downbeat. Printed is the accuracy on the folds of
tracks that were left out of a fit.

`--last N` adds traits to the choice between the readings, without fitting anything else again: only
its last N weights are fitted, to the corpora alone, and all others stay. The corpora must not be
among the tracks to which the other models were fitted, whose probabilities are too high there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, print_heading
from benchmarks.corpus import CorpusTrack, read_corpus
from crowdstream.analysis import downbeat, key, rhythm, tempo, vocals
from crowdstream.analysis.features import SLOW_RATE, Features, extract
from crowdstream.analysis.models import weights
from crowdstream.analysis.models.linear import Model
from crowdstream.analysis.source import ArraySound, Sound, StemFileSound
from tests.support.generated_tracks.styles import DANCES
from tests.support.generated_tracks.tracks import GeneratedTrack, Truth, generate_track

Doubles = npt.NDArray[np.float64]
OUT = Path(__file__).resolve().parents[1] / "crowdstream" / "analysis" / "models" / "weights.py"
TITLE = "Weights of the models, written by `benchmarks/fit_analysis.py`. Not for editing."
STEPS, RATE = 2500, 0.03
PENALTY = {
    "OCTAVE": 0.03, "METER": 0.03, "BAR_4": 0.03, "BAR_3": 0.01, "BAR_2": 0.01, "KEY": 0.01,
    "VOICE": 0.001,
}  # fmt: skip
READING_PENALTY = 0.01
MEASURED_READINGS = 6  # of a track, those that the present weights find likely
NO_WEIGHTS = np.zeros(0)
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


def bar_choice(downbeats: Doubles, meter: int, reading: rhythm.Reading) -> Choice:
    """Return the choice of the step on which the bar starts; `downbeats` are in seconds."""
    steps = downbeat.BEAT_STEPS * meter
    turns = np.exp(2j * np.pi * reading.beats.beat(downbeats) / meter).sum()  # mean on a circle
    right = round(steps * float(np.angle(turns)) / (2 * np.pi)) % steps
    return Choice(reading.bar_traits[meter], right)


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


def fit(
    choices: list[Choice], penalty: float, steps: int = STEPS, kept: Doubles = NO_WEIGHTS
) -> Doubles:
    """Return the fitted weights of the traits. The first ones are given: `kept` stays as it is."""
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
    begin = np.zeros(len(scale))
    begin[: len(kept)] = kept * scale[: len(kept)]
    shut = shut + traits @ begin
    weights, mean, square = np.zeros(len(scale)), np.zeros(len(scale)), np.zeros(len(scale))
    for step in range(1, steps + 1):
        scores = traits @ weights + shut
        chance = np.exp(scores - scores.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        slope = np.tensordot(chance - goal, traits, 2) / len(choices) + penalty * weights
        slope[: len(kept)] = 0.0
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        weights = weights - RATE * (1 - step / steps) * move
    return np.asarray((begin + weights) / scale)


def checked(choices: list[Choice], penalty: float, kept: Doubles = NO_WEIGHTS) -> float:
    """Return the cross-validated share of right choices; see `fit`."""
    hits = 0
    for fold in range(FOLDS):
        others = [choice for at, choice in enumerate(choices) if at % FOLDS != fold]
        weights = fit(others, penalty, 800, kept)
        hits += sum(
            int(np.argmax(choice.traits @ weights)) == choice.right
            for at, choice in enumerate(choices)
            if at % FOLDS == fold
        )
    return hits / len(choices)


def write(path: Path, models: dict[str, tuple[Doubles, float]], title: str) -> None:
    """Write the module with the weights; `title` is its docstring."""
    lines = [
        f'"""{title}"""',
        "",
        "from crowdstream.analysis.models.linear import Model",
        "",
    ]
    for name, (fitted, bias) in models.items():
        lines.append(f"{name} = Model(\n    (")
        numbers = [f"{weight:.4g}," for weight in fitted]
        for at in range(0, len(numbers), 8):
            lines.append("        " + " ".join(numbers[at : at + 8]))
        lines.append(f"    ),\n    {bias:.4g},\n)  # fmt: skip")
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Material:
    """What a track contributes to the fits.

    octave: the choice between the candidate tempi; `readings` are of the likely ones, by index.
    bar: the choice of the step on which the bar starts, in the right reading.
    compound: a bar of two beats divides these in thirds; another one has no model.
    copies: how many tracks it counts as; 0: for models of the bar only.
    """

    meter: int
    octave: Choice
    readings: dict[int, rhythm.Reading]
    bar: Choice
    compound: bool = True
    copies: int = 1
    key: Choice | None = None
    voice: Sequence[Choice] = ()


def material_of(
    features: Features, bpm: float, downbeats: Doubles, meter: int, **more: Any
) -> Material | None:
    """Return what a track contributes; None if its tempo is not among the candidates."""
    lines = tempo.normalize_onsets(features.onsets)
    possible = tempo.candidates(lines)
    octave = octave_choice(bpm, possible)
    if octave is None:
        return None
    likely = np.argsort(-weights.OCTAVE.score(octave.traits))[:MEASURED_READINGS]
    readings = {}
    for at in {*map(int, likely), octave.right}:
        reading = rhythm.read_as(features, lines, possible[at].hertz)
        traits = {meter: reading.bar_traits[meter] for meter in downbeat.METERS}
        readings[at] = replace(reading, bar_traits=traits)
    bar = bar_choice(downbeats, meter, readings[octave.right])
    return Material(meter, octave, readings, bar, **more)


def main() -> None:
    """Generate tracks, fit the models, print their accuracy and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tracks", type=int, default=400)
    parser.add_argument("--corpus", type=Path, action="append", default=[])
    parser.add_argument("--last", type=int, metavar="N", help="only these weights of READING")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    print_heading("Weights of the analysis")
    files = [track for folder in chosen.corpus for track in read_corpus(folder)]
    found: list[Material] = []
    if chosen.last:
        progress = Progress(len(files))
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for material in pool.map(of_file, files):
                progress.add(1, "measuring tracks")
                if material is not None:
                    found.append(material)
        progress.close()
        fit_last(found, chosen.last, chosen.out)
        return
    progress = Progress(chosen.tracks + RARE_TRACKS + len(files))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for material in chain(
            pool.map(of_generated, range(chosen.tracks)),
            pool.map(of_rare, range(RARE_TRACKS)),
            pool.map(of_file, files),
        ):
            progress.add(1, "making and measuring tracks")
            if material is not None:
                found.append(material)
    progress.close()
    finish(found, chosen.out)


def of_generated(seed: int) -> Material | None:
    """Return what a generated track contributes."""
    truth, features = measure_generated(seed)
    return material_of(
        features, truth.bpm, truth.beats[:: truth.meter], truth.meter,
        key=key_choice(truth, features), voice=voice_rows(truth, features),
    )


def of_rare(seed: int) -> Material | None:
    """Return what a track in a rare meter contributes: how likely that is follows from others."""
    truth, features = measure_rare(seed)
    downbeats = truth.beats[:: truth.meter]
    return material_of(features, truth.bpm, downbeats, truth.meter, copies=0)


def of_file(track: CorpusTrack) -> Material | None:
    """Return what a track of a corpus contributes."""
    return material_of(
        measure_file(track), track.bpm, track.downbeats, track.meter,
        compound=track.compound or track.meter != 2,
        copies=1 if track.source == "bands" else CORPUS_COPIES,
    )


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


def choices_of(name: str, found: Sequence[Material]) -> list[Choice]:
    """Return the choices from which a model is fitted."""
    made: list[Choice] = []
    for material in found:
        copies, meter = material.copies, material.meter
        if name == "OCTAVE":
            made += copies * [material.octave]
        elif name == "METER" and material.compound:
            traits = material.readings[material.octave.right].meter_traits
            made += copies * [Choice(traits, downbeat.METERS.index(meter))]
        elif name == f"BAR_{meter}" and material.compound:
            made += max(1, copies) * [material.bar]
        elif name == "KEY" and material.key is not None:
            made.append(material.key)
        elif name == "VOICE":
            made += material.voice
    return made


def reading_choice(material: Material, models: dict[str, Model]) -> Choice | None:
    """Return the choice between the readings, as in the analysis; None if none of them is right.

    The models of this fold may find another tempo likely than those with which the track was
    measured: the likeliest of the measured ones count.
    """
    chances = models["OCTAVE"].chances(material.octave.traits)
    measured = [int(at) for at in np.argsort(-chances) if int(at) in material.readings]
    likely = measured[: rhythm.MAX_READINGS]
    if material.octave.right not in likely:
        return None
    bars = {meter: models[f"BAR_{meter}"] for meter in downbeat.METERS}
    rows = [
        rhythm.interpret(
            material.readings[at], float(chances[at]), models["METER"], bars
        ).traits
        for at in likely
    ]  # fmt: skip
    return Choice(np.array(rows), likely.index(material.octave.right))


def fit_models(found: Sequence[Material], names: Sequence[str]) -> dict[str, Model]:
    """Fit the models of these names."""
    return {
        name: Model(tuple(fit(choices_of(name, found), PENALTY[name]).tolist())) for name in names
    }


def finish(found: list[Material], out: Path) -> None:
    """Fit all models, print their accuracy and write them."""
    models: dict[str, tuple[Doubles, float]] = {}
    for name, penalty in PENALTY.items():
        choices = choices_of(name, found)
        fitted = fit(choices, penalty)
        print(f"{name:7} {len(choices)} choices, right when not fitted to: ", end="")
        print(f"{checked(choices, penalty):.3f}", flush=True)
        # The last trait of the vocals model is its bias.
        models[name] = (fitted[:-1], float(fitted[-1])) if name == "VOICE" else (fitted, 0.0)
    # The choice between readings depends on the other models' probabilities, which are too high for
    # tracks that these were fitted to: so each fold gets them from models of the other folds.
    readings: list[Choice] = []
    rhythm_models = ("OCTAVE", "METER", "BAR_4", "BAR_3", "BAR_2")
    for fold in range(FOLDS):
        others = [one for at, one in enumerate(found) if at % FOLDS != fold]
        partial = fit_models(others, rhythm_models)
        for material in found[fold::FOLDS]:
            choice = reading_choice(material, partial)
            readings += material.copies * [choice] if choice is not None else []
    models["READING"] = fit(readings, READING_PENALTY), 0.0
    print(f"READING {len(readings)} choices, right when not fitted to: ", end="")
    print(f"{checked(readings, READING_PENALTY):.3f}")
    write_weights(out, models)


def present_models() -> dict[str, Model]:
    """Return the models whose weights this program writes, as they are."""
    return {name: getattr(weights, name) for name in (*PENALTY, "READING")}


def fit_last(found: Sequence[Material], count: int, out: Path) -> None:
    """Fit the last `count` weights of the choice between the readings, and write all models."""
    models = present_models()
    measured = [reading_choice(material, models) for material in found]
    choices = [choice for choice in measured if choice is not None]
    kept = np.array(models["READING"].weights)[: choices[0].traits.shape[1] - count]
    hits = [
        int(np.argmax(one.traits[:, : len(kept)] @ kept)) == one.right for one in choices
    ]
    print(f"{len(choices)} choices, right without these traits: {np.mean(hits):.3f}; ", end="")
    print(f"with them, when not fitted to: {checked(choices, READING_PENALTY, kept):.3f}")
    fitted = {name: (np.array(model.weights), model.bias) for name, model in models.items()}
    fitted["READING"] = fit(choices, READING_PENALTY, kept=kept), 0.0
    write_weights(out, fitted)


def write_weights(out: Path, models: dict[str, tuple[Doubles, float]]) -> None:
    """Write `models/weights.py`."""
    write(out, models, TITLE)
    with out.open("a", encoding="utf-8") as file:
        file.write("BARS = {4: BAR_4, 3: BAR_3, 2: BAR_2}\n")


if __name__ == "__main__":
    main()
