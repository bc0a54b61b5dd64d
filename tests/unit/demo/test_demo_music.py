"""The demo's music: on the grid, in range, silent at its edges, and reproducible."""

from dataclasses import replace

import numpy as np
import pytest

from crowdstream.demo import arrange, drums, mixdown
from crowdstream.demo.dsp import RATE, filtered, noise, saw
from crowdstream.demo.songs import SONGS, STEMS, Song


def shortened(song: Song, bars: int = 2) -> Song:
    """Return the song with only its build and drop, `bars` each."""
    return replace(
        song, sections=tuple(replace(section, bars=bars) for section in song.sections[1:3])
    )


@pytest.mark.parametrize("song", SONGS, ids=lambda song: song.title)
def test_stems_are_in_range_and_silent_at_their_edges(song: Song) -> None:
    stems = mixdown.stems(shortened(song))
    assert tuple(stems) == STEMS
    total = np.zeros((arrange.beat_frame(song.bpm, 16), 2))
    for name, samples in stems.items():
        assert samples.dtype == np.int16
        assert samples.shape == total.shape
        assert np.abs(samples.astype(int)).max() < 32768 * 10 ** (-3 / 20), name
        assert np.abs(samples.astype(int)).max() > 600, name
        assert not samples[0].any()
        assert not samples[-1].any()
        total += samples
    assert np.abs(total).max() < 32768 * 10 ** (-1 / 20)
    assert np.abs(total).max() > 32768 * 10 ** (-6 / 20)
    assert not np.array_equal(total[:, 0], total[:, 1])


def test_a_song_always_produces_the_same_samples() -> None:
    first, second = (mixdown.stems(shortened(SONGS[3], 1)) for _ in range(2))
    for name in STEMS:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("song", SONGS, ids=lambda song: song.title)
def test_kicks_are_on_the_grid(song: Song) -> None:
    only_kick = replace(song.sections[0], lanes="kick", bars=4)
    alone = replace(song, sections=(only_kick,))
    sound = arrange.drums(alone)
    kick = drums.hit(song.lanes["kick"].sound)[:400, 0]
    for beat in (0, 4, 8, 12):
        frame = round(beat * 60.0 / song.bpm * RATE)
        assert frame == arrange.beat_frame(song.bpm, beat)
        if frame:
            assert np.abs(sound[frame - 200 : frame, 0]).max() < 0.02
        heard = sound[frame : frame + 400, 0]
        gain = float(heard @ kick / (kick @ kick))
        assert gain > 0.3
        np.testing.assert_allclose(heard, gain * kick, atol=0.02)


def test_only_odd_sixteenths_swing() -> None:
    song = SONGS[0]
    sixteenth = 15.0 / song.bpm * RATE
    for step in range(16):
        late = arrange.step_frame(song, 3, step) - round((48 + step) * sixteenth)
        if step % 2:
            assert 0.1 * sixteenth < late < 0.2 * sixteenth
        else:
            assert late == 0


def test_whole_phrases_at_the_four_tempos() -> None:
    assert [song.bpm for song in SONGS] == [120.0, 124.0, 126.0, 128.0]
    for song in SONGS:
        assert arrange.total_bars(song) % 8 == 0
        assert all(section.bars == 8 for section in song.sections)
        assert arrange.length(song) >= 60 * RATE
        for ends in (song.sections[0], song.sections[-1]):
            assert not ends.bass
            assert not ends.vocal


def test_songs_are_in_tune_at_one_tempo() -> None:
    for song in SONGS:
        assert arrange.pitch(song, 69) * 124.0 / song.bpm == pytest.approx(440.0)


def test_the_limiter_never_exceeds_the_ceiling() -> None:
    peaks = np.abs(noise(3, 20_000)) * np.where(np.arange(20_000) % 5000 < 40, 3.0, 0.4)
    gains = mixdown.limiting(peaks, 0.5)
    assert (peaks * gains).max() <= 0.5 + 1e-12
    assert gains.max() <= 1.0
    assert np.abs(np.diff(gains)).max() < 0.002
    assert gains[2500] == 1.0


def test_ducking_dips_at_the_kick_and_returns() -> None:
    song = replace(SONGS[3], sections=(replace(SONGS[3].sections[0], lanes="kick", bars=1),))
    gains = arrange.ducking(song)
    beat = arrange.beat_frame(song.bpm, 1)
    assert gains[beat - 10] == pytest.approx(1.0, abs=1e-3)
    assert gains[beat + 150] < 0.4
    assert np.abs(np.diff(gains)).max() < 0.01


def test_an_open_filter_changes_nothing() -> None:
    sound = noise(5, 5000)
    out = filtered(sound, lambda hertz, seconds: np.ones((len(seconds), hertz.shape[1])))
    np.testing.assert_allclose(out, sound, atol=1e-12)


def test_a_filter_follows_its_curve_over_time() -> None:
    sound = saw(220.0, RATE)
    out = filtered(sound, lambda hertz, seconds: np.where(seconds < 0.5, 1.0, 0.0) + 0.0 * hertz)
    assert np.abs(out[: RATE // 2 - 1024] - sound[: RATE // 2 - 1024]).max() < 1e-9
    assert np.abs(out[RATE // 2 + 1024 :]).max() < 1e-9


@pytest.mark.parametrize("name", drums.SOUNDS)
def test_every_drum_peaks_at_one_and_ends_in_silence(name: str) -> None:
    sound = drums.hit(name)
    assert np.abs(sound).max() == pytest.approx(1.0)
    assert np.abs(sound[0]).max() < 1e-6
    assert np.abs(sound[-1]).max() < 1e-5
