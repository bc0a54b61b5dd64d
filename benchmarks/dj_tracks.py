"""Generate simple tracks, one second each, together with their ideal analysis.

Planning and mixing can thus be measured by themselves; `benchmarks/analysis.py` measures the
analysis. One bar of each stem is synthesised and arranged in sections: drums with fills, a bass
line, a buzzing voice that sings now and then, and chords, in any key and tempo.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from crowdstream.analysis.result import (
    VERSION,
    Analysis,
    Downbeat,
    Key,
    Loudness,
    Section,
    SectionKind,
    Tempo,
    Vocals,
)
from crowdstream.audiofile.loudness import LoudnessMeter as Meter
from crowdstream.audiofile.loudness import lufs

RATE = 44100
STEMS = ("drums", "bass", "vocals", "other")
Plan = tuple[tuple[SectionKind, int, str], ...]  # kind, bars, and which stems play
PLANS: tuple[Plan, ...] = (
    (("intro", 16, "d"), ("verse", 16, "dbvo"), ("build", 8, "dvo"), ("drop", 16, "dbo"),
     ("break", 8, "vo"), ("drop", 16, "dbo"), ("outro", 16, "db")),
    (("intro", 8, "o"), ("verse", 16, "dbvo"), ("build", 8, "do"), ("drop", 16, "dbvo"),
     ("break", 16, "o"), ("build", 8, "do"), ("drop", 16, "dbvo"), ("outro", 8, "dbv")),
    (("intro", 16, "db"), ("build", 8, "dbo"), ("drop", 32, "dbo"), ("break", 8, "o"),
     ("drop", 16, "dbo"), ("outro", 16, "dbo")),
)  # fmt: skip
INSTRUMENTAL = 4  # one track in this many has no vocals
RANGE_DB = 30.0


def known_tracks(folder: Path, count: int) -> dict[str, Analysis]:
    """Return the analyses of `count` tracks below `folder`; generate missing tracks."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Analysis] = {}
    for seed in range(count):
        path = folder / f"track-{seed:03}"
        note = folder / f"track-{seed:03}.json"
        if not note.exists():
            note.write_text(json.dumps(_make(path, seed).to_dict()))
        found[str(path.absolute())] = Analysis.from_dict(json.loads(note.read_text()))
    return found


def camelot(tonic: int, minor: bool) -> str:
    """Return the Camelot name of a key. `tonic`: 0 is C; a fifth up is one hour clockwise."""
    hour = ((tonic - 9) if minor else tonic) * 7 % 12
    return f"{(hour + 7) % 12 + 1}{'A' if minor else 'B'}"


def _make(path: Path, seed: int) -> Analysis:
    random = np.random.default_rng(seed)
    bpm = round(float(random.choice([random.uniform(118, 132), random.uniform(84, 176)],
                                    p=[0.8, 0.2])), 2)  # fmt: skip
    tonic, minor = int(random.integers(12)), bool(random.random() < 0.6)
    first = float(random.uniform(0, 1.0))
    plan = PLANS[int(random.integers(len(PLANS)))]
    bars = sum(length for _, length, _ in plan)
    edges = np.round((first + np.arange(bars + 1) * 240 / bpm) * RATE).astype(int)
    frames = int(edges[-1]) + RATE // 2
    longest = int(np.diff(edges).max()) + 1
    patterns = _patterns(random, longest, bpm, tonic, minor)
    plays = np.array([[letter in who for letter in "dbvo"]
                      for _, length, who in plan for _ in range(length)])  # fmt: skip
    # Two bars of four have vocals.
    plays[:, 2] &= (np.arange(bars) % 4 < 2) & (seed % INSTRUMENTAL > 0)
    gain = float(random.uniform(0.4, 1.0))
    path.mkdir(exist_ok=True)
    mix = np.zeros(frames, np.float32)
    activity: dict[str, tuple[float, ...]] = {}
    for column, name in enumerate(STEMS):
        line = np.zeros(frames, np.float32)
        for bar in np.flatnonzero(plays[:, column]):
            length = edges[bar + 1] - edges[bar]
            line[edges[bar] : edges[bar + 1]] = gain * patterns[name][bar % 2][:length]
        soundfile.write(path / f"{name}.wav", np.stack([line, line], 1), RATE, subtype="PCM_16")
        mix += line
        activity[name] = tuple(plays[:, column].astype(float).tolist())
    whole = np.array([np.mean(np.square(mix[a:b])) for a, b in pairwise(edges)])
    decibels = 10 * np.log10(np.maximum(whole, 1e-9))
    loud = np.clip((decibels - decibels.max()) / 40.0 + 1, 0, 1)
    begins = np.cumsum([0, *(length for _, length, _ in plan)]) * 4
    sections = tuple(
        Section(int(begin), int(end), kind, float(np.mean(loud[begin // 4 : end // 4])))
        for begin, end, (kind, _, _) in zip(begins, begins[1:], plan, strict=False)
    )
    meter = Meter(RATE)
    meter.feed(np.stack([mix, mix], 1))
    powers = np.concatenate([[0.0], np.cumsum(meter.powers)])
    sums = np.interp(edges / meter.hop, np.arange(len(powers)), powers)
    means = np.diff(sums) / np.diff(edges / meter.hop)
    sung = [
        ((edges[bar]) / RATE, edges[bar + 2] / RATE)
        for bar in range(0, bars - 1, 4) if plays[bar, 2]
    ]  # fmt: skip
    return Analysis(
        version=VERSION, seconds=frames / RATE, sample_rate=RATE, stems=STEMS, silent=False,
        tempo=Tempo(bpm, True, 1.0, ((0.0, first), (4.0 * bars, first + 240 * bars / bpm))),
        downbeat=Downbeat(1.0),
        key=Key(camelot(tonic, minor), tonic, minor, 1.0),
        loudness=Loudness(meter.integrated(), 20 * math.log10(float(np.abs(mix).max()))),
        level=float(random.random()), first_bar_beat=0, energy=tuple((loud**2).tolist()),
        bass=activity["bass"], bar_loudness=tuple(lufs(float(power)) for power in means),
        activity=activity, sections=sections,
        phrases=tuple(range(0, 4 * bars, 32)),
        vocals=Vocals(tuple(sung), "stem", 1.0), fingerprint="",
    )  # fmt: skip


def _patterns(
    random: np.random.Generator, frames: int, bpm: float, tonic: int, minor: bool
) -> dict[str, list[np.ndarray]]:
    # Two bars of each stem, mono, float32.
    step = 15 / bpm
    at = np.arange(frames) / RATE
    scale = (0, 2, 3, 5, 7, 8, 10) if minor else (0, 2, 4, 5, 7, 9, 11)

    def hertz(degree: int, octave: int) -> float:
        return float(440 * 2 ** ((tonic + scale[degree % 7] - 9) / 12 + octave))

    found: dict[str, list[np.ndarray]] = {name: [] for name in STEMS}
    hits = random.random(16)
    for _bar in range(2):
        since = at % (4 * step)
        kick = np.sin(2 * np.pi * (50 * since + 6 * (1 - np.exp(-since * 30)))) * np.exp(-since * 9)
        since = at % step
        loud = np.where(hits[np.minimum(15, (at / step).astype(int))] > 0.4, 1.0, 0.3)
        hat = random.standard_normal(frames) * np.exp(-since * 60) * loud
        found["drums"].append((0.5 * kick + 0.06 * hat).astype(np.float32))
        degrees = random.integers(0, 7, 4)
        which = degrees[np.minimum(3, (at / (4 * step)).astype(int))]
        pitch = np.array([hertz(int(degree), -3) for degree in range(7)])[which]
        beat = at % (2 * step)
        found["bass"].append((0.25 * np.sin(2 * np.pi * pitch * at) * np.exp(-beat * 2)).astype(
            np.float32))  # fmt: skip
        sung = 2 * np.pi * hertz(int(degrees[0]), -1) * at
        voice = np.zeros(len(at))
        for n in range(1, 8):
            voice += np.sin(n * sung + 2 * np.sin(35 * at)) / n
        found["vocals"].append((0.08 * voice).astype(np.float32))
        chord = np.zeros(len(at))
        for d in (0, 2, 4):
            chord += np.sin(2 * np.pi * hertz(int(degrees[0]) + d, 0) * at)
        found["other"].append((0.06 * chord).astype(np.float32))
    return found
