"""How time is cut into blocks does not change a bit of the sound."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.codes import OP_CANCEL, OP_MARK, OP_SEEK, OP_STOP, OP_TONE
from crowdstream.desk.ramps import (
    RAMP_MASTER,
    VOICE_GAIN,
    VOICE_RATE,
    VOICE_STEM,
    deck_level_ramp,
    eq_ramp,
    voice_ramp,
)
from tests.engine.bench import Bench, check_golden, noise, sine

LENGTH = 60000


def _everything(bench: Bench) -> None:
    # Every kind of command and change, at frames that are no multiple of anything.
    drums = bench.load(noise(30000, 2, seed=1, peak=0.3))
    bass = bench.load(sine(90.0, 26000, level=0.3))
    vocals = bench.load((noise(30000, 2, seed=2, peak=0.2) / 32768).astype(np.float32), [1])
    hats = bench.load(noise(29000, 1, seed=3, peak=0.2), missing=[0])
    short = bench.load(noise(137, 2, seed=4, peak=0.2))
    end = bench.load(np.full(1500, 12000, np.int16))
    bench.start(0, [drums, bass, vocals, hats], gains=[1, 0.7, 0.5, 0.9], loop=(0, 30000))
    bench.start(1, bass, deck=1, rate=1.06, frame=777)
    bench.start(2, [drums, hats], deck=2, rate=0.9, loop=(5000, 9001), frame=1501)
    bench.start(3, short, deck=3, loop=(0, 137), rate=1.3, gain=0.5, frame=2003)
    bench.start(4, vocals, deck=3, start=3000, end=7000, frame=2500)
    bench.start(5, end, deck=3, frame=9001)
    bench.start(6, end, deck=2, rate=0.37, frame=9100)
    bench.send(OP_SEEK, target=0, start=12345, frame=5003)
    bench.start(0, [drums, bass], start=100, loop=(40, 11000), frame=15001)
    bench.send(OP_STOP, target=1, frame=20011)
    bench.start(1, drums, deck=1, rate=1.09, frame=20100)
    bench.send(OP_STOP, target=4, frame=2510)
    bench.send(OP_STOP, target=2, frame=41003)
    bench.send(OP_TONE, x=440.0, y=0.05, start=3000, frame=30007)
    bench.send(OP_MARK, frame=31001)
    bench.start(7, drums, frame=50000)
    bench.send(OP_CANCEL, target=7, frame=45000)
    bench.tempo(1.05, 4001, frame=10007)
    bench.tempo(1.25, 7003, frame=24001)
    bench.tempo(1.0, 6007, frame=33001)
    bench.ramp(voice_ramp(1, VOICE_RATE), 2.7, 5001, frame=22003)
    bench.ramp(voice_ramp(1, VOICE_RATE), 0.8, 2001, frame=28003)
    bench.ramp(voice_ramp(3, VOICE_RATE), 4.0, 20, frame=6001)
    bench.ramp(voice_ramp(3, VOICE_RATE), 0.25, 20, frame=7001)
    bench.ramp(voice_ramp(0, VOICE_GAIN), 0.6, 441, frame=3001)
    bench.ramp(voice_ramp(0, VOICE_STEM), 0.0, 300, frame=3100)
    bench.ramp(voice_ramp(0, VOICE_STEM), 1.0, 300, frame=4100)
    for deck in range(4):
        bench.ramp(deck_level_ramp(deck), 0.8, 555, frame=12000 + deck)
    # Into use and out of it again, once before the filters have settled.
    bench.ramp(eq_ramp(0, 0), 0.0, 333, frame=2222)
    bench.ramp(eq_ramp(0, 0), 1.0, 333, frame=6666)
    bench.ramp(eq_ramp(0, 2), 0.5, 100, frame=13000)
    bench.ramp(eq_ramp(0, 2), 1.0, 100, frame=13150)
    bench.ramp(eq_ramp(1, 1), 0.2, 901, frame=21000)
    bench.ramp(eq_ramp(1, 1), 1.0, 901, frame=35000)
    bench.ramp(eq_ramp(3, 1), 0.0, 1, frame=9300)
    bench.ramp(eq_ramp(3, 1), 1.0, 1, frame=9801)
    bench.ramp(RAMP_MASTER, 1.4, 3000, frame=16000)  # with the limiter at work
    bench.ramp(RAMP_MASTER, 1.0, 3000, frame=40000)


def _rendered(blocks: list[int]) -> np.ndarray:
    with Bench() as bench:
        _everything(bench)
        first = bench.render(10000, blocks)
        bench.bring(3, 0)  # the missing page comes in, while it sounds
        rest = bench.render(LENGTH - 10000, blocks)
        ledger = bench.desk.ledger
        assert int(ledger["limited_frames"]) > 0
        assert int(ledger["missing_frames"]) > 0
        assert int(ledger["frames"]) == LENGTH == bench.desk.frame
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


def test_the_sound_is_what_it_was(whole: np.ndarray) -> None:
    # Four excerpts in which most happens.
    places = (2000, 5000, 9000, 20000)
    check_golden("everything", np.concatenate([whole[at : at + 1500] for at in places]))
