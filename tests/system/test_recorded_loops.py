"""Real recordings on all four decks, against a slow mixer of a few lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from crowdstream.desk.ramps import deck_level_ramp, eq_ramp
from tests.support.render_harness import RenderHarness, as_float

SAMPLES = Path("/usr/share/sonic-pi/samples")  # Debian's package sonic-pi-samples
LOOPS = (
    ("loop_amen", "loop_breakbeat", "loop_compus", "loop_garzul"),
    ("loop_industrial", "loop_mehackit1", "loop_mika", "loop_safari"),
    ("loop_tabla", "loop_3d_printer", "loop_amen_full", "loop_mehackit2"),
    ("ambi_choir", "bass_dnb_f", "drum_roll", "guit_em9"),
)
FRAMES = 120_000
LEVELS = (0.2, 0.15, 0.1, 0.25)
GAINS = (0.9, 0.6, 0.8, 0.7)


@pytest.fixture(scope="module")
def stems() -> list[list[np.ndarray]]:
    assert SAMPLES.is_dir(), "install Debian's package sonic-pi-samples (./run-tests.sh does)"
    return [
        [sf.read(SAMPLES / f"{name}.flac", dtype="int16", always_2d=True)[0] for name in names]
        for names in LOOPS
    ]


def _bench(stems: list[list[np.ndarray]]) -> RenderHarness:
    harness = RenderHarness(pages=2000)
    for deck, parts in enumerate(stems):
        harness.ramp(deck_level_ramp(deck), LEVELS[deck])
        for part_number, part in enumerate(parts):
            # One voice each: every one has a length, and so a loop, of its own.
            harness.start(
                4 * deck + part_number,
                harness.load(part),
                deck=deck,
                gain=GAINS[part_number],
                loop=(0, len(part)),
            )
    return harness


def test_like_a_slow_mixer(stems: list[list[np.ndarray]]) -> None:
    expected = np.zeros((FRAMES, 2))
    joins = np.zeros(FRAMES, bool)  # where a file does not meet itself, the seam is smoothed
    for deck, parts in enumerate(stems):
        for number, part in enumerate(parts):
            at = np.arange(FRAMES) % len(part)
            expected += as_float(part)[at].astype(np.float64) * GAINS[number] * LEVELS[deck]
            joins |= (np.arange(FRAMES) >= len(part)) & (at < 1000)
    with _bench(stems) as harness:
        out = harness.render(FRAMES, 512)
        assert int(harness.desk.ledger["limited_frames"]) == 0
        assert int(harness.desk.ledger["missing_frames"]) == 0
    assert np.max(np.abs(expected)) < 1.0
    assert (~joins).sum() > FRAMES // 2
    assert np.max(np.abs(out - expected)[~joins]) < 1e-6
    assert np.max(np.abs(out - expected)) < 0.3


def test_stems_of_one_voice_are_the_same_mix(stems: list[list[np.ndarray]]) -> None:
    parts = stems[0]
    frames = min(len(part) for part in parts)
    with RenderHarness(pages=2000) as harness:
        harness.start(0, [harness.load(part) for part in parts], gain=0.2, gains=list(GAINS))
        out = harness.render(frames, 384)
    expected = sum(
        as_float(part[:frames]).astype(np.float64) * gain * 0.2
        for part, gain in zip(parts, GAINS, strict=True)
    )
    assert np.max(np.abs(out - expected)) < 1e-6


def test_a_real_mix_is_the_same_each_time_and_sound(stems: list[list[np.ndarray]]) -> None:
    def mixed(block: int) -> np.ndarray:
        with _bench(stems) as harness:
            harness.tempo(1.06, 20000, frame=5000)
            harness.ramp(eq_ramp(0, 0), 0.0, 9000, frame=30000)
            harness.ramp(eq_ramp(1, 0), 1.3, 9000, frame=30000)
            harness.ramp(eq_ramp(2, 2), 0.1, 441, frame=50000)
            harness.ramp(deck_level_ramp(3), 0.0, 30000, frame=60000)
            return harness.render(FRAMES, block)

    once, again, other = mixed(512), mixed(512), mixed(733)
    assert np.array_equal(once, again)
    assert np.array_equal(once, other)
    assert np.all(np.isfinite(once))
    assert 0.1 < np.max(np.abs(once)) <= 1.0
