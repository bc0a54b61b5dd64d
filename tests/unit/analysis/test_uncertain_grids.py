"""Beat grids of difficult sounds: two tempi, triple meter, loose timing, loops, polarity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crowdstream.analysis.features import extract
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.onsets import settle_steady
from crowdstream.analysis.result import Analysis
from crowdstream.analysis.source import ArraySound, Mono, Sound
from crowdstream.analysis.track import analyse
from tests.support.drum_machine import RATE, beats_at, chords, drums, worst_error
from tests.support.generated_tracks.styles import DANCES, STYLES
from tests.support.generated_tracks.tracks import generate_track


def analysed(*stems: np.ndarray) -> Analysis:
    """Analyse one file, or several stems, of which the first is drums."""
    names = ("drums", "other", "bass") if len(stems) > 1 else ("mix",)
    sounds: list[Sound] = [
        ArraySound(name, stem, RATE) for name, stem in zip(names, stems, strict=False)
    ]
    return analyse(sounds)


@pytest.mark.parametrize(("first", "second", "cut"), [(100.0, 128.0, 36.0), (90.0, 120.0, 40.0)])
def test_a_tempo_change_keeps_the_beats_of_both_parts_and_is_uncertain(
    first: float, second: float, cut: float
) -> None:
    sound = np.concatenate([drums(first, cut), drums(second, 32.0)])
    tempo = analysed(sound).tempo
    beats = np.concatenate([beats_at(first, cut), cut + beats_at(second, 32.0)])
    assert worst_error(tempo.anchors, beats) < 0.01
    assert tempo.uncertain
    assert f"changes from {first:g} to {second:g}" in tempo.doubt


@pytest.mark.parametrize("bpm", [96.0, 110.0, 150.0, 176.0])
def test_triple_meter_is_detected(bpm: float) -> None:
    found = analysed(drums(bpm, 45.0, beats_per_bar=3))
    assert found.downbeat.meter == 3
    assert found.tempo.bpm == pytest.approx(bpm, abs=0.02)
    assert worst_error(found.tempo.anchors, beats_at(bpm, 44.0)) < 0.01
    assert all(beat % 3 == 0 for beat in found.phrases)
    assert not found.tempo.uncertain


@pytest.mark.parametrize("bpm", [110.0, 150.0, 176.0])
def test_a_bar_of_three_begins_with_the_kick(bpm: float) -> None:
    found = analysed(drums(bpm, 45.0, beats_per_bar=3))
    first = found.tempo.anchors[0][1] * bpm / 60
    assert abs(first / 3 - round(first / 3)) < 0.02


@pytest.mark.parametrize("style", ["house", "hip-hop", "shuffle", "rock"])
@pytest.mark.parametrize("spread", [8.0, 15.0])
def test_notes_that_are_early_and_late_do_not_shift_the_grid(style: str, spread: float) -> None:
    [found] = [one for one in (*STYLES, *DANCES) if one.name == style]
    track = generate_track(7, 50.0, replace(found, human_ms=spread), steady=True)
    features = extract([ArraySound("mix", track.mix(), track.rate)])
    # Only the alignment is tested here: the grid starts in the right place, but 12 ms early.
    beats = Beats(np.array([0.0, 1.0]), track.truth.beats[:2] - 0.012)
    beats = settle_steady(features.attacks, beats, features.seconds)
    errors = beats.time(np.arange(len(track.truth.beats), dtype=float)) - track.truth.beats
    assert abs(float(np.median(errors))) < 0.5 * spread / 1000 + 0.003


@pytest.mark.parametrize("bpm", [88.0, 127.6])
def test_a_steady_beat_is_certain(bpm: float) -> None:
    tempo = analysed(drums(bpm, 45.0, start=0.4)).tempo
    assert not tempo.uncertain
    assert not tempo.doubt
    assert worst_error(tempo.anchors, beats_at(bpm, 45.0, 0.4)) < 0.005


@pytest.mark.parametrize(
    ("bpm", "bars", "tail"),
    [(128.0, 4, 0.005), (127.5, 2, 0.008), (93.7, 4, 0.012), (174.0, 4, 0.026), (127.3, 4, 0.0)],
)
def test_a_loop_with_a_tail_has_its_exact_tempo(bpm: float, bars: int, tail: float) -> None:
    loop = drums(bpm, bars * 240 / bpm)
    found = analysed(np.concatenate([loop, np.zeros(round(tail * RATE), np.float32)]))
    # The length of the file, a whole number of samples, limits the accuracy.
    assert found.tempo.bpm == pytest.approx(bpm, abs=0.001)
    assert found.tempo.anchors[0][1] == pytest.approx(0.0, abs=0.002)


def test_channels_of_opposite_polarity_do_not_hide_key_or_tempo() -> None:
    sound = drums(124.0, 40.0) * np.float32(0.3) + chords(124.0, 40.0)
    plain = analysed(np.stack([sound, sound], 1))
    for right in (-sound, -0.9 * sound):
        inverted = analysed(np.stack([sound, right], 1))
        assert inverted.tempo.bpm == pytest.approx(124.0, abs=0.01)
        assert not inverted.tempo.uncertain
        assert inverted.key.name == plain.key.name == "8A"


def test_a_stem_of_opposite_polarity_is_analysed_beside_others() -> None:
    beat, music = drums(124.0, 40.0), chords(124.0, 40.0)
    inverted = analysed(np.stack([beat, -beat], 1), np.stack([music, music], 1))
    assert inverted.tempo.bpm == pytest.approx(124.0, abs=0.01)
    assert worst_error(inverted.tempo.anchors, beats_at(124.0, 39.0)) < 0.005
    other = analysed(np.stack([beat, beat], 1), np.stack([music, -music], 1))
    assert other.key.name == "8A"


def test_stereo_gives_its_mid_and_the_switch_to_side_does_not_click() -> None:
    left = np.sin(np.arange(4 * RATE) * 0.01).astype(np.float32)
    mono = Mono(RATE)
    middle, sides = mono.feed(np.stack([left, 0.5 * left], 1))
    assert np.allclose(middle, 0.75 * left)
    assert np.allclose(sides, 0.25 * left)
    inverted, rest = mono.feed(np.stack([left, -left], 1))
    assert np.allclose(inverted[RATE:], left[RATE:])
    assert np.allclose(rest[RATE:], 0.0)
    assert np.abs(np.diff(inverted)).max() < 0.02
