"""Made tracks as files, and their truth as an analysis: so that planning alone is measured.

What the analysis itself makes of them is the matter of `benchmarks/analysis.py`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.made_tracks import STEMS, MadeTrack, make
from crowdstream.analysis.result import (
    VERSION,
    Analysis,
    Downbeat,
    Key,
    Loudness,
    Section,
    Tempo,
    Vocals,
)
from crowdstream.library.loudness import Loudness as Meter

SECONDS = 170.0  # of a track, about
BASS_RANGE_DB, ENERGY_RANGE_DB = 30.0, 40.0  # as in the analysis
PHRASE_BARS = 8


def known_tracks(folder: Path, count: int, seconds: float = SECONDS) -> dict[str, Analysis]:
    """Analyses by path of so many tracks below `folder`; what is not there is made."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Analysis] = {}
    for seed in range(count):
        note = folder / f"{seed:03}.json"
        if not note.exists():
            track = make(seed, seconds)
            path = folder / f"{seed:03}-{track.truth.style.replace(' ', '-')}"
            _write(track, path)
            known = {"path": path.name, "analysis": _analysis(track).to_dict()}
            note.write_text(json.dumps(known))
        said = json.loads(note.read_text())
        found[str((folder / said["path"]).absolute())] = Analysis.from_dict(said["analysis"])
    return found


def _write(track: MadeTrack, path: Path) -> None:
    path.mkdir(exist_ok=True)
    for name, samples in track.stems.items():
        soundfile.write(path / f"{name}.flac", samples, track.rate, subtype="PCM_16")


def _analysis(track: MadeTrack) -> Analysis:
    truth = track.truth
    beats = truth.beats
    mix = track.mix()
    bars = (len(beats) - 1) // 4
    edges = np.round(beats[0 : 4 * bars + 1 : 4] * track.rate).astype(int)
    powers = {name: _decibels(track.stems[name], edges) for name in STEMS}
    whole = _decibels(mix, edges)
    meter = Meter(track.rate)
    meter.feed(mix)
    lufs = meter.integrated()
    loud = np.clip((whole - whole.max()) / ENERGY_RANGE_DB + 1, 0, 1)
    begins = [round(_beat(beats, begin)) for begin, _ in truth.sections]
    ends = [*begins[1:], 4 * bars]
    sections = tuple(
        Section(begin, end, kind, float(np.mean(loud[begin // 4 : end // 4] ** 2)))  # type: ignore[arg-type]
        for begin, end, (_, kind) in zip(begins, ends, truth.sections, strict=True)
    )
    phrases = sorted(
        {beat for begin, end in zip(begins, ends, strict=True)
         for beat in range(begin, end, 4 * PHRASE_BARS)}
    )  # fmt: skip
    step = len(beats) - 1 if truth.steady else 16
    kept = [*range(0, len(beats) - 1, step), len(beats) - 1]
    level = 0.6 * _share(lufs, -26, -7) + 0.4 * _share(truth.bpm, 70, 180)
    return Analysis(
        version=VERSION, seconds=len(mix) / track.rate, sample_rate=track.rate, stems=STEMS,
        silent=False,
        tempo=Tempo(truth.bpm, truth.steady, 1.0, tuple((float(n), float(beats[n])) for n in kept)),
        downbeat=Downbeat(1.0),
        key=Key(camelot(truth.tonic, truth.minor), truth.tonic, truth.minor, 1.0),
        loudness=Loudness(lufs, 20 * math.log10(float(np.abs(mix).max()))),
        level=level, first_bar_beat=0, energy=tuple((loud**2).tolist()),
        bass=_activity(powers["bass"]),
        activity={name: _activity(power) for name, power in powers.items()},
        sections=sections, phrases=tuple(phrases),
        vocals=Vocals(_joined(truth.vocals), "stem", 1.0), fingerprint="",
    )  # fmt: skip


def camelot(tonic: int, minor: bool) -> str:
    """Camelot's name of a key; tonic 0 is C. A minor is 8A, C major 8B, a fifth is an hour."""
    hour = ((tonic - 9) if minor else tonic) * 7 % 12
    return f"{(hour + 7) % 12 + 1}{'A' if minor else 'B'}"


def _beat(beats: np.ndarray, second: float) -> float:
    return float(np.interp(second, beats, np.arange(len(beats))))


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _decibels(samples: np.ndarray, edges: np.ndarray) -> np.ndarray:
    square = np.square(samples, dtype=np.float64).mean(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(square)])
    edges = np.minimum(edges, len(square))
    means = np.diff(sums[edges]) / np.maximum(1, np.diff(edges))
    return 10 * np.log10(np.maximum(means, 1e-12))


def _activity(decibels: np.ndarray) -> tuple[float, ...]:
    line = np.clip((decibels - max(decibels.max(), -60.0)) / BASS_RANGE_DB + 1, 0, 1)
    return tuple(line.tolist())


def _joined(spans: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    # A line of the song a bar after the other is one stretch of voice.
    found: list[tuple[float, float]] = []
    for begin, end in spans:
        if found and begin - found[-1][1] < 0.5:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return tuple(found)
