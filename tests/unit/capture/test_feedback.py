"""Detection of feedback: loops are found, singers beside loudspeakers and other music are not."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.capture.feedback import STEP_SECONDS, FeedbackDetector, Match, compare

RATE = 44100.0
DEVICE_RATE = 48000.0
SECONDS = 10.0


def music(seconds: float, seed: int = 1, rate: float = RATE) -> np.ndarray:
    """Pink noise with beats: broadband, loud in the bass, and never the same twice."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal(frames))
    hertz = np.fft.rfftfreq(frames, 1.0 / rate)
    sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 30.0)), frames)
    beats = 0.3 + np.exp(-8.0 * (np.arange(frames) / rate * 2.0 % 1.0))
    sound *= beats
    loud: np.ndarray = 0.15 * sound / np.sqrt(np.mean(sound**2))
    return loud


def voice(seconds: float, seed: int = 2, rate: float = DEVICE_RATE) -> np.ndarray:
    """A singer: harmonics of a gliding pitch, in phrases with pauses."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    pitch = 220.0 * 2.0 ** (0.3 * np.sin(2.0 * np.pi * 0.7 * times))
    phase = 2.0 * np.pi * np.cumsum(pitch) / rate
    sung = sum(np.sin(number * phase) / number for number in range(1, 15))
    phrase = (np.sin(2.0 * np.pi * 0.35 * times) > -0.2).astype(float)
    breath = 0.05 * rng.standard_normal(len(times))
    sound: np.ndarray = 0.12 * (sung + breath) * phrase
    return sound


def delayed(sound: np.ndarray, seconds: float, ppm: float = 0.0) -> np.ndarray:
    """`sound`, recorded by a device whose clock is fast by `ppm`, later by `seconds`."""
    rate = DEVICE_RATE * (1.0 + ppm * 1e-6)
    times = np.arange(int(len(sound) / RATE * rate)) / rate - seconds
    heard: np.ndarray = np.interp(times * RATE, np.arange(len(sound)), sound, left=0.0)
    return heard


def room(sound: np.ndarray, seed: int = 3) -> np.ndarray:
    """Add the reverberation of a small hall: the direct sound is half of the energy."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(0.4 * RATE)) / RATE
    tail = rng.standard_normal(len(times)) * np.exp(-times / 0.1)
    tail[: round(0.005 * RATE)] = 0.0
    size = 1 << (len(sound) + len(tail)).bit_length()
    tail /= np.sqrt(np.sum(tail**2))
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    both: np.ndarray = sound + wet
    return both


def detect(
    mix: np.ndarray, captured: np.ndarray, strip_gain: float = 1.0, ppm: float = 0.0
) -> tuple[float, Match] | None:
    """Feed both signals step by step: seconds until feedback is detected, and the match."""
    detector = FeedbackDetector(RATE, DEVICE_RATE)
    rate = DEVICE_RATE * (1.0 + ppm * 1e-6)
    for step in range(int(len(mix) / RATE / STEP_SECONDS)):
        for add, sound, hertz in (
            (detector.add_music, mix, RATE), (detector.add_captured, captured, rate)
        ):
            begin, end = (round(n * STEP_SECONDS * hertz) for n in (step, step + 1))
            mono = sound[begin:end].astype(np.float32)
            add(np.stack([mono, mono], 1))
        match = detector.step(rate / RATE, strip_gain)
        if match is not None:
            return (step + 1) * STEP_SECONDS, match
    return None


@pytest.mark.parametrize("ppm", [0.0, 200.0])
@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.7])
def test_an_input_that_carries_the_output_is_detected(seconds: float, ppm: float) -> None:
    mix = music(SECONDS)
    found = detect(mix, delayed(mix, seconds, ppm), ppm=ppm)
    assert found is not None and found[0] <= 4.0
    assert found[1].gain == pytest.approx(1.0, abs=0.15)  # the averaging costs some treble
    assert found[1].delay == pytest.approx(seconds, abs=0.002)
    assert found[1].agreement > 0.5


def test_feedback_is_detected_while_the_loop_builds_up() -> None:
    # Gain 1 around the loop: each pass adds the music once more.
    mix = music(SECONDS)
    echoes = sum(delayed(mix, 0.06 * number) for number in range(1, 60))
    found = detect(mix, np.asarray(echoes))
    assert found is not None and found[0] <= 4.0 and found[1].gain > 0.5


def test_a_loudspeaker_in_a_hall_is_detected_and_so_is_inverted_polarity() -> None:
    mix = music(SECONDS)
    assert detect(mix, delayed(room(mix), 0.05)) is not None
    assert detect(mix, -delayed(mix, 0.05)) is not None


def test_the_gain_of_the_strip_belongs_to_the_loop() -> None:
    mix = music(SECONDS)
    captured = 0.2 * delayed(mix, 0.05)
    assert detect(mix, captured) is None
    found = detect(mix, captured, strip_gain=4.0)
    assert found is not None and found[1].gain == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a_singer_beside_a_loudspeaker_is_not_feedback(seed: int) -> None:
    # The music arrives 20 dB below the mix, also in the pauses of the singer.
    mix = music(SECONDS, 10 + seed)
    bleed = 0.1 * delayed(mix, 0.04)
    assert detect(mix, bleed + voice(SECONDS, seed)[: len(bleed)]) is None
    assert detect(mix, bleed) is None
    # And beside music that is ducked by 20 dB, so that the voice is far louder than the reference.
    quiet = 0.1 * mix
    assert detect(quiet, 0.1 * bleed + 2.0 * voice(SECONDS, seed)[: len(bleed)]) is None


def test_drones_and_other_music_are_not_feedback() -> None:
    mix = music(SECONDS)
    times = np.arange(round(SECONDS * DEVICE_RATE)) / DEVICE_RATE
    assert detect(mix, 0.5 * np.sin(2.0 * np.pi * 220.0 * times)) is None
    assert detect(mix, music(SECONDS, 99, DEVICE_RATE)) is None
    drone = 0.3 * np.sin(2.0 * np.pi * 220.0 * np.arange(len(mix)) / RATE)
    assert detect(mix, np.zeros(len(times))) is None
    assert compare(0.0 * drone[:4000], drone[:2000], 8000.0) is None


def test_after_the_loop_is_broken_nothing_is_detected_any_more() -> None:
    mix = music(SECONDS)
    captured = delayed(mix, 0.05)
    detector = FeedbackDetector(RATE, DEVICE_RATE)
    results = []
    for step in range(int(SECONDS / STEP_SECONDS)):
        for add, sound, hertz in (
            (detector.add_music, mix, RATE), (detector.add_captured, captured, DEVICE_RATE)
        ):
            begin, end = (round(n * STEP_SECONDS * hertz) for n in (step, step + 1))
            mono = sound[begin:end] * (0.0 if add == detector.add_captured and step > 20 else 1.0)
            add(np.stack([mono, mono], 1).astype(np.float32))
        results.append(detector.step(DEVICE_RATE / RATE, 1.0) is not None)
    assert any(results[:20]) and not any(results[26:])
