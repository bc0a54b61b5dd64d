"""Sound for broadcasts, and comparison of what a receiver has decoded with it."""

from __future__ import annotations

import io
import urllib.request
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

RATE = 44100


def music(seconds: float, seed: int = 1, rate: int = RATE) -> np.ndarray:
    """Return notes of random pitch, `(frames, 2)`, float32: no two seconds are alike."""
    random = np.random.default_rng(seed)
    note = rate // 8
    time = np.arange(note) / rate
    notes = []
    for _ in range(round(8 * seconds)):
        chord = sum(
            np.sin(2 * np.pi * pitch * time + phase)
            for pitch, phase in zip(random.uniform(100, 4000, 4), random.uniform(0, 6, 4),
                                    strict=True)
        )
        notes.append(0.08 * np.asarray(chord) * np.exp(-6 * time))
    mono = np.concatenate(notes)
    return np.stack([mono, 0.5 * mono], axis=1).astype(np.float32)


def write_music(path: Path, seconds: float, seed: int = 1, rate: int = RATE) -> np.ndarray:
    """Write `music` to a file and return it."""
    sound = music(seconds, seed, rate)
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return sound


def decode(data: bytes | str, rate: int = RATE, limit: int = 1 << 40) -> np.ndarray:
    """Decode a stream, or the file at an address, to float32 frames at `rate`: `limit` or more.

    A live stream has no end, so it needs a limit.
    """
    parts: list[np.ndarray] = []
    decoded = 0
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=rate)
    with av.open(source) as container:
        for packet in container.demux(audio=0):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # a listener joins between two frames
                continue
            for frame in frames:
                parts += [one.to_ndarray() for one in resampler.resample(frame)]
                decoded += frame.samples
            if decoded >= limit:
                break
    return np.concatenate(parts, axis=1).T


def tags(data: bytes) -> dict[str, str]:
    """Return the comments at the beginning of an Ogg stream, by name in upper case."""
    with av.open(io.BytesIO(data)) as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    return {name.upper(): text for name, text in found.items()}


def listen(url: str, size: int, headers: dict[str, str] | None = None) -> tuple[bytes, Any]:
    """Receive `size` bytes of a stream; return them and the response's headers."""
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(size), answer.headers


def correlation(received: np.ndarray, source: np.ndarray) -> tuple[float, int]:
    """Return the largest normalized correlation of a received stretch with `source`, and where."""
    needle, hay = received.astype(float), source.astype(float)
    size = 1 << (len(hay) + len(needle) - 1).bit_length()
    product = sum(
        np.fft.irfft(
            np.fft.rfft(hay[:, side], size) * np.conj(np.fft.rfft(needle[:, side], size)), size
        )[: len(hay) - len(needle) + 1]
        for side in range(2)
    )
    energy = np.concatenate([[0.0], np.cumsum((hay**2).sum(axis=1))])
    windows = energy[len(needle) :] - energy[: len(hay) - len(needle) + 1]
    scale = np.sqrt(np.maximum(windows, 1e-9) * max((needle**2).sum(), 1e-9))
    found = np.asarray(product) / scale
    best = int(np.argmax(found))
    return float(found[best]), best
