"""Folders of short synthetic stems that differ in pitch and add up to a mix, as real stems do."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 44100
SECONDS = 4.0
Floats = npt.NDArray[np.float32]
# Unicode normal forms, each with the other one.
SPELLINGS: tuple[tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]], ...] = (
    ("NFC", "NFD"), ("NFD", "NFC"),
)  # fmt: skip


def parts(seconds: float = SECONDS, seed: int = 1) -> dict[str, Floats]:
    """Return drums, bass, vocals and other of one track, mono and uncorrelated."""
    return dict(_parts(seconds, seed))


@functools.lru_cache(8)
def _parts(seconds: float, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    # another seed has another tempo and key
    time = np.arange(count) / RATE * (1 + 0.03 * (seed - 1))
    beat = np.exp(-((time * 2.0) % 1.0) * 8)
    drums = 0.2 * beat * (rng.standard_normal(count) + 2 * np.sin(2 * np.pi * 60 * time))
    bass = 0.2 * np.sin(2 * np.pi * 55 * time + 3 * np.sin(2 * np.pi * 0.31 * time))
    sung = 0.15 * np.sin(2 * np.pi * 620 * time + 9 * np.sin(2 * np.pi * 0.7 * time))
    other = 0.12 * np.sin(2 * np.pi * 1300 * time + 5 * np.sin(2 * np.pi * 0.23 * time))
    made = {"drums": drums, "bass": bass, "vocals": sung * (time % 2 < 1.4), "other": other}
    sounds = {name: sound.astype(np.float32) for name, sound in made.items()}
    for sound in sounds.values():
        sound.flags.writeable = False  # shared by all callers
    return sounds


def noises(names: Sequence[str], frames: int = RATE, seed: int = 1) -> dict[str, Floats]:
    """Return different noise for each name."""
    rng = np.random.default_rng(seed)
    return {name: (0.05 * rng.standard_normal(frames)).astype(np.float32) for name in names}


def mixed(sounds: dict[str, Floats], *without: str) -> Floats:
    """Return the sum of all sounds except those named in `without`."""
    chosen = [sound for name, sound in sounds.items() if name not in without]
    whole: Floats = np.sum(chosen, axis=0, dtype=np.float32)
    return whole


def song(seconds: float, seed: int) -> Floats:
    """Return a whole track."""
    return mixed(parts(seconds, seed))


def put(path: Path, sound: Floats, **options: str) -> Path:
    """Write a stereo file, with 24 bits if its format supports them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".wav", ".flac"):
        options.setdefault("subtype", "PCM_24")
    soundfile.write(path, np.stack([sound, sound], axis=1), RATE, **options)
    return path


def put_all(folder: Path, sounds: dict[str, Floats], name: str = "{}.wav") -> Path:
    """Write each sound to a file named after it."""
    for stem, sound in sounds.items():
        put(folder / name.format(stem), sound)
    return folder
