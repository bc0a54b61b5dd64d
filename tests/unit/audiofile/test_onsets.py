"""Onsets are found at their true positions, page by page; sustained sounds have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.onsets import CONTEXT, find_onsets
from crowdstream.audiofile.reader import open_stem
from crowdstream.demo.drums import hit
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import ATTACKS, PAGE_BYTES
from crowdstream.desk.pages import Arena
from crowdstream.loader.idle_scans import OnsetScan
from crowdstream.loader.prefetch import Head, Stem

RATE = 44100
PAGE = 16384
NEAR = 66  # frames, 1.5 ms: the margin that keylock keeps before an onset
MERGED = 130  # frames; two pages may both report an onset at their border


def _find_all(sound: np.ndarray, page: int = PAGE) -> list[int]:
    samples = sound.reshape(len(sound), -1)
    frames = [
        start + int(offset)
        for start in range(0, len(samples), page)
        for offset in find_onsets(
            samples[start : start + page], samples[max(0, start - CONTEXT) : start]
        )
    ]
    return [at for n, at in enumerate(frames) if n == 0 or at - frames[n - 1] > MERGED]


def _seconds(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def _chord() -> np.ndarray:
    t = _seconds(6.0)
    notes = (220.0, 277.18, 329.63)
    chord = sum(np.sin(2 * np.pi * f * h * t + f * h) / h for f in notes for h in range(1, 6))
    return np.asarray(0.08 * np.stack((chord, chord), axis=1), np.float32)


def _bass() -> np.ndarray:
    t = _seconds(6.0)
    wave = 0.3 * np.sin(2 * np.pi * 55 * t) + 0.1 * np.sin(2 * np.pi * 110 * t)
    return np.asarray(np.stack((wave, wave), axis=1), np.float32)


@pytest.mark.parametrize("name", ["kick deep", "kick tight", "snare", "hat", "clap", "rim"])
@pytest.mark.parametrize("under", ["nothing", "chord", "bass"])
def test_every_drum_hit_is_found(name: str, under: str) -> None:
    sound = {"nothing": np.zeros((6 * RATE, 2), np.float32), "chord": _chord(), "bass": _bass()}[
        under
    ].copy()
    wave = hit(name)
    truth = [3000 + n * 15017 for n in range(16)]
    for at in truth:
        sound[at : at + len(wave)] += 0.5 * wave[: len(sound) - at]
    found = _find_all(sound)
    for at in truth:
        assert min(abs(at - f) for f in found) < 2 * NEAR, at
    extra = [f for f in found if f > 200 and min(abs(at - f) for at in truth) > 1000]
    assert len(extra) <= 2


@pytest.mark.parametrize("hertz", [35.0, 41.2, 55.0, 110.0, 440.0])
def test_a_sustained_tone_has_a_single_onset(hertz: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hertz * _seconds(5.0))
    found = _find_all(tone.astype(np.float32))
    assert len(found) == 1 and found[0] < RATE / hertz


def test_beating_and_swelling_chords_have_no_onsets() -> None:
    t = _seconds(5.0)
    beating = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 445 * t)
    swelling = 0.5 * np.sin(2 * np.pi * 220 * t) * np.minimum(1.0, t / 2.0)
    assert [at for at in _find_all(_chord()) if at > 200] == []
    assert [at for at in _find_all(beating.astype(np.float32)) if at > 200] == []
    assert [at for at in _find_all(swelling.astype(np.float32)) if at > RATE // 10] == []


def test_continuous_noise_has_hardly_any_onsets() -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((10 * RATE, 2))).astype(np.float32)
    assert len([at for at in _find_all(noise) if at > 200]) <= 5


@pytest.mark.parametrize("shift", range(-90, 60, 10))
def test_a_hit_at_a_page_border_is_found(shift: int) -> None:
    sound = np.zeros((3 * PAGE, 2), np.float32)
    wave = hit("kick deep")
    sound[PAGE + shift : PAGE + shift + len(wave)] += wave
    found = _find_all(sound)
    assert found and min(abs(PAGE + shift - at) for at in found) < 2 * NEAR


def test_a_hit_in_opposite_phase_is_found() -> None:
    wave = hit("snare")[:, 0]
    sound = np.zeros((PAGE, 2), np.float32)
    sound[5000 : 5000 + len(wave), 0] = wave[: PAGE - 5000]
    sound[:, 1] = -sound[:, 0]
    assert len(_find_all(sound)) == 1


def test_int16_and_float_pages_have_the_same_onsets() -> None:
    sound = np.zeros((2 * PAGE, 2), np.float32)
    wave = hit("snare")
    sound[4000 : 4000 + len(wave)] = 0.7 * wave
    assert _find_all(sound) == _find_all((sound * 32767).astype(np.int16))


def test_the_number_of_onsets_is_limited_and_odd_pages_do_not_fail() -> None:
    clicks = np.zeros((32768, 1), np.float32)
    clicks[100::1300] = 1.0
    found = find_onsets(clicks, clicks[:0])
    assert np.array_equal(found, np.arange(100, 32768, 1300)) and len(found) <= ATTACKS
    assert len(find_onsets(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))) == 0
    assert len(find_onsets(np.zeros((PAGE, 2), np.int16), np.zeros((0, 2), np.int16))) == 0
    assert len(find_onsets(np.full((77, 1), 1e30, np.float32), np.zeros((5, 1), np.float32))) <= 1


def test_onsets_do_not_depend_on_the_order_of_pages(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sound = np.zeros((6 * PAGE, 2), np.float32)
    for _ in range(20):
        at = int(rng.integers(0, 5 * PAGE))
        wave = hit("hat")
        sound[at : at + len(wave)] += 0.4 * wave
    path = tmp_path / "hats.wav"
    soundfile.write(path, sound, RATE, subtype="PCM_16")
    answers = []

    def read(stem: Stem, start: int, count: int) -> np.ndarray:
        return stem.reader.read(start, count)

    for order in ([0, 1, 2, 3, 4, 5], [3, 4, 5, 0, 1, 2], [5, 4, 3, 2, 1, 0]):
        for late in (False, True):
            desk = Desk.create(8 * PAGE_BYTES)
            arena = Arena(desk)
            with open_stem(path, RATE) as reader:
                marker = OnsetScan(arena, read)
                stem = Stem(1, 0, reader, arena.describe(0, reader.frames, 2, True))
                if not late:
                    marker.begin([stem], {})
                for page in order:
                    place = arena.take()
                    assert place is not None
                    samples = reader.read(page * PAGE, PAGE)
                    arena.publish(0, page, place, samples, marker.find(stem, page, samples))
                    assert arena.needs_attacks(0, page) == late
                if late:
                    marker.begin([stem], {0: [Head(2 * PAGE + 5)]})
                    while marker.work():
                        pass
            records = [desk.attacks[int(desk.page_table[0, page]) - 1] for page in range(6)]
            answers.append([record[1 : 1 + int(record[0])].tolist() for record in records])
            desk.close()
    assert all(answer == answers[0] for answer in answers)
    assert sum(len(page) for page in answers[0]) >= 10
