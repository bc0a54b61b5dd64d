"""The output's resampler, by which a room keeps in step with others."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.ramps import RAMP_PFL
from crowdstream.engine.render import render
from tests.support.render_harness import RATE, RenderHarness, noise, sine

FRAMES = 60_000
BLOCKS = (64, 1, 500, 3000, 17)


def started(samples: np.ndarray) -> RenderHarness:
    """A desk that plays samples at the unit rate on deck A, also to the cue bus."""
    made = RenderHarness(pages=64)
    made.ramp(RAMP_PFL, 1.0)
    made.start(0, made.load(samples))
    return made


def play(harness: RenderHarness, frames: int, blocks: tuple[int, ...] = BLOCKS) -> np.ndarray:
    """The master and the cue bus that the device receives, `(frames, 4)`."""
    parts = []
    done = number = 0
    while done < frames:
        out = np.zeros((min(blocks[number % len(blocks)], frames - done), 2), np.float32)
        render(harness.desk, out)
        parts.append(np.concatenate((out, harness.desk.cue_out[: len(out)]), 1))
        done += len(out)
        number += 1
    return np.concatenate(parts)


@pytest.fixture
def samples() -> np.ndarray:
    return (noise(FRAMES) / 65536).astype(np.float32)


def test_without_a_correction_the_mix_is_unchanged(samples: np.ndarray) -> None:
    with started(samples) as plain, started(samples) as steered:
        steered.desk.steering["on"] = 1
        wanted, found = play(plain, FRAMES // 2), play(steered, FRAMES // 2)
        assert np.array_equal(found, wanted)
        assert np.abs(wanted[:, 2:]).max() > 0.05
        assert int(steered.desk.steering["out"]) == int(plain.desk.steering["out"]) == FRAMES // 2


@pytest.mark.parametrize("rate", [1e-4, -1e-4, 0.001])
def test_the_mix_is_played_at_the_wanted_rate(rate: float) -> None:
    hertz = 1000.0
    samples = sine(hertz, FRAMES, level=0.5)
    with started(samples) as harness:
        steering = harness.desk.steering
        steering["on"], steering["wanted"] = 1, rate
        play(harness, 2 * 44100 // 5)
        place = float(steering["place"]) + float(steering["fraction"])
        out = play(harness, 4410)[:, 0].astype(np.float64)
        moved = float(steering["place"]) + float(steering["fraction"]) - place
        assert moved == pytest.approx(4410 * (1.0 + rate), abs=1e-6)
        frames = place + np.arange(4410) * (1.0 + rate)
        phases = 2.0 * np.pi * hertz * frames / RATE
        basis = np.stack([np.sin(phases), np.cos(phases)], 1)
        found, *_ = np.linalg.lstsq(basis, out, rcond=None)
        rest = out - basis @ found
        assert 10 * np.log10((rest @ rest) / (out @ out)) < -90.0
        # The tone has the phase of the mix: nothing is delayed.
        assert abs(np.arctan2(found[1], found[0])) < 2.0 * np.pi * hertz / RATE * 0.01


def test_the_division_into_blocks_changes_the_position_by_nothing(samples: np.ndarray) -> None:
    with started(samples) as one, started(samples) as other:
        for harness in (one, other):
            harness.desk.steering["on"], harness.desk.steering["wanted"] = 1, 3e-4
        play(one, 30_000, (3_000,))
        play(other, 30_000, (128,))
        places = [
            float(harness.desk.steering["place"] + harness.desk.steering["fraction"])
            for harness in (one, other)
        ]
        assert places[0] == pytest.approx(places[1], abs=0.2)


def test_switched_off_it_returns_to_the_mix_bit_for_bit_without_a_step() -> None:
    samples = sine(440.0, FRAMES, level=0.5)
    with started(samples) as harness:
        steering = harness.desk.steering
        steering["on"], steering["wanted"] = 1, 2e-4
        begin = play(harness, 10_000)
        steering["on"] = 0
        end = play(harness, 10_000)
        assert int(steering["engaged"]) == 0
        whole = np.concatenate((begin, end))[64:, 0].astype(np.float64)
        second = np.abs(np.diff(whole, 2)).max()
        usual = np.abs(np.diff(samples.astype(np.float64).reshape(len(samples), -1)[:, 0], 2)).max()
        assert second < 3.0 * usual
        tail = end[-1000:, 0]
        first = harness.desk.frame - 1000 - int(harness.desk.limiter["delay"])
        assert np.array_equal(tail, samples.reshape(len(samples), -1)[first : first + 1000, 0])


def test_a_rate_that_is_absurd_is_limited(samples: np.ndarray) -> None:
    with started(samples) as harness:
        harness.desk.steering["on"], harness.desk.steering["wanted"] = 1, np.nan
        assert np.isfinite(play(harness, 5000)).all()
        assert float(harness.desk.steering["rate"]) == 0.0
        harness.desk.steering["wanted"] = 10.0
        play(harness, 20_000)
        assert float(harness.desk.steering["rate"]) <= 0.01


def test_an_engine_after_one_that_died_in_its_pass_begins_a_new_line() -> None:
    # Each sample names its frame.
    with started((np.arange(FRAMES) / (2 * FRAMES)).astype(np.float32)) as harness:
        desk = harness.desk
        desk.steering["on"], desk.steering["wanted"] = 1, 1e-4
        play(harness, 4000)
        before = desk.steering.copy(), desk.steer_line.copy()
        heard = play(harness, 64)[:, 0]
        # It has rendered the frames and appended them to the line, but not moved on in it.
        desk.steering["filled"] = desk.frame - int(before[0]["end"])
        for name in ("place", "fraction"):
            desk.steering[name] = before[0][name]
        desk.steer_line[:64] = before[1][:64]
        heard = np.concatenate((heard[:1], play(harness, 1000)[:, 0])) * 2 * FRAMES
        assert int(desk.steering["restarts"]) == 1
    assert np.diff(heard).min() > 0.5, "nothing is heard twice"


def test_another_engine_that_has_rendered_meanwhile_begins_a_new_line(samples: np.ndarray) -> None:
    with started(samples) as harness:
        steering = harness.desk.steering
        steering["on"], steering["wanted"] = 1, 1e-4
        play(harness, 4000)
        steering["end"] -= 100  # it died between the turn and its pass
        out = play(harness, 4000)
        assert int(steering["restarts"]) == 1
        assert int(steering["end"]) == harness.desk.frame
        assert np.abs(out).max() <= 1.0
