"""The scorer of automatic DJs recovers errors that were planted in small mixes.

Two generated tracks overlap; the second one begins late, a bar off, louder, slower or without its
bass, and the scorer has to measure that from the recording and the tracks' files.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from benchmarks.autodj.contest import choose, make_contest
from benchmarks.autodj.report import not_first, table_of
from benchmarks.autodj.score import Score, Transition, score
from benchmarks.autodj.sources import RATE, Source, read_sources, write_sources
from benchmarks.common import BenchmarkError

Doubles = npt.NDArray[np.float64]
BPM = 120.0
BEAT = 60 / BPM
SECONDS = 32.0
ENTRY = 16.0  # the second track begins here, on a phrase of the first one
AFTER = 12.0  # the mix ends this long after an overlap of the usual length
RAMP_SECONDS = 40.0
FIRST, SECOND = 1, 2  # seeds of the two tracks
TEMPOS = (0.96, 0.98, 1.0, 1.02, 1.04)


@functools.cache
def make_track(seed: int) -> Doubles:
    """A track of `SECONDS` with a kick on each beat, a bass and random chords and noises.

    It has the shape (2, frames): below and above the crossover.
    """
    random = np.random.default_rng(seed)
    count = round(SECONDS * RATE)
    low, rest = np.zeros(count), np.zeros(count)
    length = round(BEAT * RATE)
    time = np.arange(length) / RATE
    for number in range(int(SECONDS / BEAT)):
        at = round(number * BEAT * RATE)
        hertz = random.uniform(45, 65)
        low[at : at + length] += np.sin(2 * np.pi * hertz * time) * np.exp(-time * 6)
        hertz = random.uniform(70, 120)
        low[at : at + length] += 0.7 * np.sin(2 * np.pi * hertz * time + 1) * np.exp(-time * 3)
        for half in (0, length // 2):
            part = rest[at + half : at + length]
            since = time[: len(part)]
            part += 0.3 * random.standard_normal(len(part)) * np.exp(-since * 40)
            for hertz in random.uniform(250, 1800, 3):
                part += 0.15 * np.sin(2 * np.pi * hertz * since) * np.exp(-since * 5)
    return np.stack([low, rest]) * 0.15


@dataclass(frozen=True)
class Planted:
    """How the second track is played: the errors of a mix."""

    late: float = 0.0  # seconds
    gain_db: float = 0.0
    swap: bool = False  # only one bass plays, the other one from the middle of the overlap
    fade: float = 12.0  # seconds of overlap; negative: a gap
    rate: float = 1.0  # at which the second track plays, faster than its file
    ramp: float = 0.0  # by which the rate of both tracks rises in `RAMP_SECONDS`
    keep_pitch: bool = False
    shift: float = 0.0  # semitones of the second track, with keep_pitch
    echo: bool = False


def warped(track: Doubles, seconds: Callable[[Doubles], Doubles], count: int) -> Doubles:
    """A track whose position at each frame is `seconds(time)`; silent outside it."""
    positions = seconds(np.arange(count) / RATE) * RATE
    frames = np.arange(track.shape[1])
    return np.stack([np.interp(positions, frames, line, 0, 0) for line in track])


def sliced(track: Doubles, begin: float, rate: float, count: int, eighth: float) -> Doubles:
    """A track from `begin`, stretched by moving its eighths: attacks and pitch are kept."""
    out = np.zeros((2, count))
    size = round(eighth * RATE)
    for number in range(track.shape[1] // size):
        part = track[:, number * size : (number + 1) * size]
        at = round((begin + number * size / RATE / rate) * RATE)
        length = min(part.shape[1], round(size / rate), count - at)
        if length <= 0:
            break
        out[:, at : at + length] = part[:, :length]
    return out


def render(planted: Planted) -> Doubles:
    """The mix, `(frames,)`."""
    entry = ENTRY + planted.late
    last = ENTRY + planted.fade if planted.fade > 0 else ENTRY
    entry += max(0.0, -planted.fade)
    count = round((entry + 12.0 + AFTER) * RATE)
    time = np.arange(count) / RATE

    def position(at: Doubles) -> Doubles:  # of the clock: its rate rises linearly
        return at + planted.ramp * np.square(at) / (2 * RAMP_SECONDS)

    first = warped(make_track(FIRST), position, count)
    if planted.keep_pitch:
        ratio = 2 ** (planted.shift / 12)
        track = make_track(SECOND)
        if planted.shift:
            track = warped(track, lambda at: at * ratio, round(track.shape[1] / ratio))
        second = sliced(track, entry, planted.rate / ratio, count, BEAT / 2 / ratio)
    else:
        start = position(np.array([entry]))[0]
        second = warped(make_track(SECOND), lambda at: (position(at) - start) * planted.rate, count)
    first[:, time >= last] = 0.0
    second[:, time < entry] = 0.0
    middle = (ENTRY + last) / 2
    if planted.swap:
        first[0, time >= middle] = 0.0
        second[0, time < middle] = 0.0
    mix: Doubles = first.sum(axis=0) + second.sum(axis=0) * 10 ** (planted.gain_db / 20)
    if planted.echo:
        delay = round(0.75 * BEAT * RATE)
        dry = first.sum(axis=0)
        for repeat in (1, 2, 3):
            mix[repeat * delay :] += 0.5**repeat * dry[: -repeat * delay]
    return mix


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("tracks")
    beats = np.arange(0, SECONDS, BEAT)
    found = []
    vocals = (((20.0, 24.0),), ((0.0, 6.0),))  # both sing from 20 to 22 s of the mix
    for number, seed in enumerate((FIRST, SECOND)):
        track = make_track(seed)
        path = folder / f"{number}.wav"
        soundfile.write(path, track.sum(axis=0), RATE, subtype="FLOAT")
        found.append(Source(str(number), path, beats, beats[::4], beats[::16], vocals[number]))
    return found


@pytest.fixture(scope="module")
def judge(
    sources: list[Source], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Planted], Score]:
    folder = tmp_path_factory.mktemp("mixes")
    known: dict[Planted, Score] = {}

    def judged(planted: Planted) -> Score:
        if planted not in known:
            path = folder / f"{len(known)}.wav"
            soundfile.write(path, render(planted), RATE, subtype="FLOAT")
            known[planted] = score(path, sources, TEMPOS, sorted({0.0, planted.shift}))
        result = known[planted]
        assert [play.source.name for play in result.plays] == ["0", "1"]
        return result

    return judged


@pytest.mark.parametrize("late", [0.0, 0.002, -0.005])
def test_a_beat_offset_is_recovered(judge: Callable[[Planted], Score], late: float) -> None:
    [join] = judge(Planted(late=late)).transitions
    assert len(join.offsets) > 15
    assert np.allclose(join.offsets, late, atol=0.0002)
    assert join.bar and join.phrase
    assert join.overlap == pytest.approx(12.0, abs=1.0)
    assert (join.begin, join.end) == pytest.approx((16.0, 28.0), abs=0.8)


def test_a_level_step_is_recovered(judge: Callable[[Planted], Score]) -> None:
    even, louder = judge(Planted()), judge(Planted(gain_db=0.5))
    assert even.transitions[0].step is not None and louder.transitions[0].step is not None
    assert louder.transitions[0].step - even.transitions[0].step == pytest.approx(0.5, abs=0.03)
    assert 20 * np.log10(louder.plays[1].gain) == pytest.approx(0.5, abs=0.1)
    assert 20 * np.log10(louder.plays[0].gain) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("beats", "bar", "phrase"), [(4, True, False), (1, False, False), (16, True, True)]
)
def test_a_bar_or_a_beat_off_is_recovered(
    judge: Callable[[Planted], Score], beats: int, bar: bool, phrase: bool
) -> None:
    [join] = judge(Planted(late=beats * BEAT, fade=14.0)).transitions
    assert np.allclose(join.offsets, 0.0, atol=0.0002)
    assert (join.bar, join.phrase) == (bar, phrase)


def test_a_swapped_bass_is_no_plain_fade(judge: Callable[[Planted], Score]) -> None:
    [both] = judge(Planted()).transitions
    [swapped] = judge(Planted(swap=True)).transitions
    assert both.two_basses == pytest.approx(12.0, abs=1.5) and both.plain
    assert swapped.two_basses < 0.6 and swapped.plain is False
    assert both.two_voices == pytest.approx(2.0, abs=0.5)


def test_a_tempo_ratio_is_recovered(judge: Callable[[Planted], Score]) -> None:
    result = judge(Planted(rate=1.03, late=0.002))
    [play] = result.plays[1:]
    assert play.passages[0].map.rate(30.0) == pytest.approx(1.03, abs=1e-4)
    assert play.passages[0].pitch is None
    [join] = result.transitions
    assert join.offsets[0] == pytest.approx(0.002, abs=0.0005)
    drift = np.diff(join.offsets)
    drift = drift[np.abs(drift) < BEAT / 2]
    assert np.allclose(drift, BEAT / 1.03 - BEAT, atol=0.0002)
    assert join.plain  # the tempos are not matched


def test_audio_that_keeps_its_pitch_is_followed(judge: Callable[[Planted], Score]) -> None:
    result = judge(Planted(rate=1.03, late=0.002, keep_pitch=True))
    [play] = result.plays[1:]
    assert play.passages[0].map.rate(30.0) == pytest.approx(1.03, abs=2e-4)
    assert play.passages[0].pitch == pytest.approx(1.0, abs=1e-3)
    assert result.transitions[0].offsets[0] == pytest.approx(0.002, abs=0.001)


def test_a_transposition_is_found(judge: Callable[[Planted], Score]) -> None:
    result = judge(Planted(rate=1.02, late=0.002, keep_pitch=True, shift=1.0))
    [play] = result.plays[1:]
    assert play.passages[0].map.rate(30.0) == pytest.approx(1.02, abs=2e-4)
    assert play.passages[0].pitch == pytest.approx(2 ** (1 / 12), abs=2e-3)
    assert result.transitions[0].offsets[0] == pytest.approx(0.002, abs=0.001)


def test_a_ramp_of_the_tempo_is_followed(judge: Callable[[Planted], Score]) -> None:
    result = judge(Planted(ramp=0.04, late=0.003))
    first = result.plays[0].passages[0]
    for second in (8.0, 22.0):
        rate = 1 + 0.04 * second / RAMP_SECONDS
        assert first.map.rate(second) == pytest.approx(rate, abs=0.001)
    [join] = result.transitions
    # The position in the first track as the second one enters.
    clock = ENTRY + 0.04 * ENTRY**2 / (2 * RAMP_SECONDS)
    expected = (clock + 0.003) - round(clock / BEAT) * BEAT
    rate = 1 + 0.04 * 22.0 / RAMP_SECONDS  # in the middle of the overlap
    assert np.median(join.offsets) == pytest.approx(expected / rate, abs=0.001)


def test_a_gap_is_silence_and_keeps_the_bars(judge: Callable[[Planted], Score]) -> None:
    result = judge(Planted(fade=-2.0))
    assert result.silence == pytest.approx(2.0 - 0.3, abs=0.35)  # the last notes ring
    [join] = result.transitions
    assert join.overlap == 0.0 and not join.offsets and join.plain is None
    assert join.bar is True and join.phrase is False
    assert result.figures()["plain fades"] is None


def test_an_echo_does_not_break_the_detection(judge: Callable[[Planted], Score]) -> None:
    [join] = judge(Planted(echo=True, late=0.002)).transitions
    assert np.median(join.offsets) == pytest.approx(0.002, abs=0.0003)
    assert join.overlap == pytest.approx(12.0, abs=1.5)


def test_tracks_are_chosen_by_meter_length_and_tempo(tmp_path: Path) -> None:
    for name, bpm, meter, seconds in [
        ("a/near", 127.0, 4, 101.0), ("a/waltz", 128.0, 3, 101.0), ("a/short", 128.0, 4, 60.0),
        ("a/far", 90.0, 4, 101.0), ("a/nearest", 128.2, 4, 101.0), ("b/other", 100.0, 4, 101.0),
    ]:  # fmt: skip
        audio = tmp_path / "corpus" / f"{name}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, np.zeros(round(8000 * seconds)), 8000)
        truth = tmp_path / "truth" / f"{name.replace('/', '__')}.json"
        truth.parent.mkdir(exist_ok=True)
        truth.write_text(json.dumps({"name": name, "bpm": bpm, "meter": [meter, 4], "first": 0.0,
                                     "seconds": seconds}))  # fmt: skip
    chosen = choose([tmp_path], [], 2)
    assert [track.name for track in chosen] == ["a/nearest", "a/near", "b/other"]
    made = make_contest(tmp_path / "contest", [tmp_path], ["b"], 1)
    assert [source.name for source in read_sources(tmp_path / "contest")] == ["b-other"]
    assert len(made[0].phrases) == -(-len(made[0].beats) // 16)
    with pytest.raises(BenchmarkError, match="no track"):
        choose([tmp_path], ["c"], 1)


def test_the_table_names_the_columns_that_others_win() -> None:
    join = Transition("a", "b", 10.0, 20.0, 10.0, [0.002, -0.004], True, True, 1.0, False)
    good = Score([], [join], 100.0, 0.0)
    bad = Score([], [replace(join, offsets=[0.001], plain=True, bar=False, step=-3.0)], 90.0, 1.0)
    scores = {"ours": good, "theirs": bad}
    assert not_first(scores, "theirs") == [
        "bars %: 0 (ours 100)", "step p50 LU: 3.0 (ours 1.0)", "step max LU: 3.0 (ours 1.0)",
        "silence s: 1.00 (ours 0.00)", "plain fades %: 100 (ours 0)",
    ]  # fmt: skip
    assert not_first(scores, "ours") == [
        "beat p50 ms: 2.0 (theirs 1.0)", "beat p95 ms: 4.0 (theirs 1.0)"
    ]
    [heading, first, _second] = table_of(scores).splitlines()
    assert good.figures()["two voices"] is None  # without labels
    assert "two voices s" in heading and first.split()[0] == "ours"
    assert json.loads(json.dumps(good.to_dict()))["transitions"][0]["offsets"] == [0.002, -0.004]


def test_the_description_of_tracks_survives_being_written(
    sources: list[Source], tmp_path: Path
) -> None:
    write_sources(tmp_path, sources)
    [first, _second] = read_sources(tmp_path)
    assert first.path == sources[0].path
    assert np.allclose(first.phrases, sources[0].phrases)
    assert (first.vocals, first.bass) == (sources[0].vocals, None)
    (tmp_path / "tracks.json").write_text('{"tracks": [{"path": "absent.wav"}]}')
    with pytest.raises(BenchmarkError, match=r"absent\.wav"):
        read_sources(tmp_path)
    (tmp_path / "tracks.json").write_text('{"tracks": [{}]}')
    with pytest.raises(BenchmarkError, match="not a list"):
        read_sources(tmp_path)
