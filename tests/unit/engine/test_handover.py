"""An engine hands over to one with another block size, without losing a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.constants import HANDOVER_FRAMES
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import CAUSE_RESIZED, FLAG_RESIZED
from crowdstream.engine.drivers import callback
from crowdstream.engine.drivers.callback import (
    MIN_REPORTS,
    Callback,
    StreamChange,
    StreamTime,
)
from tests.support.render_harness import RenderHarness, as_float, noise

RATE = 44100
SECOND = 1_000_000_000


@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    with RenderHarness() as made:
        yield made


def pair(harness: RenderHarness, frames: int, channels: int = 2) -> tuple[Callback, Callback]:
    """Return the active engine with blocks of 256, and a waiting one with other blocks."""
    made = Callback(harness.desk, 256, 1), Callback(harness.desk, frames, 2)
    for one in made:
        one._first = False  # keeps the priority of the test's thread
        one.channels = channels
    harness.desk.header["block_frames"] = 256
    return made


@pytest.mark.parametrize("ahead", [0, 100, 256, 1000, 16384])
@pytest.mark.parametrize("channels", [2, 4])
def test_frames_rendered_ahead_are_played(
    harness: RenderHarness, ahead: int, channels: int
) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    first, second = pair(harness, 1024, channels)
    second.first_flag = FLAG_RESIZED
    heard = [first.fill(256, False).copy() for _ in range(4)]
    assert not second.fill(1024, False).any()
    Lease(harness.desk, 2).request_handover(ahead)
    rest = np.concatenate([first.fill(256, False).copy() for _ in range(70)])
    assert not rest[ahead:].any()
    assert harness.desk.frame == 1024 + ahead and int(harness.desk.lease["owner"]) == 2
    heard += [rest[:ahead]]
    heard += [second.fill(1024, False).copy() for _ in range(4)]
    together = np.concatenate(heard)
    assert np.array_equal(together[:, :2], as_float(samples)[: len(together)])
    assert together.shape[1] == channels
    assert not first.renders and second.renders and int(harness.desk.ledger["guarded"]) == 0
    del first, second


def test_the_cue_bus_is_rendered_ahead_too(harness: RenderHarness) -> None:
    harness.start(0, harness.load(noise(40000)))
    harness.ramp(40, 1.0)  # RAMP_PFL of deck A
    first, second = pair(harness, 1024, 4)
    heard = [first.fill(256, False).copy() for _ in range(4)]
    Lease(harness.desk, 2).request_handover(1000)
    heard.append(np.concatenate([first.fill(256, False).copy() for _ in range(4)])[:1000])
    heard += [second.fill(1024, False).copy()]
    cue = np.concatenate(heard)[:, 2:]
    assert np.array_equal(cue[256:], np.concatenate(heard)[256:, :2]) and cue[256:].any()
    del first, second


def test_a_withdrawn_request_is_not_granted(harness: RenderHarness) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    first, second = pair(harness, 1024)
    lease = Lease(harness.desk, 2)
    first.fill(256, False)
    lease.request_handover()
    harness.desk.lease["wanted"] = 0  # its request was withdrawn
    assert first.fill(256, False).any() and first.renders
    assert not Lease(harness.desk, 1).hand_over()
    assert int(harness.desk.lease["owner"]) == 1
    del first, second


@pytest.mark.parametrize(
    ("latency", "late", "plays", "silence"),
    [
        (0.05, 0.0, False, 0.0),  # the other engine is audible for another 0.1 s and a block
        (0.05, 0.045, False, 0.0),
        (0.05, 0.5, True, 0.45),
        (0.4, 0.0, True, 0.3),
    ],
)
def test_a_new_engine_waits_until_the_old_one_is_no_longer_audible(
    harness: RenderHarness, latency: float, late: float, plays: bool, silence: float
) -> None:
    harness.start(0, harness.load(noise(40000)))
    first, second = pair(harness, 512)
    harness.desk.clock["latency"] = 0.1
    second.first_flag, second.change = FLAG_RESIZED, StreamChange(512, latency)
    first.fill(256, False)
    Lease(harness.desk, 2).request_handover()
    first.fill(256, False)
    harness.desk.clock["callback_ns"] = time.monotonic_ns() - int(late * SECOND)
    assert second.fill(512, False).any() == second.renders == plays
    assert int(harness.desk.header["block_frames"]) == (512 if plays else 256)
    assert int(harness.desk.ledger["gaps"][CAUSE_RESIZED]) == int(plays)
    assert (
        int(harness.desk.ledger["gap_count"]) == int(plays) and not harness.desk.lease["takeovers"]
    )
    if plays:
        expected = silence - 256 / RATE
        assert expected <= int(harness.desk.lease["silence_ns"]) / SECOND < expected + 20
        assert int(harness.desk.gaps[0]["excess_ns"]) == int(harness.desk.lease["silence_ns"])
        assert float(harness.desk.clock["latency"]) == latency
    del first, second


def test_events_are_announced_once(harness: RenderHarness) -> None:
    engine, _other = pair(harness, 256)
    announced = []
    engine.announce = lambda: announced.append(harness.desk.frame)
    engine.fill(256, False)
    announced.clear()
    engine.fill(256, False)
    assert not announced
    harness.start(0, harness.load(noise(1000)))
    engine.fill(256, False)
    assert announced == [harness.desk.frame], "the voice has started"
    engine.fill(256, False)
    assert len(announced) == 1


class ManualTime:
    """The clock of the callbacks, in nanoseconds."""

    def __init__(self) -> None:
        self.now = SECOND

    def monotonic_ns(self) -> int:
        """Return the time that the test has set."""
        return self.now


AHEAD = 600


def crossfaded(
    harness: RenderHarness, manual: ManualTime, frames: int, early: int, channels: int = 2,
    grid: int = 0, error: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Hand over with a fade; return what both streams play, from the first frame on.

    The new engine's first block sounds `early` frames before the fade of the other one begins. It
    believes that it sounds `error` frames later.
    """
    first, second = pair(harness, frames, channels)
    second.grid = grid
    second.first_flag, second.change = FLAG_RESIZED, StreamChange(frames, 0.0)
    old = [first.fill(256, False).copy() for _ in range(4)]
    Lease(harness.desk, 2).request_handover(AHEAD, fade=True)
    blocks = 0
    while int(harness.desk.lease["owner"]) != 2:
        assert not second.fill(frames, False).any() and not second.renders
        manual.now += round(256 / RATE * SECOND)
        old.append(first.fill(256, False).copy())
        blocks += 1
    assert blocks > 1, "it renders ahead over several blocks, so that none of them is late"
    begin = 256 * (len(old) - 1) + AHEAD - early  # of the new stream, in frames of the old one
    manual.now += round((AHEAD - early + error) / RATE * SECOND)
    new = [second.fill(frames, False).copy() for _ in range(3 + HANDOVER_FRAMES // frames)]
    old += [first.fill(256, False).copy() for _ in range(60)]
    assert int(harness.desk.ledger["guarded"]) == 0 and not first.renders
    before = np.zeros((begin, channels), np.float32)
    return np.concatenate(old), np.concatenate([before, *new])


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> ManualTime:
    made = ManualTime()
    monkeypatch.setattr(callback, "time", made)
    return made


@pytest.mark.parametrize(
    ("frames", "early"), [(64, 0), (64, 63), (256, 100), (1024, 1023), (4096, 1), (256, -100)]
)
@pytest.mark.parametrize("channels", [2, 4])
def test_both_engines_play_the_same_frames_while_one_fades_to_the_other(
    harness: RenderHarness, manual: ManualTime, frames: int, early: int, channels: int
) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    harness.ramp(40, 1.0)  # RAMP_PFL of deck A
    old, new = crossfaded(harness, manual, frames, early, channels)
    some = min(len(old), len(new))
    together = old[:some] + new[:some]
    source = as_float(samples)[:some]
    # A stream that is late lacks the beginning of its fade, which is that much quieter.
    missing = max(0, -early) / HANDOVER_FRAMES
    assert np.abs(together[:, :2] - source).max() <= missing + 1e-6
    if channels == 4:  # the cue bus has faded in by then
        assert np.abs(together[600:, 2:] - source[600:]).max() <= missing + 1e-6
    fade = int(np.flatnonzero(new.any(axis=1))[0]) - max(0, -early)
    assert np.array_equal(old[:fade, :2], source[:fade])
    after = fade + HANDOVER_FRAMES
    assert not old[after:].any() and np.array_equal(new[after:some, :2], source[after:])
    assert int(harness.desk.lease["silence_ns"]) == 0
    assert int(harness.desk.ledger["gap_count"]) == 0 and not harness.desk.lease["takeovers"]


@pytest.mark.parametrize("error", [-30, -1, 10, 30])
def test_times_that_are_wrong_matter_not_where_streams_have_the_same_cycles(
    harness: RenderHarness, manual: ManualTime, error: int
) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    early = AHEAD % 64 + 64
    old, new = crossfaded(harness, manual, 256, early, grid=64, error=error)
    some = min(len(old), len(new))
    source = as_float(samples)[:some]
    assert np.abs(old[:some] + new[:some] - source).max() <= 1e-6


def test_an_engine_that_would_be_heard_too_early_waits_for_another_block(
    harness: RenderHarness, manual: ManualTime
) -> None:
    harness.start(0, harness.load(noise(40000)))
    _old, new = crossfaded(harness, manual, 256, 256)
    assert not new.any(), "its clock stands still"


def test_a_fade_that_is_not_granted_is_not_heard(harness: RenderHarness) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    first, second = pair(harness, 256)
    lease = Lease(harness.desk, 2)
    heard = [first.fill(256, False).copy() for _ in range(2)]
    lease.request_handover(AHEAD, fade=True)
    heard.append(first.fill(256, False).copy())  # it has begun to render ahead
    harness.desk.lease["wanted"] = 0  # the request was withdrawn
    heard += [first.fill(256, False).copy() for _ in range(40)]
    together = np.concatenate(heard)
    assert np.array_equal(together, as_float(samples)[: len(together)])
    lease.request_handover(AHEAD, fade=True)
    for _ in range(60):
        first.fill(256, False)
    assert not first.renders and int(harness.desk.ledger["guarded"]) == 0
    del first, second


def test_the_time_at_which_a_stream_is_heard_is_averaged() -> None:
    rate, latency = 48000.0, 0.01
    stream = StreamTime(rate)
    assert stream.heard_ns(5 * SECOND, latency) == 5 * SECOND + SECOND // 100
    errors = np.random.default_rng(1).uniform(-2e6, 2e6, 1000)
    for block, error in enumerate(errors):
        exact = 5 * SECOND + block * SECOND // 100
        stream.report(exact + int(error))
        if block > 500:
            assert abs(stream.heard_ns(0, latency) - exact) < 0.2e6
        stream.next_block(480)
    moved = 6 * SECOND + 1000 * SECOND // 100  # an underrun of a second
    for block in range(2 * MIN_REPORTS):
        stream.report(moved + block * SECOND // 100)
        stream.next_block(480)
    assert abs(stream.heard_ns(0, latency) - moved - 2 * MIN_REPORTS * SECOND // 100) < 1000


@pytest.mark.parametrize("frames", [256, 512, 1024, 8192])
def test_two_engines_agree_on_the_time_of_a_device_whose_clock_drifts(frames: int) -> None:
    old, new = StreamTime(RATE), StreamTime(RATE)
    block = frames * SECOND / RATE * (1.0 + 50e-6)
    for number in range(round(600 * SECOND / block)):
        begin = 5 * SECOND + int(number * block)
        for stream in (old, new) if number * block > 580 * SECOND else (old,):
            stream.report(begin)
            stream.next_block(frames)
    # A stream of JACK is aligned if its time is known to half of 64 frames: 0.7 ms.
    assert abs(old.heard_ns(0, 0.0) - new.heard_ns(0, 0.0)) < 0.6e6


def test_a_handover_uses_the_times_that_the_device_reports(harness: RenderHarness) -> None:
    samples = noise(40000)
    harness.start(0, harness.load(samples))
    first, second = pair(harness, 256)
    second.first_flag, second.change = FLAG_RESIZED, StreamChange(256, 0.3)
    block = 256 * SECOND // RATE
    at, later = 3 * SECOND, 3 * SECOND + 100 * SECOND // RATE  # the second stream is 100 frames off
    heard = np.zeros((60 * 256, 2), np.float32)

    def play(number: int) -> None:
        begin = number * 256
        heard[begin : begin + 256] += first.fill(256, False, at + number * block)
        heard[begin + 100 : begin + 356] += second.fill(256, False, later + number * block)[:256]

    for number in range(MIN_REPORTS):
        play(number)
    Lease(harness.desk, 2).request_handover(AHEAD, fade=True)
    for number in range(MIN_REPORTS, 59):
        play(number)
    assert second.renders and not first.renders
    some = 58 * 256
    assert np.abs(heard[:some] - as_float(samples)[:some]).max() <= 1e-6
