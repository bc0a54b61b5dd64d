"""The scene that every program renders: a mix of decks of stems, played faster than recorded."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

import numpy as np
import soundfile

from benchmarks import material

RATE = 1.06
FLAT = (1.0, 1.0, 1.0)
# Linear gains of low, mid and high; none is flat, so that no equaliser can be bypassed.
EQ = ((0.7, 1.0, 0.85), (1.0, 0.6, 0.9), (0.5, 0.9, 1.0), (0.95, 0.75, 0.8))
STEM_GAINS = (1.0, 0.8, 0.9, 0.7)
LEVEL = 1.8  # sometimes above full scale, so that the limiter has work
# Parameters with which shelves and a bell approximate bands that meet at these frequencies.
LOW_HZ, MID_HZ, HIGH_HZ = 250.0, 790.0, 2500.0
MID_Q = 0.35  # 3.3 octaves, from one crossover to the other
SHELF_Q = math.sqrt(0.5)
RELEASE_SECONDS = 0.12
SINE_LEVEL = 0.5  # far from any limiter
SINE_SECONDS = 4.0


@dataclass(frozen=True)
class Stem:
    """A sound file and its linear gain."""

    path: str
    gain: float


@dataclass(frozen=True)
class Deck:
    """Stems that run together, an equaliser (linear gains of low, mid, high), and a level.

    `fade`: "in" or "out" for a linear fade over the whole scene, "" for none.
    """

    stems: tuple[Stem, ...]
    eq: tuple[float, float, float]
    level: float
    fade: str = ""

    @property
    def begin(self) -> float:
        """Linear level at the first frame."""
        return 0.0 if self.fade == "in" else self.level

    @property
    def end(self) -> float:
        """Linear level at the last frame."""
        return 0.0 if self.fade == "out" else self.level

    @property
    def flat(self) -> bool:
        """Whether the equaliser changes nothing."""
        return self.eq == FLAT


@dataclass(frozen=True)
class Scene:
    """The scene: all decks from their beginnings, at `rate`, rendered to stereo float32.

    `rate` is an exact fraction of integers below 1000. `stem_seconds`: length of every file.
    `limiter`: whether the master is limited.
    """

    decks: tuple[Deck, ...]
    stem_seconds: float
    rate: float = RATE
    sample_rate: int = material.RATE
    limiter: bool = True

    @property
    def frames(self) -> int:
        """Length of the result in frames."""
        return int(self.stem_seconds * self.sample_rate / self.rate)

    @property
    def seconds(self) -> float:
        """Length of the result in seconds."""
        return self.frames / self.sample_rate

    def to_json(self) -> str:
        """Return the scene and its derived figures as JSON, for programs that are scripts."""
        return json.dumps(
            dataclasses.asdict(self)
            | {"frames": self.frames, "seconds": self.seconds}
            | {"low_hz": LOW_HZ, "mid_hz": MID_HZ, "high_hz": HIGH_HZ}
            | {"shelf_q": SHELF_Q, "mid_q": MID_Q, "release_seconds": RELEASE_SECONDS}
        )

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Return the scene that `to_json` has written."""
        data = json.loads(text)
        fields = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        decks = tuple(
            Deck(
                tuple(Stem(**stem) for stem in deck["stems"]),
                tuple(deck["eq"]),
                deck["level"],
                deck["fade"],
            )
            for deck in fields.pop("decks")
        )
        return cls(decks=decks, **fields)


def decibels(gain: float) -> float:
    """Convert a linear gain to dB."""
    return 20.0 * math.log10(gain)


def mix_scene(stem_seconds: float) -> Scene:
    """Return four decks of four stems (16-bit stereo), crossfaded from A and B to C and D."""
    data = round(stem_seconds * material.RATE) * material.FRAME_BYTES
    decks = []
    for number, folder in enumerate(material.deck_folders(data)):
        stems = tuple(
            Stem(str(folder / f"{name}.wav"), gain)
            for name, gain in zip(material.STEMS, STEM_GAINS, strict=True)
        )
        decks.append(Deck(stems, EQ[number], LEVEL, "out" if number < 2 else "in"))
    return Scene(tuple(decks), stem_seconds)


def sine_scene(hertz: float) -> Scene:
    """Return one deck with one stem, a float32 sine, with rate conversion only."""
    path = material.cache_folder() / f"sine-{hertz:g}.wav"
    frames = round(SINE_SECONDS * material.RATE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = SINE_LEVEL * np.sin(2.0 * np.pi * hertz * np.arange(frames) / material.RATE)
        stereo = np.column_stack((wave, wave)).astype(np.float32)
        soundfile.write(path, stereo, material.RATE, subtype="FLOAT")
    deck = Deck((Stem(str(path), 1.0),), FLAT, 1.0)
    return Scene((deck,), SINE_SECONDS, limiter=False)
