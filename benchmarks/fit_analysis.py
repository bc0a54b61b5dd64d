"""Fit the weights of the analysis to generated tracks; write `crowdstream/analysis/weights.py`.

    python benchmarks/fit_analysis.py [--tracks 320] [--out crowdstream/analysis/weights.py]

There are four small linear models: the right tempo of an octave family, the sixteenth on which the
bar starts, the key, and whether a moment of a mix contains vocals. Each is fitted by maximum
likelihood with a quadratic penalty (softmax over the choices of a track; Adam, Kingma and Ba 2015).
The seeds start at 0; `benchmarks/analysis.py` measures with others. Printed is the accuracy on the
folds of tracks that were left out of a fit.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, print_heading
from crowdstream.analysis import downbeat, grid, key, tempo, variable_tempo, vocals
from crowdstream.analysis.features import SLOW_RATE, Features, extract
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.source import ArraySound, Sound
from tests.support.generated_tracks.tracks import GeneratedTrack, Truth, generate_track

Doubles = npt.NDArray[np.float64]
OUT = Path(__file__).resolve().parents[1] / "crowdstream" / "analysis" / "weights.py"
STEPS, RATE = 2500, 0.03
PENALTY = {"OCTAVE": 0.01, "BAR": 0.03, "KEY": 0.01, "VOICE": 0.001}
FOLDS = 4
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


def octave_choice(truth: Truth, found: list[tempo.Candidate]) -> Choice | None:
    """Return the choice among the possible tempos; None if none of them is right."""
    off = [abs(60 * candidate.hertz / truth.bpm - 1) for candidate in found]
    if not off or min(off) > SAME_TEMPO:
        return None
    return Choice(np.array([candidate.traits for candidate in found]), int(np.argmin(off)))


def bar_choice(truth: Truth, features: Features, lines: tempo.Floats, hertz: float) -> Choice:
    """Return the choice of the sixteenth on which the bar starts."""
    beats = Beats.even(grid.steady_tempo(lines, hertz))
    if grid.coherence(lines, beats) < grid.STEADY:
        beats = variable_tempo.track_variable_tempo(lines, hertz)
    beats = beats.shifted(downbeat.sixteenth_offset(lines, beats))
    steps = 4 * (beats.beat(truth.beats) - np.arange(len(truth.beats)))
    traits = downbeat.bar_traits(features, lines, beats)
    return Choice(traits, int(np.rint(np.median(steps))) % downbeat.STEPS)


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
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Generate tracks, fit the models, print their accuracy and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tracks", type=int, default=320)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    print_heading("Weights of the analysis")
    found: dict[str, list[Choice]] = {name: [] for name in PENALTY}
    progress = Progress(chosen.tracks)
    for seed in range(chosen.tracks):
        track = generate_track(seed, 60 + seed * 37 % 60)
        collect(track.truth, extract(sounds_of(track)), found)
        progress.add(1, "making and measuring tracks")
    progress.close()
    finish(found, chosen.out)


def collect(truth: Truth, features: Features, found: dict[str, list[Choice]]) -> None:
    """Add the choices of one track."""
    lines = tempo.normalize_onsets(features.onsets)
    possible = tempo.candidates(lines)
    octave = octave_choice(truth, possible)
    if octave is not None:
        found["OCTAVE"].append(octave)
        hertz = possible[octave.right].hertz
        found["BAR"].append(bar_choice(truth, features, lines, hertz))
    found["KEY"].append(key_choice(truth, features))
    found["VOICE"] += voice_rows(truth, features)


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
