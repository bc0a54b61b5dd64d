"""The division of time into blocks does not change a bit of the output."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.opcodes import OP_CANCEL, OP_MARK, OP_SEEK, OP_STOP, OP_TONE
from crowdstream.desk.ramps import (
    RAMP_MASTER,
    VOICE_GAIN,
    VOICE_RATE,
    VOICE_STEM,
    deck_level_ramp,
    eq_ramp,
    voice_ramp,
)
from tests.support.render_harness import RenderHarness, check_golden, noise, sine

LENGTH = 60000


def _everything(harness: RenderHarness) -> None:
    # Every kind of command and change, at frames that are not multiples of anything.
    drums = harness.load(noise(30000, 2, seed=1, peak=0.3))
    bass = harness.load(sine(90.0, 26000, level=0.3))
    vocals = harness.load((noise(30000, 2, seed=2, peak=0.2) / 32768).astype(np.float32), [1])
    hats = harness.load(noise(29000, 1, seed=3, peak=0.2), missing=[0])
    short = harness.load(noise(137, 2, seed=4, peak=0.2))
    end = harness.load(np.full(1500, 12000, np.int16))
    harness.start(0, [drums, bass, vocals, hats], gains=[1, 0.7, 0.5, 0.9], loop=(0, 30000))
    harness.start(1, bass, deck=1, rate=1.06, frame=777)
    harness.start(2, [drums, hats], deck=2, rate=0.9, loop=(5000, 9001), frame=1501)
    harness.start(3, short, deck=3, loop=(0, 137), rate=1.3, gain=0.5, frame=2003)
    harness.start(4, vocals, deck=3, start=3000, end=7000, frame=2500)
    harness.start(5, end, deck=3, frame=9001)
    harness.start(6, end, deck=2, rate=0.37, frame=9100)
    harness.send(OP_SEEK, target=0, start=12345, frame=5003)
    harness.start(0, [drums, bass], start=100, loop=(40, 11000), frame=15001)
    harness.send(OP_STOP, target=1, frame=20011)
    harness.start(1, drums, deck=1, rate=1.09, frame=20100)
    harness.send(OP_STOP, target=4, frame=2510)
    harness.send(OP_STOP, target=2, frame=41003)
    harness.send(OP_TONE, x=440.0, y=0.05, start=3000, frame=30007)
    harness.send(OP_MARK, frame=31001)
    harness.start(7, drums, frame=50000)
    harness.send(OP_CANCEL, target=7, frame=45000)
    harness.tempo(1.05, 4001, frame=10007)
    harness.tempo(1.25, 7003, frame=24001)
    harness.tempo(1.0, 6007, frame=33001)
    harness.ramp(voice_ramp(1, VOICE_RATE), 2.7, 5001, frame=22003)
    harness.ramp(voice_ramp(1, VOICE_RATE), 0.8, 2001, frame=28003)
    harness.ramp(voice_ramp(3, VOICE_RATE), 4.0, 20, frame=6001)
    harness.ramp(voice_ramp(3, VOICE_RATE), 0.25, 20, frame=7001)
    harness.ramp(voice_ramp(0, VOICE_GAIN), 0.6, 441, frame=3001)
    harness.ramp(voice_ramp(0, VOICE_STEM), 0.0, 300, frame=3100)
    harness.ramp(voice_ramp(0, VOICE_STEM), 1.0, 300, frame=4100)
    for deck in range(4):
        harness.ramp(deck_level_ramp(deck), 0.8, 555, frame=12000 + deck)
    # Enabled and disabled again, once before the filters have settled.
    harness.ramp(eq_ramp(0, 0), 0.0, 333, frame=2222)
    harness.ramp(eq_ramp(0, 0), 1.0, 333, frame=6666)
    harness.ramp(eq_ramp(0, 2), 0.5, 100, frame=13000)
    harness.ramp(eq_ramp(0, 2), 1.0, 100, frame=13150)
    harness.ramp(eq_ramp(1, 1), 0.2, 901, frame=21000)
    harness.ramp(eq_ramp(1, 1), 1.0, 901, frame=35000)
    harness.ramp(eq_ramp(3, 1), 0.0, 1, frame=9300)
    harness.ramp(eq_ramp(3, 1), 1.0, 1, frame=9801)
    harness.ramp(RAMP_MASTER, 1.4, 3000, frame=16000)  # with the limiter active
    harness.ramp(RAMP_MASTER, 1.0, 3000, frame=40000)


def _rendered(blocks: list[int]) -> np.ndarray:
    with RenderHarness() as harness:
        _everything(harness)
        first = harness.render(10000, blocks)
        harness.bring(3, 0)  # the missing page is loaded while it sounds
        rest = harness.render(LENGTH - 10000, blocks)
        ledger = harness.desk.ledger
        assert int(ledger["limited_frames"]) > 0
        assert int(ledger["missing_frames"]) > 0
        assert int(ledger["frames"]) == LENGTH == harness.desk.frame
    return np.concatenate([first, rest])


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return _rendered([256])


@pytest.mark.parametrize("length", [1, 3, 7, 64, 1023, 2048, 10000])
def test_block_length_changes_nothing(whole: np.ndarray, length: int) -> None:
    out = _rendered([length])
    different = np.flatnonzero((out != whole).any(axis=1))
    assert len(different) == 0, f"{len(different)} frames from {different[0]} on"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_block_lengths_change_nothing(whole: np.ndarray, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 2048, 500).tolist()
    assert np.array_equal(_rendered(lengths), whole)


def test_the_output_matches_the_golden_file(whole: np.ndarray) -> None:
    # Four excerpts with the most activity.
    places = (2000, 5000, 9000, 20000)
    check_golden("everything", np.concatenate([whole[at : at + 1500] for at in places]))
