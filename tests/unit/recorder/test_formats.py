"""Quantization: to the nearest step in 24 bits, with dither in 16, and clipped at full scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.recorder.formats import FormatError, format_of, to_int16, to_int24


def test_24_bits_are_rounded_to_the_nearest_step() -> None:
    steps = np.array([[-8388608, 8388607], [0, 1], [-1, 4194305]])
    assert np.array_equal(to_int24((steps / 2**23).astype(np.float32)), steps)
    near = np.array([[1.4, 1.6], [-1.4, -1.6], [0.5, 1.5]]) / 2**23
    assert to_int24(near.astype(np.float32)).tolist() == [[1, 2], [-1, -2], [0, 2]]
    beyond = np.array([[1.0, 9.0], [-1.5, np.nan]], np.float32)
    assert to_int24(beyond).tolist() == [[8388607, 8388607], [-8388608, 0]]


def test_samples_exact_in_16_bits_are_written_unchanged() -> None:
    steps = np.arange(-32768, 32768).reshape(-1, 2)
    assert np.array_equal(to_int16((steps / 32768).astype(np.float32), 12345), steps)
    assert to_int16(np.array([[1.0, np.inf], [-2.0, np.nan]], np.float32), 0).tolist() == [
        [32767, 32767], [-32768, 0],
    ]


def test_the_16_bit_error_is_noise_independent_of_the_signal() -> None:
    # Triangular dither makes mean and power of the error the same at every level.
    for level in (0.1, 0.25, 0.5, 0.9):
        frames = np.full((100_000, 2), (1000 + level) / 32768, np.float32)
        error = to_int16(frames, 7) - frames.astype(np.float64) * 32768
        assert np.abs(error).max() <= 1.5
        assert abs(error.mean()) < 0.01
        assert error.var() == pytest.approx(3 / 12, rel=0.02)
        assert abs(float(np.mean(error[:, 0] * error[:, 1]))) < 0.01


def test_dither_depends_only_on_the_frame_number() -> None:
    frames = np.random.default_rng(1).uniform(-0.9, 0.9, (300_000, 2)).astype(np.float32)
    whole = to_int16(frames, 0)
    parts = [to_int16(frames[at : at + 7001], at) for at in range(0, 300_000, 7001)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("name", "chosen", "form"),
    [
        ("a.wav", "", "wav24"), ("a.WAV", "float", "float"), ("a", "", "wav24"),
        ("a", "flac", "flac"), ("a.flac", "", "flac"), ("a.b.wav", "wav16", "wav16"),
    ],
)
def test_the_extension_determines_the_format(name: str, chosen: str, form: str) -> None:
    assert format_of(Path(name), chosen) == form


@pytest.mark.parametrize(
    ("name", "chosen", "reason"),
    [
        ("a.mp3", "", "not in .mp3"), ("a.flac", "wav16", "ends in .wav"),
        ("a.wav", "flac", "ends in .flac"), ("a.wav.gz", "wav16", "not in .gz"),
    ],
)
def test_a_format_that_does_not_match_the_extension_is_refused(
    name: str, chosen: str, reason: str
) -> None:
    with pytest.raises(FormatError, match=reason):
        format_of(Path(name), chosen)
