"""An engine hands over to one with another block size, without losing a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import CAUSE_RESIZED, FLAG_RESIZED
from crowdstream.engine.drivers.callback import Callback, StreamChange
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
