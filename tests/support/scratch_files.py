"""Files for the targets: a folder of this process, gone with it, and some sound in it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from tests.support.processes import MARK

RATE = 44100
PLACE = "FUZZ_FOLDER"
PREFIX = "crowdstream-fuzz-"
SONG_STEMS = ("drums", "bass", "vocals")


def base() -> str | None:
    """Where memory is a file system; None where it is not, and in a run of the tests.

    Such a run has a temporary folder of its own, which is removed whatever becomes of it.
    """
    return "/dev/shm" if Path("/dev/shm").is_dir() and MARK not in os.environ else None


@functools.cache
def folder() -> Path:
    """An empty folder, in memory where that can be had.

    Inside of the one that the variable `PLACE` names, where it is set: atheris ends its process
    without cleaning up, so whoever started it does.
    """
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=os.environ.get(PLACE, base())))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def noise(frames: int, channels: int, seed: int) -> np.ndarray:
    """Soft noise in bursts, float64 `(frames, channels)`."""
    random = np.random.default_rng(seed)
    gate = np.sin(np.arange(frames)[:, None] / 3000.0) > -0.3
    return gate * random.uniform(-0.3, 0.3, (frames, channels))


@functools.cache
def music() -> Path:
    """A folder with a short file, a folder of stems, a long file, and files that are none."""
    root = folder() / "music"
    root.mkdir()
    soundfile.write(root / "short.wav", noise(RATE // 2, 2, 1), RATE, subtype="PCM_16")
    soundfile.write(root / "mono.wav", noise(24000, 1, 2), 48000, subtype="FLOAT")
    soundfile.write(root / "long.wav", noise(RATE * 40, 2, 3), RATE, subtype="PCM_16")
    (root / "short.crowdstream.toml").write_text("[grid]\nbpm = 120.0\n")
    song = root / "song"
    song.mkdir()
    for number, name in enumerate(SONG_STEMS):
        soundfile.write(song / f"{name}.wav", noise(RATE, 2, number), RATE, subtype="PCM_16")
    (song / "crowdstream.toml").write_text("[grid]\nanchors = [[0, 0.1], [1, 0.5], [2, 1.0]]\n")
    (root / "text.wav").write_text("To be played at the party.\n" * 50)
    (root / "empty.wav").touch()
    (root / "cut.wav").write_bytes((root / "short.wav").read_bytes()[:5000])
    (root / "nothing").mkdir()
    return root
