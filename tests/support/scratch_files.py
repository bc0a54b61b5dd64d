"""Files for the fuzz targets: a temporary folder of this process with some sound files."""

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
    """Return a memory file system, or None if there is none or in a run of the tests.

    Such a run has its own temporary folder, which is removed in all cases.
    """
    return "/dev/shm" if Path("/dev/shm").is_dir() and MARK not in os.environ else None


@functools.cache
def folder() -> Path:
    """Return an empty folder, in memory if possible.

    It is inside the folder that the variable `PLACE` names, if set: atheris ends its process
    without cleaning up, so its parent process must do that.
    """
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=os.environ.get(PLACE, base())))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def noise(frames: int, channels: int, seed: int) -> np.ndarray:
    """Return soft noise in bursts, float64 `(frames, channels)`."""
    random = np.random.default_rng(seed)
    gate = np.sin(np.arange(frames)[:, None] / 3000.0) > -0.3
    return gate * random.uniform(-0.3, 0.3, (frames, channels))


@functools.cache
def music() -> Path:
    """A folder with a short file, a folder of stems, a long file, and invalid files."""
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
