"""Write audio files of every supported kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

WriteSound = Callable[..., Path]


class _Linear(soundfile.SoundFile):  # type: ignore[misc]
    """A file that only reads: soundfile would seek before and after each read."""

    def seekable(self) -> bool:
        return False


def linear_decode(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    """Decode the whole file from its beginning: shape (frames, channels)."""
    with _Linear(path) as file:
        decoded: npt.NDArray[Any] = file.read(file.frames, dtype=dtype, always_2d=True)
    return decoded


def _noisy_music(frames: int, rate: int, channels: int) -> npt.NDArray[np.float64]:
    """Return deterministic bursts of noise between near-silence, of shape (frames, channels).

    The changes of level make encoders fill the bit reservoir and switch block lengths, which makes
    their files hard to enter in the middle.
    """
    random = np.random.default_rng(frames + channels)
    seconds = np.arange(frames)[:, None] / rate
    gate = np.sin(7.0 * seconds) > -0.3
    tone = 0.3 * np.sin(2 * np.pi * 330.0 * seconds)
    sound: npt.NDArray[np.float64] = gate * tone + (0.15 * gate + 1e-4) * random.uniform(
        -1, 1, (frames, channels)
    )
    return sound


@pytest.fixture(scope="session")
def write_sound() -> WriteSound:
    """`write_sound(path, rate=44100, channels=2, frames=..., samples=None, **soundfile_options)`.

    Writes in small blocks, because libsndfile's Vorbis encoder overflows its stack on large ones.
    """

    def write(
        path: Path,
        rate: int = 44100,
        channels: int = 2,
        frames: int = 88_200,
        samples: npt.NDArray[Any] | None = None,
        **options: Any,
    ) -> Path:
        if samples is None:
            samples = _noisy_music(frames, rate, channels)
        samples = samples[:, None] if samples.ndim == 1 else samples
        with soundfile.SoundFile(path, "w", rate, samples.shape[1], **options) as file:
            for start in range(0, len(samples), 4096):
                file.write(samples[start : start + 4096])
        return path

    return write
