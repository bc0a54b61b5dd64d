"""Unusual sounds get a sensible analysis: silence, noise, single clicks, odd formats."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from crowdstream.analysis.key import camelot_name
from crowdstream.analysis.source import ArraySound, Floats
from crowdstream.analysis.track import analyse, analyse_track
from crowdstream.audiofile.errors import NotAudio
from crowdstream.audiofile.stems.track_files import find_stems

RATE = 44_100


def _clicks(bpm: float, seconds: float, rate: int = RATE, channels: int = 2) -> Floats:
    # A kick on each beat and a snare on every second one, with background noise.
    random = np.random.default_rng(1)
    out = 1e-4 * random.standard_normal(int(seconds * rate))
    t = np.arange(int(0.1 * rate)) / rate
    kick = np.sin(2 * np.pi * 55 * t) * np.exp(-t / 0.04)
    snare = 0.4 * random.standard_normal(len(t)) * np.exp(-t / 0.02)
    for beat in range(int(seconds * bpm / 60)):
        at = round(beat * 60 / bpm * rate)
        sound = kick + snare if beat % 2 else kick
        out[at : at + len(t)] += sound[: len(out) - at]
    return np.repeat(out[:, None], channels, axis=1).astype(np.float32)


def test_silence_has_no_beat_key_or_sections() -> None:
    result = analyse([ArraySound("mix", np.zeros((10 * RATE, 2), np.float32), RATE)])
    assert result.silent
    assert (result.tempo.bpm, result.tempo.anchors, result.key.name) == (0.0, (), "")
    assert result.sections == () and result.fingerprint == ""


@pytest.mark.parametrize("frames", [1, 100, 5000])
def test_very_short_sounds_have_no_beat(frames: int) -> None:
    result = analyse([ArraySound("mix", np.full((frames, 2), 0.5, np.float32), RATE)])
    assert result.tempo.bpm == 0.0


def test_a_single_click_has_no_beat() -> None:
    sound = np.zeros((20 * RATE, 2), np.float32)
    sound[RATE] = 1.0
    assert analyse([ArraySound("mix", sound, RATE)]).tempo.bpm == 0.0


@pytest.mark.parametrize("seconds", [5, 30])
def test_noise_has_neither_beat_nor_key(seconds: int) -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal((seconds * RATE, 2))
    result = analyse([ArraySound("mix", noise.astype(np.float32), RATE)])
    assert (result.tempo.bpm, result.key.name, result.sections) == (0.0, "", ())
    assert result.energy


def test_nan_samples_are_treated_as_silence() -> None:
    sound = _clicks(120, 10)
    sound[RATE : RATE + 50] = np.nan
    assert analyse([ArraySound("mix", sound, RATE)]).tempo.bpm == pytest.approx(120, abs=0.1)


def test_five_seconds_are_enough_for_the_tempo() -> None:
    assert analyse([ArraySound("mix", _clicks(124, 5), RATE)]).tempo.bpm == pytest.approx(
        124, abs=0.05
    )


def test_mono_and_high_sample_rates_are_analysed() -> None:
    sound = _clicks(126, 20, 96_000, 1)
    result = analyse([ArraySound("mix", sound, 96_000)])
    assert result.sample_rate == 96_000
    assert result.tempo.bpm == pytest.approx(126, abs=0.05)


def test_stems_may_differ_in_length_and_sample_rate() -> None:
    other = 0.1 * np.sin(2 * np.pi * 220 * np.arange(8 * 48_000) / 48_000)
    result = analyse([
        ArraySound("drums", _clicks(124, 20), RATE),
        ArraySound("other", other[:, None].astype(np.float32), 48_000),
    ])  # fmt: skip
    assert result.seconds == pytest.approx(20)
    assert result.tempo.bpm == pytest.approx(124, abs=0.05)
    assert result.vocals.source == "none"
    assert result.activity["other"][0] > 0.5 > result.activity["other"][-2]


@pytest.mark.parametrize("bpm", [60.0, 200.0])
def test_extreme_tempi_are_right_apart_from_the_octave(bpm: float) -> None:
    found = analyse([ArraySound("mix", _clicks(bpm, 30), RATE)]).tempo.bpm
    ratio = found / bpm
    assert min(abs(ratio - octave) for octave in (0.5, 1.0, 2.0)) < 0.001


class _Long:
    """A sound of four minutes, of which only one is in memory."""

    name, sample_rate, frames = "mix", 22_050, 4 * 60 * 22_050

    def __init__(self) -> None:
        self._bar = np.round(_clicks(120, 60, self.sample_rate, 1) * 20_000).astype(np.int16)

    def read(self, start: int, count: int) -> np.ndarray:
        """Repeat the same minute."""
        return np.take(self._bar, np.arange(start, start + count), axis=0, mode="wrap")


def test_memory_grows_with_the_features_and_not_with_the_samples() -> None:
    # Four minutes are 21 MB of float32 samples. Their features take 6 MB, and temporary arrays
    # about 9 MB, however long the sound is.
    sound = _Long()
    tracemalloc.start()
    try:
        result = analyse([sound])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.tempo.bpm == pytest.approx(120, abs=0.01)
    assert peak < 22e6


def test_files_are_analysed_and_a_bad_file_is_named(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "drums.wav", _clicks(125, 12), RATE)
    soundfile.write(tmp_path / "vocals.wav", np.zeros((RATE, 2)), RATE)
    shares: list[float] = []
    result = analyse_track(find_stems(tmp_path), shares.append)
    assert result.stems == ("drums", "vocals")
    assert result.tempo.bpm == pytest.approx(125, abs=0.05)
    assert result.vocals.spans == ()
    assert shares == sorted(shares) and shares[-1] == 1.0
    (tmp_path / "bass.wav").write_bytes(b"no audio at all")
    with pytest.raises(NotAudio, match=r"bass\.wav"):
        analyse_track(find_stems(tmp_path))


def test_keys_are_named_in_camelot_notation() -> None:
    keys = ((9, True), (0, False), (8, True), (4, False))
    names = [camelot_name(tonic, minor) for tonic, minor in keys]
    assert names == ["8A", "8B", "1A", "12B"]
