"""Keylock: attacks on time, pitch kept, no attack doubled or lost, bit-exact where possible."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.opcodes import LOOP_SET, OP_KEYLOCK, OP_LOOP, OP_SEEK
from crowdstream.desk.ramps import VOICE_PITCH, VOICE_RATE, VOICE_STEM, voice_ramp
from tests.support.position_track import places, track
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

BEAT = 18000  # frames from one kick to the next


def _kicks(number: int, gap: int = BEAT) -> tuple[np.ndarray, list[int]]:
    t = np.arange(9000) / RATE
    body = np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.06)
    body *= np.minimum(1.0, np.arange(len(t)) / 10) * np.linspace(1, 0, len(t))
    wave = np.zeros(number * gap + len(t) + 4000, np.float32)
    attacks = [3000 + n * gap for n in range(number)]
    for at in attacks:
        wave[at : at + len(t)] += 0.7 * body.astype(np.float32)
    return wave, attacks


def _clicks(number: int, gap: int) -> tuple[np.ndarray, list[int]]:
    # An impulse on each attack over a quiet tone, so that attacks can be counted.
    attacks = [3000 + n * gap for n in range(number)]
    wave = 0.02 * np.sin(2 * np.pi * 110 * np.arange(number * gap + 8000) / RATE)
    wave[attacks] += 0.9
    return wave.astype(np.float32), attacks


def _begin(harness: RenderHarness, sources: int | list[int], *, rate: float, pitch: float = 1.0,
           keylock: int = 1, **how: object) -> None:  # fmt: skip
    records = [harness.start_command(0, sources, rate=rate, **how)]  # type: ignore[arg-type]
    records.append(harness.command(OP_KEYLOCK, target=0, index=keylock))
    harness.push(*records)
    if pitch != 1.0:
        harness.ramp(voice_ramp(0, VOICE_PITCH), pitch)


def _onsets(out: np.ndarray, wanted: list[float], near: int = 1500) -> np.ndarray:
    # By how many frames each attack of `_kicks` is late, found by matching its onset.
    model, _ = _kicks(1)
    model = model[2990:3200]
    late = []
    for at in wanted:
        first = round(at) - 10 - near
        part = out[first : first + 2 * near + len(model)]
        if first < 0 or len(part) < 2 * near + len(model):
            continue
        off = [float(np.sum((part[k : k + len(model)] - model) ** 2)) for k in range(2 * near)]
        late.append(first + int(np.argmin(off)) + 10 - at)
    return np.array(late)


def test_keylock_at_rate_one_is_bit_exact() -> None:
    samples = noise(60000)
    with RenderHarness() as harness:
        _begin(harness, harness.load(samples, attacks=[5, 9000, 20000]), rate=1.0)
        out = harness.render(50000, 300)
        assert int(harness.desk.voices[0]["locked"]) == 1
    assert np.array_equal(out, as_float(samples)[:50000])


def test_keylock_is_bit_exact_again_after_returning_to_rate_one() -> None:
    samples = noise(300000, peak=0.4)
    with RenderHarness() as harness:
        _begin(harness, harness.load(samples), rate=1.06)
        harness.ramp(voice_ramp(0, VOICE_RATE), 1.0, 3000, frame=50000)
        out = harness.render(140000)
        place = int(harness.desk.voices[0]["position"])
    end = out[-2000:]
    expected = as_float(samples)[place - 2000 : place]
    shifts = [k for k in (-1, 0, 1) if np.array_equal(
        end, as_float(samples)[place - 2000 + k : place + k])]  # fmt: skip
    assert shifts, np.abs(end - expected).max()


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.94, 1.06, 1.25, 1.6, 2.0])
def test_kicks_sound_when_they_are_due(rate: float) -> None:
    wave, attacks = _kicks(14)
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave, attacks=attacks), rate=rate)
        out = harness.render(int(attacks[-1] / rate))[:, 0]
        assert int(harness.desk.voices[0]["splices"]) >= 10
    late = _onsets(out, [at / rate for at in attacks])
    assert len(late) >= 12
    assert np.max(np.abs(late)) <= 12  # 0.27 ms


@pytest.mark.parametrize("pitch", [2 ** (-5 / 12), 2 ** (7 / 12)])
def test_a_tone_has_the_requested_pitch(pitch: float) -> None:
    wave = sine(440.0, 200000, level=0.5)
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave), rate=1.1, pitch=pitch)
        out = harness.render(131072)[:, 0][-65536:]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    peak = float(np.argmax(spectrum)) * RATE / len(out)
    assert abs(peak - 440 * pitch) < 1.5
    assert abs(float(np.std(out)) - 0.5 / np.sqrt(2)) < 0.03


@pytest.mark.parametrize(
    ("rate", "gap"), [(0.5, 9000), (0.7, 5000), (0.94, 2500), (1.06, 2500), (1.4, 6000)]
)
def test_no_attack_is_doubled_or_lost(rate: float, gap: int) -> None:
    wave, attacks = _clicks(50, gap)
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave, attacks=attacks), rate=rate)
        out = harness.render(int((attacks[-1] + 3000) / rate))[:, 0]
    heard = np.flatnonzero(np.abs(out) > 0.5)
    assert len(heard) == len(attacks)
    assert np.max(np.abs(heard - np.array(attacks) / rate)) <= 12


def test_the_sum_of_single_stems_equals_the_mix() -> None:
    drums, attacks = _kicks(8)
    stems = [drums, 0.1 * sine(97.0, len(drums)), noise(len(drums), 1, peak=0.05, seed=4)]
    alone = []
    together = np.zeros(0)
    for heard in (None, 0, 1, 2):
        with RenderHarness() as harness:
            numbers = [harness.load(stems[0], attacks=attacks), *map(harness.load, stems[1:])]
            gains = [1.0 if heard in (None, n) else 0.0 for n in range(3)]
            _begin(harness, numbers, rate=1.06, gains=gains)
            out = harness.render(100000).astype(np.float64)
        if heard is None:
            together = out
        else:
            alone.append(out)
    assert np.max(np.abs(sum(alone) - together)) < 2e-6


def _journey(harness: RenderHarness) -> None:
    drums, attacks = _kicks(14)
    bass = harness.load(0.3 * sine(55.0, len(drums)))
    _begin(harness, [harness.load(drums, attacks=attacks), bass], rate=1.06)
    harness.ramp(voice_ramp(0, VOICE_RATE), 0.8, 4001, frame=10007)
    harness.ramp(voice_ramp(0, VOICE_PITCH), 1.3, 2003, frame=20001)
    harness.ramp(voice_ramp(0, VOICE_STEM + 1), 0.2, 701, frame=23001)
    harness.send(OP_SEEK, target=0, start=70001, frame=30011)
    harness.ramp(voice_ramp(0, VOICE_PITCH), 1.0, 0, frame=37003)
    harness.send(OP_KEYLOCK, target=0, index=0, frame=41003)
    harness.ramp(voice_ramp(0, VOICE_RATE), 1.0, 900, frame=45001)
    harness.send(OP_KEYLOCK, target=0, index=1, frame=65003)
    harness.ramp(voice_ramp(0, VOICE_RATE), 1.2, 0, frame=66003)
    harness.start(1, bass, deck=1, rate=1.01, loop=(5000, 22050), frame=3001)
    harness.send(OP_KEYLOCK, target=1, index=1, frame=3001)


@pytest.mark.parametrize("blocks", [1023, 64, (3, 250, 7, 511), 2048])
def test_block_length_changes_nothing(blocks: int | tuple[int, ...]) -> None:
    with RenderHarness() as harness, RenderHarness() as other:
        for one in (harness, other):
            _journey(one)
        assert np.array_equal(harness.render(90000, 256), other.render(90000, blocks))


def test_switching_keylock_and_gliding_pitch_make_no_click() -> None:
    wave = sine(220.0, 400000, level=0.5)
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave), rate=1.06, keylock=0)
        for n in range(6):
            harness.send(OP_KEYLOCK, target=0, index=1 - n % 2, frame=9001 + 12000 * n)
        harness.ramp(voice_ramp(0, VOICE_PITCH), 1.2, 2205, frame=30001)
        harness.ramp(voice_ramp(0, VOICE_PITCH), 1.0, 2205, frame=60001)
        out = harness.render(110000)[:, 0].astype(np.float64)
        # With keylock off and the original pitch, the two heads have merged.
        assert int(harness.desk.voices[0]["locked"]) == 0
    steepest = 0.5 * 2 * np.pi * 220 * 1.3 / RATE
    assert np.max(np.abs(np.diff(out))) < 1.15 * steepest
    assert np.max(np.abs(out)) < 0.56


def test_merged_heads_play_as_if_keylock_had_never_been_on() -> None:
    wave = sine(220.0, 400000, level=0.5)
    with RenderHarness() as harness, RenderHarness() as other:
        _begin(harness, harness.load(wave), rate=1.06)
        other.start(0, other.load(wave), rate=1.06)
        harness.send(OP_KEYLOCK, target=0, index=0, frame=20001)
        out, plain = harness.render(90000), other.render(90000)
        assert int(harness.desk.voices[0]["locked"]) == 0
        for name in ("play", "position"):
            assert int(harness.desk.voices[0][name]) == int(other.desk.voices[0][name])
    assert np.max(np.abs(out[-10000:] - plain[-10000:])) < 1e-4


def test_a_seek_is_immediate_and_exact() -> None:
    wave, attacks = _kicks(14)
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave, attacks=attacks), rate=1.06)
        harness.send(OP_SEEK, target=0, start=attacks[6] - 1060, frame=20000)
        out = harness.render(60000)[:, 0]
    wanted = [20000 + (at - attacks[6] + 1060) / 1.06 for at in attacks[6:8]]
    assert np.max(np.abs(_onsets(out, wanted, near=900))) <= 12


@pytest.mark.parametrize("rate", [0.9, 1.06])
def test_a_loop_keeps_its_length_with_keylock(rate: float) -> None:
    wave, attacks = _kicks(6)
    loop = (attacks[1] - 800, attacks[3] - 800)
    length = loop[1] - loop[0]
    with RenderHarness() as harness:
        _begin(harness, harness.load(wave, attacks=attacks), rate=rate, start=loop[0], loop=loop)
        out = harness.render(int(5 * length / rate))[:, 0]
        assert int(harness.desk.voices[0]["wraps"]) >= 4
    wanted = [(800 + n * BEAT) / rate for n in range(9)]
    assert np.max(np.abs(_onsets(out, wanted[1:], near=700))) <= 12


def test_random_commands_keep_keylock_finite_and_bounded() -> None:
    rng = np.random.default_rng(5)
    drums, attacks = _kicks(30, gap=4000)
    with RenderHarness() as harness:
        numbers = [harness.load(drums, attacks=attacks), harness.load(noise(len(drums), peak=0.1))]
        _begin(harness, numbers, rate=1.0, loop=(0, len(drums)))
        frame = 0
        for _ in range(150):
            frame += int(rng.integers(1, 2500))
            kind = int(rng.integers(0, 4))
            frames = int(rng.integers(0, 3000))
            if kind == 0:
                target = float(rng.uniform(0.5, 2.0))
                harness.ramp(voice_ramp(0, VOICE_RATE), target, frames, frame=frame)
            elif kind == 1:
                target = float(2 ** rng.uniform(-1, 1))
                harness.ramp(voice_ramp(0, VOICE_PITCH), target, frames, frame=frame)
            elif kind == 2:
                harness.send(OP_KEYLOCK, target=0, index=int(rng.integers(0, 2)), frame=frame)
            else:
                start = int(rng.integers(0, len(drums)))
                harness.send(OP_SEEK, target=0, start=start, frame=frame)
        worst = 0.0
        for _ in range(frame // 5000):
            out = harness.render(5000, (256, 31, 1))
            assert np.all(np.isfinite(out))
            worst = max(worst, float(np.max(np.abs(out))))
            voice = harness.desk.voices[0]
            apart = abs(int(voice["lock_cursor"]) - int(voice["cursor"])) % len(drums)
            assert not voice["locked"] or min(apart, len(drums) - apart) < 0.3 * RATE
        assert int(harness.desk.ledger["nonfinite"]) == 0
    assert 0.2 < worst <= 1.0


def test_keylock_survives_missing_pages_and_the_end_of_the_file() -> None:
    samples = noise(50000, peak=0.3)
    with RenderHarness() as harness:
        _begin(harness, harness.load(samples, missing=[1]), rate=1.06)
        out = harness.render(60000)
        assert np.all(np.isfinite(out)) and not out[-5000:].any()
        assert int(harness.desk.voices[0]["state"]) == 0


@pytest.mark.parametrize("length", [40, 300, 6000, 20000])
@pytest.mark.parametrize("rate", [1.0, 0.94])
def test_a_loop_that_ends_just_ahead_of_the_playhead_is_played(rate: float, length: int) -> None:
    # The audible head is past that end already.
    with RenderHarness() as harness:
        _begin(harness, track(harness), rate=rate)
        harness.render(30000)
        last = int(harness.desk.voices[0]["position"]) + 5
        harness.send(OP_LOOP, target=0, index=LOOP_SET, loop_in=last - length, loop_out=last)
        heard = places(harness.render(70000))[2000:]
    assert last - length - 2500 < heard.min() and heard.max() < last + 600
