"""Phrases of music that is not in phrases of eight bars."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.analysis.result import Analysis
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from crowdstream.library.refit import with_downbeat

RATE = 22050
BEAT = RATE // 2  # 120 BPM
BLUES = (0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7)  # roots, in semitones above the key
POP = (0, 0, 9, 9, 5, 5, 7, 7)


def played(roots: tuple[int, ...], bars: int) -> np.ndarray:
    """Return a kick and a snare, with a major chord of a new root in each bar."""
    random = np.random.default_rng(3)
    seconds = np.arange(4 * BEAT) / RATE
    since = seconds % 0.5
    kick = np.sin(2 * np.pi * (50 * since + 5 * (1 - np.exp(-since * 30)))) * np.exp(-since * 12)
    hit = random.standard_normal(len(seconds)) * np.exp(-since * 25)
    is_snare = (seconds // 0.5 % 2).astype(int)
    drums = np.where(is_snare, 0.25 * hit, 0.7 * kick)
    made = []
    for bar in range(bars):
        chord = sum(
            np.sin(2 * np.pi * 220 * 2 ** ((roots[bar % len(roots)] + note) / 12) * seconds)
            for note in (0, 4, 7)
        )
        made.append(0.1 * chord * np.exp(-since) + drums)
    line = np.concatenate(made).astype(np.float32)
    return np.stack([line, line], axis=1)


def test_each_bar_has_its_own_loudness() -> None:
    line = played(POP, 24)
    line[: 8 * 4 * BEAT] *= 0.1
    found = analyse([ArraySound("mix", 0.5 * line, RATE)])
    soft, loud = (np.array(found.bar_loudness[part]) for part in (slice(1, 7), slice(9, 23)))
    assert found.first_bar_beat == 0
    # The bars have different chords.
    assert loud.mean() - soft.mean() == pytest.approx(20.0, abs=0.2)
    assert np.ptp(soft) < 1.0
    assert np.ptp(loud) < 1.0


@pytest.fixture(scope="module")
def blues() -> Analysis:
    """The analysis of four choruses of a blues."""
    return analyse([ArraySound("mix", 0.5 * played(BLUES, 48), RATE)])


def test_a_blues_has_phrases_of_twelve_bars(blues: Analysis) -> None:
    assert blues.tempo.bpm == pytest.approx(120.0, abs=0.05)
    assert blues.phrase_bars == 12
    assert blues.phrases[:4] == (0, 48, 96, 144)


def test_phrases_of_twelve_bars_survive_a_correction(blues: Analysis) -> None:
    moved = with_downbeat(blues, blues.tempo.anchors[0][1] + 0.5)
    assert moved.phrase_bars == 12
    assert set(np.diff(moved.phrases[:4])) == {48}


def test_other_music_has_phrases_of_eight_bars() -> None:
    found = analyse([ArraySound("mix", 0.5 * played(POP, 48), RATE)])
    assert found.phrase_bars == 8
    assert set(np.diff(found.phrases)) == {32}
