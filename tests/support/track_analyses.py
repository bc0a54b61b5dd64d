"""Analyses of invented tracks, and short tracks with a click on each beat."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from crowdstream.analysis.result import (
    Analysis,
    Downbeat,
    Key,
    Loudness,
    Section,
    Tempo,
    Vocals,
)
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from tests.support.offline_server import RATE

STEMS = ("drums", "bass", "vocals", "other")


def analysis(
    bpm: float = 124.0,
    key: str = "8A",
    level: float = 0.5,
    bars: int = 96,
    stems: Iterable[str] = STEMS,
    sung: Iterable[tuple[int, int]] = ((24, 40),),
    lufs: float = -14.0,
    silent: bool = False,
) -> Analysis:
    """Return the analysis of a track: intro, build, drop, break, drop, outro. `sung`: in bars."""
    beat = 60.0 / bpm if bpm else 0.5
    edges = [0, bars // 6, bars // 4, bars // 2, 2 * bars // 3, 5 * bars // 6, bars]
    edges = [8 * round(edge / 8) if bars >= 48 else edge for edge in edges]
    kinds = ("intro", "build", "drop", "break", "drop", "outro")
    strength = {"intro": 0.4, "build": 0.6, "drop": 0.95, "break": 0.45, "outro": 0.4}
    energy = np.zeros(bars)
    sections = []
    for begin, end, kind in zip(edges[:-1], edges[1:], kinds, strict=True):
        energy[begin:end] = strength[kind]
        if end > begin:
            sections.append(Section(4 * begin, 4 * end, kind, strength[kind]))  # type: ignore[arg-type]
    names = tuple(stems)
    bass = np.where(energy > 0.5, 1.0, 0.0)
    voice = np.zeros(bars)
    for begin, end in sung:
        voice[begin:end] = 1.0
    lines = {"drums": np.ones(bars), "bass": bass, "vocals": voice, "other": energy}
    activity = {name: tuple(lines[name].tolist()) for name in names} if len(names) > 1 else {}
    return Analysis(
        version=1, seconds=bars * 4 * beat + 0.5, sample_rate=RATE, stems=names, silent=silent,
        tempo=Tempo(bpm, True, 1.0, ((0.0, 0.1), (4.0 * bars, 0.1 + 4 * bars * beat)) if bpm
                    else ()),
        downbeat=Downbeat(1.0),
        key=Key(key, 0, key.endswith("A"), 1.0),
        loudness=Loudness(lufs, -1.0), level=level, first_bar_beat=0,
        energy=tuple(energy.tolist()), bass=tuple(bass.tolist()),
        bar_loudness=tuple((lufs + 40 * (np.sqrt(energy) - 1)).tolist()), activity=activity,
        sections=tuple(sections), phrases=tuple(range(0, 4 * bars, 32)) if bpm else (),
        vocals=Vocals(tuple((0.1 + 4 * beat * b, 0.1 + 4 * beat * e) for b, e in sung), "stem",
                      1.0),
        fingerprint="",
    )  # fmt: skip


def club(count: int, low: float = 120.0, high: float = 128.0) -> Candidates:
    """Return tracks that mostly go together, with different tempos, keys and levels."""
    keys = ("8A", "9A", "8B", "7A", "10A", "3B", "9B", "2A")
    return of_analyses({
        f"/music/{number:03}": analysis(
            low + (high - low) * ((number * 7) % count) / count, keys[number % len(keys)],
            (number * 5 % count) / count, sung=((24, 40),) if number % 3 else (),
        )
        for number in range(count)
    })  # fmt: skip


def click_track(folder: Path, name: str, bpm: float, first: float, beats: int) -> str:
    """Write a folder with drums (a click per beat, louder on each bar) and bass (a constant)."""
    frames = round((first + (beats + 2) * 60.0 / bpm) * RATE)
    drums = np.zeros((frames, 2), np.float32)
    for beat in range(beats):
        drums[round((first + beat * 60.0 / bpm) * RATE)] = 0.5 if beat % 4 == 0 else 0.25
    (folder / name).mkdir()
    soundfile.write(folder / name / "drums.wav", drums, RATE, subtype="FLOAT")
    bass = np.full((frames, 2), 0.0, np.float32)
    soundfile.write(folder / name / "bass.wav", bass, RATE, subtype="FLOAT")
    return name
