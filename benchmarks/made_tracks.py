"""Whole tracks with known truth: tempo, beats, key, sections, voice. Made from a seed.

    from benchmarks.made_tracks import make
    track = make(7)
    track.stems["drums"], track.truth.bpm

Twelve styles (`made/styles.py`), 70 to 180 beats a minute, all 24 keys, swing, syncopation,
breaks, half-time, intros without drums, tempi that move, four families of timbres, noise floors,
side-chain pumping, echoes. Each seed is another track, and always the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.made.drums import play_drums
from benchmarks.made.maker import STEMS, Audio, Maker
from benchmarks.made.styles import Style
from benchmarks.made.tunes import play_bass, play_chords, play_lead, sing


@dataclass(frozen=True)
class Truth:
    """What is known. `bpm`: of a track whose tempo moves, the median."""

    style: str
    bpm: float
    steady: bool
    beats: npt.NDArray[np.float64]  # second of each beat; the first is a downbeat
    tonic: int
    minor: bool
    swing: float
    sections: tuple[tuple[float, str], ...]  # begin in seconds, kind
    vocals: tuple[tuple[float, float], ...]
    separate: bool  # analysed as stems, not as one file


@dataclass
class MadeTrack:
    """A track: each stem `(frames, 2)`, float32."""

    name: str
    rate: int
    truth: Truth
    stems: dict[str, Audio] = field(repr=False)

    def mix(self) -> Audio:
        """The sum of the stems."""
        total: Audio = np.sum(list(self.stems.values()), axis=0, dtype=np.float32)
        return total


def make(
    seed: int, seconds: float = 90.0, style: Style | None = None, steady: bool | None = None
) -> MadeTrack:
    """The track of a seed, about that long. `style`, `steady`: instead of what the seed says."""
    maker = Maker(seed, seconds, style, steady)
    play_drums(maker)
    play_bass(maker)
    play_chords(maker)
    play_lead(maker)
    sing(maker)
    _finish(maker)
    begins = np.cumsum([0, *(section.bars for section in maker.sections)])
    truth = Truth(
        style=maker.style.name,
        bpm=float(60 / np.median(np.diff(maker.beats[: 4 * maker.total_bars + 1]))),
        steady=maker.steady,
        beats=maker.beats[: 4 * maker.total_bars + 1],
        tonic=maker.tonic,
        minor=maker.minor,
        swing=maker.swing,
        sections=tuple(
            (maker.second(4 * int(begin)), section.kind)
            for begin, section in zip(begins[:-1], maker.sections, strict=True)
        ),
        vocals=tuple(maker.vocals),
        separate=bool(maker.random.random() < 0.5),
    )
    return MadeTrack(f"{seed}-{maker.style.name}", maker.rate, truth, maker.stems)


def _finish(maker: Maker) -> None:
    # Side-chain, echo on the voice, noise, level: as a producer would.
    random, rate = maker.random, maker.rate
    if random.random() < 0.5:
        depth = random.uniform(0.3, 0.8)
        shape = 1 - depth * np.exp(-np.arange(int(0.35 * rate)) / (0.09 * rate))
        gain = np.ones(maker.frames, np.float32)
        for second in maker.kicks:
            at = round(second * rate)
            part = gain[at : at + len(shape)]
            np.minimum(part, shape[: len(part)], out=part)
        for name in ("bass", "other"):
            maker.stems[name] *= gain[:, None]
    late = int(45 / maker.bpm * rate)
    maker.stems["vocals"][late:] += 0.25 * maker.stems["vocals"][:-late, ::-1]
    floor = 10 ** (random.uniform(-80, -45) / 20)
    noise = floor * random.standard_normal((maker.frames, 2), dtype=np.float32)
    maker.stems["other"] += noise
    peak = float(np.abs(np.sum(list(maker.stems.values()), axis=0)).max())
    level = random.uniform(0.3, 0.95) / peak
    for name in STEMS:
        maker.stems[name] *= np.float32(level)
