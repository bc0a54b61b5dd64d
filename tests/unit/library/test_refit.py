"""A corrected tempo, downbeat or grid converts everything that is counted in beats."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from crowdstream.analysis.result import Analysis, Downbeat, Tempo, second_of
from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.library.refit import with_downbeat, with_grid, with_tempo
from tests.support.instant_analysis import made


def seconds_of(analysis: Analysis) -> list[tuple[float, float]]:
    anchors = analysis.tempo.anchors
    return [
        (second_of(anchors, one.begin_beat), second_of(anchors, one.end_beat))
        for one in analysis.sections
    ]


def test_double_tempo_keeps_the_downbeat_and_the_times_of_sections() -> None:
    found = made(64.5, bpm=60.0)
    fixed = with_tempo(found, 120.0)
    assert fixed.tempo.bpm == pytest.approx(120.0) and fixed.tempo.steady
    assert second_of(fixed.tempo.anchors, 0.0) == pytest.approx(0.5)
    assert fixed.sections[1].begin_beat == 2 * found.sections[1].begin_beat
    assert seconds_of(fixed)[1] == pytest.approx(seconds_of(found)[1])
    # Each bar becomes two bars with the same energy.
    assert len(fixed.energy) == 2 * len(found.energy)
    assert fixed.energy[::2] == found.energy == fixed.energy[1::2]
    assert fixed.phrases == (0, 64)


def test_half_tempo_starts_on_the_old_downbeat() -> None:
    found = made(64.5, bpm=174.0)
    fixed = with_tempo(found, 87.0)
    assert second_of(fixed.tempo.anchors, 0.0) == pytest.approx(0.5)
    assert len(fixed.energy) == pytest.approx(len(found.energy) / 2, abs=1)


def test_a_slightly_different_tempo_is_aligned_with_the_middle_of_the_track() -> None:
    found = made(60.5, bpm=120.0)
    fixed = with_tempo(found, 120.1)
    begin, end = (
        second_of(fixed.tempo.anchors, beat) - second_of(found.tempo.anchors, beat)
        for beat in (0, 119)
    )
    # Aligned at the first beat, the grid would be 50 ms off at the end. Instead it is 25 ms off at
    # both ends.
    assert begin == pytest.approx(-end, abs=0.002)
    assert abs(begin) == pytest.approx(0.0247, abs=0.002)


def test_an_unrelated_tempo_starts_at_the_old_downbeat() -> None:
    fixed = with_tempo(made(300.0, bpm=120.0), 97.3)
    assert second_of(fixed.tempo.anchors, 0.0) == pytest.approx(0.5)


def test_doubling_the_tempo_keeps_an_unsteady_grid() -> None:
    anchors = ((0.0, 0.5), (64.0, 32.6), (128.0, 64.1))
    found = replace(made(64.5), tempo=Tempo(119.5, False, 0.8, anchors))
    fixed = with_tempo(found, 239.0)
    assert not fixed.tempo.steady
    assert fixed.tempo.anchors == ((0.0, 0.5), (128.0, 32.6), (256.0, 64.1))


def test_a_corrected_downbeat_shifts_and_renumbers_the_beats() -> None:
    found = made(64.5)
    fixed = with_downbeat(found, 1.52)
    assert second_of(fixed.tempo.anchors, 0.0) == pytest.approx(1.52)
    assert fixed.tempo.bpm == pytest.approx(120.0)
    # The new downbeat is the third beat of an old bar: sections move to the nearest bar.
    assert fixed.sections[0].begin_beat % 4 == 0
    assert abs(seconds_of(fixed)[1][0] - seconds_of(found)[1][0]) <= 1.1
    assert fixed.first_bar_beat in (0, -4)


def test_a_downbeat_by_hand_makes_phrases_possible() -> None:
    found = made(64.5)
    unsure = replace(found, downbeat=Downbeat(0.3), phrases=())
    assert with_tempo(unsure, 60.0).phrases == ()
    fixed = with_downbeat(unsure, second_of(found.tempo.anchors, 4.0))
    assert not fixed.downbeat.uncertain
    assert fixed.phrases[0] == fixed.sections[0].begin_beat
    assert {later - earlier for earlier, later in pairwise(fixed.phrases)} <= {32}


def test_a_tempo_gives_a_track_without_a_beat_a_grid() -> None:
    found = replace(made(64.0), tempo=Tempo(0.0, True, 0.0, ()), energy=(0.2,) * 32)
    fixed = with_tempo(found, 120.0)
    assert fixed.tempo.bpm == 120.0 and second_of(fixed.tempo.anchors, 0.0) == 0.0
    assert fixed.energy == (0.2,) * 32
    assert with_downbeat(found, 3.0) == found


def test_a_grid_by_hand_replaces_the_analysed_grid() -> None:
    grid = BeatGrid.through([(0, 0.1), (64, 31.1), (128, 61.9)])
    fixed = with_grid(made(64.0), grid)
    assert fixed.tempo.anchors == grid.anchors and not fixed.tempo.steady
    assert fixed.tempo.confidence == 1.0
