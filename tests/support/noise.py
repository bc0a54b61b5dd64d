"""Noise to play, and where a recording of it begins."""

from __future__ import annotations

import numpy as np

RATE = 44100


def noise(seconds: float, seed: int) -> np.ndarray:
    """16-bit stereo noise that begins with a second of silence; shape (frames, 2)."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-6000, 6000, (int(seconds * RATE), 2)).astype(np.int16)
    samples[:RATE] = 0
    return samples


def place_of(needle: np.ndarray, haystack: np.ndarray) -> int:
    """Where `needle` (float, one channel) begins in `haystack`, by its cross-correlation."""
    size = 1 << (len(haystack) + len(needle)).bit_length()
    spectrum = np.fft.rfft(haystack, size) * np.conj(np.fft.rfft(needle, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(haystack)]))
