"""Conversion of the mix to the sample rate of a device."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.engine.drivers.rate_converter import RateConverter


class Source:
    """Returns consecutive frames, and counts them."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples
        self.given = 0

    def fill(self, count: int) -> np.ndarray:
        self.given += count
        return self.samples[self.given - count : self.given]


def tone(hertz: float, rate: float, frames: int, phase: float = 0.0) -> np.ndarray:
    turns = 2 * np.pi * hertz * np.arange(frames) / rate
    return np.stack([np.sin(turns + phase), np.cos(turns + phase)], 1).astype(np.float32)


def converted(source: Source, rate: float, device: float, blocks: list[int]) -> np.ndarray:
    one = RateConverter(rate, device, source.samples.shape[1], max(blocks))
    return np.concatenate([one.read(frames, source.fill).copy() for frames in blocks])


RATES = [(44100.0, 48000.0), (48000.0, 44100.0), (44100.0, 96000.0), (96000.0, 44100.0)]


@pytest.mark.parametrize(("rate", "device"), RATES)
@pytest.mark.parametrize("hertz", [100.0, 1000.0, 10000.0, 17000.0])
def test_a_tone_keeps_its_frequency_and_level(rate: float, device: float, hertz: float) -> None:
    source = Source(tone(hertz, rate, 60_000))
    out = converted(source, rate, device, [279] * 40)
    expected = tone(hertz, device, len(out))
    error = np.abs(out - expected)[1000:]
    assert 20 * np.log10(error.max()) < -85.0


def test_frequencies_above_the_lower_rates_limit_do_not_alias() -> None:
    source = Source(tone(30_000.0, 96000.0, 60_000))
    out = converted(source, 96000.0, 44100.0, [256] * 40)
    assert 20 * np.log10(np.abs(out[1000:]).max()) < -85.0


@pytest.mark.parametrize(("rate", "device"), RATES)
def test_the_first_frame_stays_first_and_no_frame_is_lost(rate: float, device: float) -> None:
    samples = np.zeros((120_000, 2), np.float32)
    samples[0] = samples[12_000] = 1.0
    source = Source(samples)
    blocks = [1, 7, 512, 513, 1200] * 20
    out = converted(source, rate, device, blocks)[:, 0]
    assert int(np.argmax(out[:1000])) == 0
    again = 1000 + int(np.argmax(out[1000:]))
    assert again == pytest.approx(12_000 * device / rate, abs=1.0)
    assert source.given == pytest.approx(sum(blocks) * rate / device, abs=100)


def test_the_block_size_does_not_change_the_output() -> None:
    samples = np.random.default_rng(3).uniform(-1, 1, (20_000, 4)).astype(np.float32)
    whole = converted(Source(samples), 44100.0, 48000.0, [4000] * 3)
    cut = converted(Source(samples), 44100.0, 48000.0, [1, 599, 3400, 2000, 2048, 3952])
    assert np.array_equal(whole, cut)


def test_a_constant_and_silence_are_preserved() -> None:
    level = np.full((20_000, 2), 0.25, np.float32)
    out = converted(Source(level), 44100.0, 48000.0, [300] * 30)[200:]
    assert np.abs(out - 0.25).max() < 3e-7
    assert not converted(Source(0 * level), 44100.0, 48000.0, [300] * 30).any()


def test_a_block_above_the_maximum_is_silence() -> None:
    one = RateConverter(44100.0, 48000.0, 2, 64)
    assert one.read(65, lambda count: np.ones((count, 2), np.float32)).tolist() == [[0, 0]] * 65


def test_rates_without_a_common_divisor_are_refused() -> None:
    with pytest.raises(ValueError, match="can't be converted"):
        RateConverter(44100.0, 192_001.0, 2, 64)
