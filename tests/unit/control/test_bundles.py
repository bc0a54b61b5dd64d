"""Bundles: their messages act together, exactly at the frame of the time tag."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, at_once, bundle, level, stem_of, write


@pytest.fixture
def steady(tmp_path: Path) -> str:
    return str(write(tmp_path / "steady.wav", level(3)))


def test_messages_of_a_bundle_act_at_its_frame(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(1024)
    rig.raw(bundle(0.3, build("/start_group", (0.0, "A"))))
    rig.seconds(0.5)
    # The frame of an instant is one block after it, so the latency is constant.
    assert rig.first_sound() == round(0.3 * RATE) + rig.block
    assert not rig.heard("/late")


def test_start_at_is_relative_to_the_bundles_time(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(1024)
    rig.raw(bundle(0.2, build("/reset", ()), build("/start_group", (0.1, "A"))))
    rig.seconds(0.5)
    assert rig.first_sound() == round(0.2 * RATE) + round(0.1 * RATE) + rig.block


def test_bundles_out_of_order_far_ahead_and_nested_act_at_their_frames(
    rig: Rig, steady: str
) -> None:
    rig.send("/cue", "A", steady)
    rig.run(512)
    rig.raw(bundle(2.0, build("/stem_volume", (100, 0.5))))
    rig.raw(bundle(1.0, build("/deck_levels", (0.5,))))
    rig.raw(bundle(0.1, bundle(0.2, build("/start_group", (0.0, "A")))))
    rig.seconds(2.5)
    out = rig.out[:, 0]
    start = round(0.2 * RATE) + rig.block
    assert rig.first_sound() == start
    drop = round(1.0 * RATE) + rig.block
    assert out[drop - 1] == 0.25
    assert out[drop] < 0.25
    assert out[drop + 1000] == pytest.approx(0.125)
    second = round(2.0 * RATE) + rig.block
    assert out[second - 1] == pytest.approx(0.125)
    assert out[second] < 0.125
    assert not rig.heard("/late")


def test_a_late_bundle_acts_now_and_each_message_is_reported_once(
    rig: Rig, steady: str
) -> None:
    rig.send("/cue", "A", steady)
    rig.seconds(1)
    rig.raw(bundle(0.5, build("/deck_levels", (1.0, 0.1, 0.2, 0.3)), build("/reset", ())))
    rig.raw(bundle(-1e8, build("/deck_levels", (1.0,))))
    rig.run(1024)
    late = rig.heard("/late")
    assert [address for address, _ in late] == ["/deck_levels", "/reset", "/deck_levels"]
    assert late[0][1] == pytest.approx(0.5, abs=0.02)
    assert rig.core.beat_clock.zero == round(0.5 * RATE) + rig.block


def test_equal_time_tags_are_equal_frames_despite_clock_jitter(
    rig: Rig, tmp_path: Path
) -> None:
    rig.send("/cue", "A", stem_of(tmp_path, 0))
    rig.send("/cue", "B", stem_of(tmp_path, 1))
    rig.run(1024)
    rig.raw(bundle(0.4, build("/start_group", (0.0, "A"))))
    rig.run(1024)
    assert rig.core.clock._offset is not None
    rig.core.clock._offset += 17.0  # as jitter of the callbacks could cause
    rig.raw(bundle(0.4, build("/start_group", (0.0, "B"))))
    rig.seconds(0.6)
    assert rig.first_sound(channel=0) == rig.first_sound(channel=1)


def test_an_immediate_bundle_is_published_as_one_batch(rig: Rig, steady: str) -> None:
    # The start in the middle must not publish the first message ahead of the last one.
    rig.send("/cue", "A", steady)
    rig.run(1024)
    flushed = []
    flush = rig.core.engine_queue.flush

    def watched() -> None:
        flushed.append(rig.core.engine_queue.mark()[0])
        flush()

    rig.core.engine_queue.flush = watched  # type: ignore[method-assign]
    rig.raw(at_once(
        build("/deck_levels", (0.5,)),
        build("/start_group", (0.0, "A")),
        build("/deck_eq", ("A", "low", 10.0)),
    ))
    assert flushed == [3]


def test_a_bad_message_of_a_bundle_does_not_affect_the_others(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(1024)
    rig.raw(at_once(
        build("/start_group", (0.0, "A")), build("/nonsense", ()), build("/deck_levels", (0.5,)),
    ))
    rig.run(4096)
    assert len(rig.fails()) == 1
    assert rig.out[-1, 0] == pytest.approx(0.125)


def test_too_many_scheduled_bundles_are_refused_and_counted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.control.scheduler.MAX_SCHEDULED", 10)
    for _ in range(4):
        rig.raw(bundle(100.0, *[build("/deck_levels", (1.0,))] * 4))
    assert len(rig.fails()) == 8
    assert rig.core.engine_queue.refused == 8
    assert rig.status()["lost"] == 8
