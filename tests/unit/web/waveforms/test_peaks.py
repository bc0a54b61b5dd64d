"""Buckets compared with values that numpy computes from the same samples."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from crowdstream.web.waveforms.peak_file import BLOCK, MAX_BUCKET, Shape, TooLong, key
from crowdstream.web.waveforms.peaks import ENERGY, Analyser, coarser, encode

RATE = 44100


def buckets_of(samples: npt.NDArray[Any], rate: int = RATE) -> npt.NDArray[np.uint8]:
    """Level 0 of some samples, shape (frames, channels)."""
    shape = Shape.of(rate, len(samples))
    dtype: Any = str(samples.dtype)
    analyser = Analyser(shape, samples.shape[1], dtype)
    parts = []
    for begin in range(0, len(samples), analyser.chunk):
        some = samples[begin : begin + analyser.chunk]
        analyser.room(len(some))[:] = some
        parts.append(analyser.buckets(len(some)))
    return np.concatenate(parts)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_peaks_match_the_samples(channels: int, dtype: str) -> None:
    random = np.random.default_rng(5)
    sound = random.uniform(-1, 1, (100_003, channels)) * random.uniform(0, 1.2, (100_003, 1)) ** 3
    sound[70_000] = 1.5
    if dtype == "int16":
        sound = np.clip(np.round(sound * 32768), -32768, 32767)
    samples = sound.astype(dtype)
    got = buckets_of(samples)
    scale = 32768 if dtype == "int16" else 1
    for at in range(len(got)):
        peak = np.abs(samples[128 * at : 128 * at + 128].astype(np.float64)).max() / scale
        assert got[at, 0] == min(255, np.ceil(255 * peak))


def test_a_quiet_sound_is_not_silence() -> None:
    samples = np.zeros((1024, 2), np.int16)
    samples[300, 1] = -1
    assert buckets_of(samples)[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


def tone(hertz: float, rate: int = RATE, channels: int = 2, seconds: float = 1.0) -> Any:
    at = np.arange(int(rate * seconds)) / rate
    return np.repeat(np.sin(2 * np.pi * hertz * at)[:, None], channels, axis=1)


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("hertz", "band"), [(60, 0), (440, 1), (1000, 1), (4000, 2), (9000, 2)])
def test_a_tone_is_in_its_band_with_its_level(
    rate: int, channels: int, hertz: float, band: int
) -> None:
    got = buckets_of((0.5 * tone(hertz, rate, channels)).astype(np.float32), rate)
    energy = ENERGY[got[:, 1:]].mean(axis=0)
    assert energy[band] == pytest.approx(0.125, rel=0.05)
    assert energy.sum() - energy[band] < 0.03 * energy[band]


def test_opposite_channels_do_not_cancel() -> None:
    sound = 0.5 * tone(1000)
    sound[:, 1] *= -1
    energy = ENERGY[buckets_of(sound.astype(np.float32))[:, 1:]].mean(axis=0)
    assert energy[1] == pytest.approx(0.125, rel=0.05)


def test_a_click_at_the_border_of_two_spectra_is_detected() -> None:
    for at in (0, 511, 512):
        sound = np.zeros((1024, 2), np.float32)
        sound[at] = 0.9
        bucket = buckets_of(sound)[at // 128]
        assert bucket[0] == np.ceil(255 * np.float32(0.9))
        assert bucket[3] > bucket[2] > bucket[1] > 0  # a click has a wide spectrum


def test_levels_are_consistent() -> None:
    random = np.random.default_rng(3)
    fine = random.integers(0, 256, (1001, 4)).astype(np.uint8)
    got = coarser(fine)
    assert len(got) == 251
    padded = np.concatenate([fine, np.zeros((3, 4), np.uint8)]).reshape(251, 4, 4)
    assert np.array_equal(got[:, 0], padded[:, :, 0].max(axis=1))
    exact = ENERGY[padded[:, :, 1:]].mean(axis=1)
    within = 10 ** (0.375 / 20)  # half a step
    told = ENERGY[got[:, 1:]]
    assert np.all((told <= exact * within * 1.001) & (told * within * 1.001 >= exact))


def test_energies_are_quantized() -> None:
    assert np.array_equal(encode(ENERGY), np.arange(256))
    assert encode(np.array([0.0, 1e-30, 4.0])).tolist() == [0, 0, 255]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 88200, 96000, 192000])
def test_a_bucket_lasts_about_as_long_at_any_rate(rate: int) -> None:
    shape = Shape.of(rate, rate * 600)
    assert 0.0015 < shape.bucket / rate < 0.004
    assert 0.008 <= shape.window / rate < 0.016
    assert shape.counts[0] == -(-rate * 600 // shape.bucket)
    assert all(-(-a // 4) == b for a, b in zip(shape.counts, shape.counts[1:], strict=False))
    assert shape.counts[-1] <= BLOCK


def test_long_sounds_have_longer_buckets_up_to_a_limit() -> None:
    assert Shape.of(RATE, RATE * 3 * 3600).bucket == 128
    assert Shape.of(RATE, RATE * 13 * 3600).size < 30 << 20
    longest = (1 << 22) * MAX_BUCKET
    shape = Shape.of(RATE, longest)
    assert shape.bucket == MAX_BUCKET
    with pytest.raises(TooLong):
        Shape.of(RATE, longest + 1)


def test_very_long_buckets_hold_several_spectra() -> None:
    shape = Shape(RATE, RATE, 4096)
    analyser = Analyser(shape, 1, "float32")
    sound = tone(1000, channels=1)[:8192].astype(np.float32)
    analyser.room(8192)[:] = sound
    got = analyser.buckets(8192)
    assert got.shape == (2, 4)
    assert ENERGY[got[0, 2]] == pytest.approx(0.5, rel=0.05)


def test_another_file_has_another_key(tmp_path: Path) -> None:
    keys = {key("a", (1, 2)), key("a", (1, 3)), key("a", (2, 2)), key("b", (1, 2))}
    assert len(keys) == 4
