"""Accuracy of the analysis on music with known properties, compared with aubio and librosa.

    pip install -r requirements-bench.txt     # for the comparison, which is optional
    python benchmarks/analysis.py [--tracks 96] [--json FILE] [--out FILE]

The material is generated tracks (`tests/support/generated_tracks`, with seeds that the weights
were not fitted to), and loops of Debian's sonic-pi-samples, each repeated for at least 30 s.
Measured: tempo within 0.05 BPM, octave errors, the median distance of beats from the grid, the
downbeat, the key, sections, vocals, and CPU seconds per minute of music. A variable tempo has no
single value: such tracks count for everything except the tempo, and are also listed separately.

The others are aubio's `tempo` with its defaults, librosa's `beat_track` with its defaults, and
librosa's chroma with the profiles of Krumhansl and Kessler, as librosa has no key detection.
Neither finds downbeats. All receive the same mixes. As neither is made for tempos to within 0.05
BPM, a result counts as right if the reported tempo or a line through the beats is right. As their
beats are late by a constant time, the grid is also judged with each program's own delay removed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.analysis_scores import (
    GRID_TOLERANCE,
    Guess,
    judge,
    judge_form,
    loop_row,
    share,
    summary,
)
from benchmarks.common import Progress, machine, machine_text, table, write_json
from benchmarks.fit_analysis import sounds_of
from crowdstream.analysis.key import PROFILES
from crowdstream.analysis.result import second_of
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from tests.support.generated_tracks.tracks import generate_track

Audio = npt.NDArray[np.float32]
FIRST_SEED = 10_000  # the weights were fitted to seeds below 1000
SAMPLES = Path("/usr/share/sonic-pi/samples")
LOOP_SECONDS = 30.0
LOOPS = {
    # Beats of a loop according to Sonic Pi's own examples and its users' programs (num_beats,
    # beat_stretch); two numbers if both occur. Excluded: loop_tabla, on which they disagree, and
    # loop_3d_printer and loop_drone_g_97, which have no beat.
    "loop_amen": (4,), "loop_amen_full": (16,), "loop_breakbeat": (4,), "loop_compus": (8, 16),
    "loop_electric": (4,), "loop_garzul": (8, 16), "loop_industrial": (1, 2),
    "loop_mehackit1": (4,), "loop_mehackit2": (4,), "loop_mika": (8, 16), "loop_perc1": (4,),
    "loop_perc2": (4,), "loop_safari": (8, 16), "loop_weirdo": (8,),
}  # fmt: skip


def ours(sounds: Sequence[Any]) -> Guess:
    """Return CrowdStream's result."""
    begin = time.process_time()
    found = analyse(sounds)
    used = time.process_time() - begin
    anchors = found.tempo.anchors
    beats = np.zeros(0)
    if anchors:
        last = int(found.seconds * found.tempo.bpm / 60) + 8
        beats = np.array([second_of(anchors, beat) for beat in range(-8, last)])
    key = found.key.tonic + 12 * found.key.minor if found.key.name else None
    return Guess(found.tempo.bpm, beats, anchors[0][1] if anchors else None, key, used, found)


def by_aubio(mix: Audio, rate: int) -> Guess:
    """Return aubio's result with its default settings."""
    aubio = importlib.import_module("aubio")

    mono = np.ascontiguousarray(mix.mean(axis=1), np.float32)
    begin = time.process_time()
    tracker = aubio.tempo("default", 1024, 512, rate)
    beats = [
        tracker.get_last_s()
        for at in range(0, len(mono) - 512, 512)
        if tracker(mono[at : at + 512])[0]
    ]
    bpm = 60.0 / float(np.median(np.diff(beats))) if len(beats) > 2 else 0.0
    return Guess(bpm, np.array(beats), None, None, time.process_time() - begin)


def by_librosa(mix: Audio, rate: int) -> Guess:
    """Return librosa's result with its default settings."""
    librosa = importlib.import_module("librosa")

    begin = time.process_time()
    mono = librosa.resample(mix.mean(axis=1), orig_sr=rate, target_sr=22_050, res_type="soxr_hq")
    tempo, beats = librosa.beat.beat_track(y=mono, sr=22_050, units="time")
    chroma = librosa.feature.chroma_cqt(y=mono, sr=22_050).mean(axis=1)
    scores = [
        np.corrcoef(np.roll(PROFILES[minor][0], tonic), chroma)[0, 1]
        for minor in (False, True)
        for tonic in range(12)
    ]
    bpm = float(np.atleast_1d(tempo)[0])
    used = time.process_time() - begin
    return Guess(bpm, np.asarray(beats), None, int(np.argmax(scores)), used)


def rivals() -> dict[str, Callable[[Audio, int], Guess]]:
    """Return the other programs that are installed, by name."""
    found: dict[str, Callable[[Audio, int], Guess]] = {}
    for name, call in (("aubio", by_aubio), ("librosa", by_librosa)):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: pip install -r requirements-bench.txt")
        else:
            found[name] = call
    return found


def loop_material() -> list[tuple[str, Audio, int, list[float]]]:
    """Return name, samples, rate, and the tempos that count as right, for each loop."""
    found: list[tuple[str, Audio, int, list[float]]] = []
    for name, beats in LOOPS.items():
        path = SAMPLES / f"{name}.flac"
        if not path.exists():
            print(f"{path} is missing: apt install sonic-pi-samples")
            continue
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        seconds = len(samples) / rate
        times = int(np.ceil(LOOP_SECONDS / seconds))
        tempos = [60 * count / seconds for count in beats]
        found.append((name, np.tile(samples, (times, 1)), rate, tempos))
    return found


def text_of(value: float | None, name: str) -> str:
    """Format a figure."""
    if value is None:
        return "-"
    plain = name.endswith("median ms") or name.startswith("s of")
    return f"{value:.2f}" if plain else f"{value:.1%}"


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tracks", type=int, default=96)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first track")
    parser.add_argument("--alone", action="store_true", help="skip aubio and librosa")
    parser.add_argument("--misses", action="store_true", help="print details of wrong results")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    chosen = parser.parse_args()
    others = {} if chosen.alone else rivals()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("crowdstream", *others)}
    loops: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    form = []
    material = loop_material()
    progress = Progress(chosen.tracks + len(material))
    for seed in range(chosen.first, chosen.first + chosen.tracks):
        track = generate_track(seed, 60 + seed * 37 % 60)
        truth = track.truth
        guesses = {"crowdstream": ours(sounds_of(track))}
        guesses |= {name: call(track.mix(), track.rate) for name, call in others.items()}
        for name, guess in guesses.items():
            row = {"name": track.name, "steady": truth.steady, "true": truth.bpm}
            rows[name].append(row | judge(guess, truth))
        own, found = rows["crowdstream"][-1], guesses["crowdstream"].analysis
        if found and found.tempo.anchors:
            form.append({"separate": truth.separate} | judge_form(found, truth))
        if chosen.misses and found and not (
            (own["tempo"] or not truth.steady) and own["downbeat"] and own["key"]
            and own["grid"] <= GRID_TOLERANCE
        ):  # fmt: skip
            shown = {name: value for name, value in own.items() if name != "late"}
            print(f"{track.name} {truth.bpm:.3f} steady {truth.steady}: {shown} "
                  f"key {found.key} true {truth.tonic} {truth.minor} "
                  f"tempo {found.tempo.confidence} {found.tempo.steady}", flush=True)  # fmt: skip
        progress.add(1, "generated tracks")
    for name, samples, rate, tempos in material:
        found_here = {"crowdstream": ours([ArraySound("loop", samples, rate)])}
        found_here |= {other: call(samples, rate) for other, call in others.items()}
        for program, guess in found_here.items():
            loops[program].append({"name": name, "true": tempos} | loop_row(guess, tempos))
        progress.add(1, "loops")
    progress.close()
    report(chosen, rows, loops, form)


def report(
    chosen: argparse.Namespace,
    rows: dict[str, list[dict[str, Any]]],
    loops: dict[str, list[dict[str, Any]]],
    form: list[dict[str, Any]],
) -> None:
    """Print and write the results."""
    figures = {name: summary(found) for name, found in rows.items()}
    lines = [
        "Accuracy of the analysis",
        f"command: python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip(),
        f"machine: {machine_text()}",
        "",
        f"{chosen.tracks} generated tracks, seeds from {chosen.first}",
        table([
            {"": figure} | {name: text_of(own[figure], figure) for name, own in figures.items()}
            for figure in next(iter(figures.values()))
        ]),
        "",
        "sections and voice, crowdstream",
        table([
            {"": name} | {
                kind: text_of(share([row for row in form if row["separate"] == alone], name), name)
                for kind, alone in (("stems", True), ("one file", False))
            }
            for name in ("boundaries found", "boundaries right", "kind", "voice")
        ]),
        "",
    ]  # fmt: skip
    if any(loops.values()):
        lines += [
            f"{len(loops['crowdstream'])} loops of sonic-pi-samples, repeated for 30 s",
            table([
                {"": name, "tempo within 0.05": f"{share(found, 'tempo'):.1%}",
                 "another octave": f"{share(found, 'octave'):.1%}"}
                for name, found in loops.items()
            ]),
            "",
            table([
                {"loop": row["name"], "true": " or ".join(f"{bpm:.2f}" for bpm in row["true"])}
                | {name: f"{loops[name][at]['bpm']:.2f}" for name in loops}
                for at, row in enumerate(loops["crowdstream"])
            ]),
        ]  # fmt: skip
    for found in rows.values():
        for row in found:
            del row["late"]
    text = "\n".join(lines)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    write_json(chosen.json, {"machine": machine(), "figures": figures, "loops": loops,
                             "tracks": rows, "sections": form})  # fmt: skip


if __name__ == "__main__":
    main()
