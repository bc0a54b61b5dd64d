"""Analysis of generated tracks, whose true tempo, key and sections are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crowdstream.analysis.fingerprint import MAX_SAME_DISTANCE, distance
from crowdstream.analysis.result import Analysis, second_of
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from tests.support.generated_tracks.styles import STYLES
from tests.support.generated_tracks.tracks import GeneratedTrack, generate_track

STYLE = {style.name: style for style in STYLES}


@pytest.fixture(scope="module")
def house() -> GeneratedTrack:
    """A steady track with all kinds of sections."""
    return generate_track(50_000, 50, STYLE["house"], steady=True)


@pytest.fixture(scope="module")
def found(house: GeneratedTrack) -> Analysis:
    """Its analysis, as stems."""
    return analyse([ArraySound(name, stem, house.rate) for name, stem in house.stems.items()])


def _grid_error(result: Analysis, track: GeneratedTrack, cut: float = 0.0) -> float:
    beats = np.array([second_of(result.tempo.anchors, beat) for beat in range(-8, 400)])
    return float(np.median([np.abs(beats - beat).min() for beat in track.truth.beats - cut]))


def test_tempo_beats_and_downbeat_match_the_track(house: GeneratedTrack, found: Analysis) -> None:
    assert found.tempo.steady
    assert found.tempo.bpm == pytest.approx(house.truth.bpm, abs=0.02)
    assert _grid_error(found, house) < 0.005
    bar = 240 / house.truth.bpm
    late = (found.tempo.anchors[0][1] - house.truth.beats[0]) / bar
    assert abs(late - round(late)) * bar < 0.01


def test_the_key_matches_the_track(house: GeneratedTrack, found: Analysis) -> None:
    assert (found.key.tonic, found.key.minor) == (house.truth.tonic, house.truth.minor)


def test_section_boundaries_match_the_track(house: GeneratedTrack, found: Analysis) -> None:
    begins = [second_of(found.tempo.anchors, s.begin_beat) for s in found.sections]
    hits = sum(any(abs(b - at) < 0.5 for b in begins) for at, _ in house.truth.sections)
    assert hits >= 0.7 * len(house.truth.sections)
    assert all(section.begin_beat % 4 == 0 for section in found.sections)
    assert {section.begin_beat for section in found.sections} <= set(found.phrases)


def test_vocals_are_detected_in_their_stem(house: GeneratedTrack, found: Analysis) -> None:
    assert found.vocals.source == "stem"
    times = np.arange(0, house.truth.beats[-1], 0.1)
    sung, detected = (
        np.array([any(a <= t < b for a, b in spans) for t in times])
        for spans in (house.truth.vocals, found.vocals.spans)
    )
    assert np.mean(sung == detected) > 0.85


def test_lists_per_bar_have_an_entry_for_each_bar(found: Analysis) -> None:
    assert set(found.activity) == {"drums", "bass", "vocals", "other"}
    assert {len(bars) for bars in found.activity.values()} == {len(found.energy)}
    assert len(found.bass) == len(found.energy)
    assert all(0 <= value <= 1 for value in (*found.energy, *found.bass, found.level))


def test_the_loudness_of_bars_averages_to_that_of_the_track(found: Analysis) -> None:
    assert len(found.bar_loudness) == len(found.energy)
    powers = 10 ** (np.array(found.bar_loudness) / 10)
    # The integrated loudness leaves out what is 10 LU softer than the mean.
    gated = powers[powers > 0.1 * powers.mean()]
    assert 10 * np.log10(gated.mean()) == pytest.approx(found.loudness.lufs, abs=0.5)


def test_a_result_round_trips_through_json(found: Analysis) -> None:
    assert Analysis.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_analysis_is_independent_of_level_and_sample_format(house: GeneratedTrack) -> None:
    mix = house.mix()
    one = analyse([ArraySound("mix", mix, house.rate)])
    soft = np.round(mix * 0.25 * 32767).astype(np.int16)
    other = analyse([ArraySound("mix", soft, house.rate)])
    assert other.tempo.bpm == pytest.approx(one.tempo.bpm, abs=0.01)
    assert other.key.name == one.key.name
    assert other.loudness.lufs == pytest.approx(one.loudness.lufs - 12.04, abs=0.1)
    assert distance(one.fingerprint, other.fingerprint) < MAX_SAME_DISTANCE / 2


def test_different_music_has_a_different_fingerprint(found: Analysis) -> None:
    track = generate_track(50_001, 30, STYLE["techno"], steady=True)
    other = analyse([ArraySound("mix", track.mix(), track.rate)])
    assert distance(found.fingerprint, other.fingerprint) > MAX_SAME_DISTANCE


@pytest.mark.parametrize(
    "style", ["drum and bass", "dubstep", "ballad", "garage"], ids=lambda name: name
)
def test_each_style_is_analysed_without_tempo_octave_error(style: str) -> None:
    # In three of these styles, this seed has no kick: hats, a hand drum and the bass mark the beat.
    track = generate_track(50_010, 30, STYLE[style], steady=True)
    result = analyse([ArraySound("mix", track.mix(), track.rate)])
    assert result.tempo.bpm == pytest.approx(track.truth.bpm, abs=0.05)
    assert _grid_error(result, track) < 0.010


def test_a_variable_tempo_is_tracked() -> None:
    # The file begins just after the first beat, which must not shift the other beats.
    track = generate_track(30_011, 45, STYLE["ballad"], steady=False)
    cut = round((track.truth.beats[0] + 0.036) * track.rate)
    result = analyse([ArraySound("mix", track.mix()[cut:], track.rate)])
    assert not result.tempo.steady
    assert len(result.tempo.anchors) > 4
    assert result.tempo.anchors[0] == (0.0, 0.0)
    assert _grid_error(result, track, cut / track.rate) < 0.005
