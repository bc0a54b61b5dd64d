"""Sound files for the benchmarks, generated once and kept in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.wav_header import HEADER_BYTES, wav_header

RATE = 44100
FRAME_BYTES = 4  # 16-bit stereo
STEMS = ("drums", "bass", "vocals", "other")
BIG_BYTES = 140_000_000  # 13 min 13 s
LONG_SECONDS = 3 * 3600
PATTERN_SECONDS = 10
LEVEL = 0.05  # RMS of a stem, full scale 1: sixteen of them do not reach the limiter


def cache_folder() -> Path:
    """Return the cache folder, `$XDG_CACHE_HOME/crowdstream/bench`."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".cache"
    return base / "crowdstream" / "bench"


def pattern(seed: int, frames: int = PATTERN_SECONDS * RATE) -> np.ndarray:
    """Return noise with a beat, int16, shape `(frames, 2)`; the first frame is not silent."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((frames, 2))
    beat = np.arange(frames) / RATE * (1.8 + 0.1 * (seed % 5))
    envelope = (0.3 + np.exp(-4.0 * (beat % 1.0)))[:, None]
    sound = LEVEL * 32767 * noise * envelope
    sound[0] = 3000.0
    return np.clip(sound, -32767, 32767).astype("<i2")


def write_wav(path: Path, data_bytes: int, seed: int, sparse: bool = False) -> None:
    """Write a WAV file with `data_bytes` of samples.

    `sparse`: only its first pattern uses disk space. The file is renamed into place when complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data_bytes -= data_bytes % FRAME_BYTES
    block = pattern(seed).tobytes()
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(wav_header(data_bytes))
        if sparse:
            file.write(block[:data_bytes])
            file.truncate(HEADER_BYTES + data_bytes)
        else:
            for begin in range(0, data_bytes, len(block)):
                file.write(block[: data_bytes - begin])
    os.replace(part, path)


def _ensure(path: Path, data_bytes: int, seed: int, sparse: bool = False) -> Path:
    whole = HEADER_BYTES + data_bytes - data_bytes % FRAME_BYTES
    if not path.exists() or path.stat().st_size != whole:
        write_wav(path, data_bytes, seed, sparse)
    return path


def deck_folders(
    data_bytes: int = BIG_BYTES, report: Callable[[str], None] = lambda _text: None
) -> list[Path]:
    """Return four folders of four different stems, each stem of `data_bytes`."""
    root = cache_folder() / f"decks-{data_bytes}"
    folders = []
    for deck, letter in enumerate("ABCD"):
        for number, stem in enumerate(STEMS):
            path = root / letter / f"{stem}.wav"
            if not path.exists():
                report(f"writing {letter}/{path.name}, {data_bytes / 1e6:.0f} MB")
            _ensure(path, data_bytes, 16 + 4 * deck + number)
        folders.append(root / letter)
    return folders


def big_file(data_bytes: int = BIG_BYTES) -> Path:
    """Return another file of that size, which is not in a deck's folder."""
    return _ensure(cache_folder() / f"one-{data_bytes}.wav", data_bytes, 7)


def long_file(seconds: int = LONG_SECONDS) -> Path:
    """Return a file of three hours: ten seconds of sound, then silence without disk usage."""
    path = cache_folder() / f"long-{seconds}.wav"
    return _ensure(path, seconds * RATE * FRAME_BYTES, 8, sparse=True)


def forget_cached(path: Path) -> bool:
    """Ask the kernel to drop a file from its page cache, so that reads go to the disk.

    Return False if the system does not support it.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True
