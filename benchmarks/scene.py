"""The scene that every program renders: decks of stems, faster than they were made, mixed."""

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
# Linear gains of low, mid and high; no deck is flat, so that no equaliser can be left out.
EQ = ((0.7, 1.0, 0.85), (1.0, 0.6, 0.9), (0.5, 0.9, 1.0), (0.95, 0.75, 0.8))
STEM_GAINS = (1.0, 0.8, 0.9, 0.7)
LEVEL = 1.8  # a little too loud for full scale at times, so that the limiter has work
# What an equaliser of shelves and a bell needs to stand for bands that meet at these.
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

    `fade`: "in" or "out" for a straight line from or to silence over the whole scene, "" for
    none.
    """

    stems: tuple[Stem, ...]
    eq: tuple[float, float, float]
    level: float
    fade: str = ""

    @property
    def begin(self) -> float:
        """Level at the first frame."""
        return 0.0 if self.fade == "in" else self.level

    @property
    def end(self) -> float:
        """Level at the last frame."""
        return 0.0 if self.fade == "out" else self.level

    @property
    def flat(self) -> bool:
        """Whether the equaliser would change nothing."""
        return self.eq == FLAT


@dataclass(frozen=True)
class Scene:
    """What is rendered: all decks from their beginnings, at `rate`, to stereo float32.

    `rate` is an exact fraction of whole numbers below 1000. `stem_seconds`: length of every
    file. `limiter`: whether the master goes through one.
    """

    decks: tuple[Deck, ...]
    stem_seconds: float
    rate: float = RATE
    sample_rate: int = material.RATE
    limiter: bool = True

    @property
    def frames(self) -> int:
        """Frames of the result."""
        return int(self.stem_seconds * self.sample_rate / self.rate)

    @property
    def seconds(self) -> float:
        """Length of the result."""
        return self.frames / self.sample_rate

    def to_json(self) -> str:
        """The scene as text, for programs that are scripts, with its derived figures."""
        return json.dumps(
            dataclasses.asdict(self)
            | {"frames": self.frames, "seconds": self.seconds}
            | {"low_hz": LOW_HZ, "mid_hz": MID_HZ, "high_hz": HIGH_HZ}
            | {"shelf_q": SHELF_Q, "mid_q": MID_Q, "release_seconds": RELEASE_SECONDS}
        )

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """The scene that `to_json` wrote."""
        said = json.loads(text)
        fields = {field.name: said[field.name] for field in dataclasses.fields(cls)}
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
    """A linear gain in dB."""
    return 20.0 * math.log10(gain)


def mix_scene(stem_seconds: float) -> Scene:
    """Four decks of four stems (16-bit stereo), crossfaded from A and B to C and D."""
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
    """One deck with one stem, a sine in float32, through nothing but the rate conversion."""
    path = material.cache_folder() / f"sine-{hertz:g}.wav"
    frames = round(SINE_SECONDS * material.RATE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = SINE_LEVEL * np.sin(2.0 * np.pi * hertz * np.arange(frames) / material.RATE)
        stereo = np.column_stack((wave, wave)).astype(np.float32)
        soundfile.write(path, stereo, material.RATE, subtype="FLOAT")
    deck = Deck((Stem(str(path), 1.0),), FLAT, 1.0)
    return Scene((deck,), SINE_SECONDS, limiter=False)
