"""Generate complete tracks with known tempo, beats, key, sections and vocals.

    from tests.support.generated_tracks.tracks import generate_track
    track = generate_track(7)
    track.stems["drums"], track.truth.bpm

There are twelve styles (`styles.py`), 70 to 180 BPM, all 24 keys, swing, syncopation, breaks,
half-time, intros without drums, variable tempos, several families of timbres, noise floors,
side-chain compression and echoes. Each seed produces a different track, and always the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.support.generated_tracks.composer import STEMS, Audio, Composer
from tests.support.generated_tracks.drums import play_drums
from tests.support.generated_tracks.melody import play_bass, play_chords, play_lead, sing
from tests.support.generated_tracks.styles import Style


@dataclass(frozen=True)
class Truth:
    """The ground truth of a track. `bpm`: the median if the tempo varies."""

    style: str
    bpm: float
    steady: bool
    beats: npt.NDArray[np.float64]  # second of each beat; the first is a downbeat
    tonic: int
    minor: bool
    swing: float
    meter: int  # beats per bar
    sections: tuple[tuple[float, str], ...]  # begin in seconds, kind
    vocals: tuple[tuple[float, float], ...]
    separate: bool  # analysed as stems, not as one file


@dataclass
class GeneratedTrack:
    """A track: each stem `(frames, 2)`, float32, at `rate` Hz."""

    name: str
    rate: int
    truth: Truth
    stems: dict[str, Audio] = field(repr=False)

    def mix(self) -> Audio:
        """The sum of the stems."""
        total: Audio = np.sum(list(self.stems.values()), axis=0, dtype=np.float32)
        return total


def generate_track(
    seed: int, seconds: float = 90.0, style: Style | None = None, steady: bool | None = None
) -> GeneratedTrack:
    """Return the track of a seed, about `seconds` long. `style`, `steady` override its choice."""
    composer = Composer(seed, seconds, style, steady)
    play_drums(composer)
    play_bass(composer)
    play_chords(composer)
    play_lead(composer)
    sing(composer)
    _finish(composer)
    begins = np.cumsum([0, *(section.bars for section in composer.sections)])
    last = composer.style.beats * composer.total_bars
    truth = Truth(
        style=composer.style.name,
        bpm=float(60 / np.median(np.diff(composer.beats[: last + 1]))),
        steady=composer.steady,
        beats=composer.beats[: last + 1],
        tonic=composer.tonic,
        minor=composer.minor,
        swing=composer.swing,
        meter=composer.style.beats,
        sections=tuple(
            (composer.bar_second(int(begin)), section.kind)
            for begin, section in zip(begins[:-1], composer.sections, strict=True)
        ),
        vocals=tuple(composer.vocals),
        separate=bool(composer.random.random() < 0.5),
    )
    return GeneratedTrack(f"{seed}-{composer.style.name}", composer.rate, truth, composer.stems)


def _finish(composer: Composer) -> None:
    # Side-chain compression, echo on the vocals, noise floor, level.
    random, rate = composer.random, composer.rate
    if random.random() < 0.5:
        depth = random.uniform(0.3, 0.8)
        shape = 1 - depth * np.exp(-np.arange(int(0.35 * rate)) / (0.09 * rate))
        gain = np.ones(composer.frames, np.float32)
        for second in composer.kicks:
            at = round(second * rate)
            part = gain[at : at + len(shape)]
            np.minimum(part, shape[: len(part)], out=part)
        for name in ("bass", "other"):
            composer.stems[name] *= gain[:, None]
    late = int(3 * composer.step_seconds * rate)
    composer.stems["vocals"][late:] += 0.25 * composer.stems["vocals"][:-late, ::-1]
    floor = 10 ** (random.uniform(-80, -45) / 20)
    noise = floor * random.standard_normal((composer.frames, 2), dtype=np.float32)
    composer.stems["other"] += noise
    peak = float(np.abs(np.sum(list(composer.stems.values()), axis=0)).max())
    level = random.uniform(0.3, 0.95) / peak
    for name in STEMS:
        composer.stems[name] *= np.float32(level)
