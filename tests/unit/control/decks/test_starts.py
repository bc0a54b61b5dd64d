"""Starts: together, exactly at their frame, and after their files are loaded; late ones now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle, count, level, place, stem_of, write


@pytest.fixture
def steady(tmp_path: Path) -> str:
    return str(write(tmp_path / "steady.wav", level(3)))


@pytest.mark.parametrize("block", [1, 7, 256, 1023])
def test_decks_cued_and_started_immediately_begin_on_one_frame(
    tmp_path: Path, block: int
) -> None:
    rig = Rig(block=block, pages_a_block=1)
    try:
        rig.send("/cue", "A", stem_of(tmp_path, 0))
        rig.send("/cue", "b", stem_of(tmp_path, 1))
        rig.send("/start_group", 0.0, "A", "B")
        rig.run(max(4096, 40 * block))
        left, right = rig.first_sound(channel=0), rig.first_sound(channel=1)
        assert left == right > 0
        assert not rig.fails()
        assert rig.heard("/done") == [("/cue", 100), ("/cue", 1100)]
    finally:
        rig.close()


def test_a_start_times_out_after_five_seconds(rig: Rig, steady: str) -> None:
    rig.pages_a_block = 0
    rig.send("/cue", "A", steady)
    rig.send("/start_group", 0.0, "A")
    rig.seconds(4.9)
    assert not rig.fails()
    rig.seconds(0.2)
    assert rig.fails() == ["/start_group steady was not loaded within 5 s"]
    rig.pages_a_block = 100
    rig.seconds(0.5)
    assert rig.first_sound() == -1, "a start that has timed out must not happen later"


def test_a_group_starts_without_a_file_that_fails(rig: Rig, steady: str, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio", encoding="utf-8")
    rig.send("/cue", "A", steady)
    rig.send("/cue", "B", str(tmp_path / "bad.wav"))
    rig.send("/start_group", 0.0, "A", "B")
    rig.run(2048)
    assert rig.first_sound() > 0
    failures = rig.fails()
    assert len(failures) == 2
    assert failures[0].startswith("/cue ")
    assert failures[1].startswith("/start_group ")


def test_a_start_after_a_reset_is_exact(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(1000)
    rig.send("/reset")
    zero = rig.core.beat_clock.zero
    assert zero is not None
    rig.run(5000)
    rig.send("/start_group", "A", 0.75)
    rig.seconds(1)
    assert rig.first_sound() == zero + round(0.75 * RATE)


def test_before_any_reset_the_time_is_relative_to_the_arrival(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(1024)
    arrival = rig.core.clock.now()
    rig.send("/start_group", 0.25, "A")
    rig.seconds(0.5)
    assert rig.first_sound() == arrival + round(0.25 * RATE)
    assert not rig.heard("/late")


def test_a_start_at_a_past_time_acts_now_and_is_reported_late(rig: Rig, steady: str) -> None:
    rig.send("/reset")
    rig.send("/cue", "A", steady)
    rig.seconds(1)
    now = rig.desk.frame
    rig.send("/start_group", 0.5, "A")
    rig.run(1024)
    assert rig.first_sound() == now
    [(address, seconds)] = rig.heard("/late")
    assert address == "/start_group"
    assert seconds == pytest.approx(0.5, abs=0.02)
    assert rig.status()["late_commands"] == 1


def test_a_file_that_is_not_ready_in_time_starts_late_and_is_reported(
    rig: Rig, steady: str
) -> None:
    rig.pages_a_block = 0
    rig.send("/play", "A", steady, 0.1)
    rig.seconds(0.2)
    assert not rig.heard("/late")
    rig.pages_a_block = 100
    rig.run(1024)
    assert rig.first_sound() > round(0.2 * RATE)
    assert [address for address, _ in rig.heard("/late")] == ["/play"]


def test_the_timeout_of_a_start_counts_from_its_due_time(rig: Rig, steady: str) -> None:
    rig.pages_a_block = 0
    rig.send("/play", "A", steady, 6.0)
    due = rig.core.clock.now() + 6 * RATE
    rig.seconds(5.5)
    rig.pages_a_block = 100
    rig.seconds(1)
    assert not rig.fails()
    assert rig.first_sound() == due


def test_schedule_c_at_starts_the_track_of_deck_c(rig: Rig, steady: str) -> None:
    rig.send("/load_buffer", 2100, steady)
    rig.run(512)
    now = rig.core.clock.now()
    rig.send("/schedule_c_at", 0.125)
    rig.seconds(0.3)
    assert rig.first_sound() == now + round(0.125 * RATE)


def test_a_stop_cancels_starts_that_wait_in_engine_and_control(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(512)
    rig.send("/start_group", 0.2, "A")
    rig.run(512)
    rig.send("/stop_stem", 100)
    rig.seconds(0.5)
    assert rig.first_sound() == -1
    assert rig.core.voice_allocator.free_voices() == 64
    rig.pages_a_block = 0
    rig.send("/load_buffer", 101, steady)
    rig.send("/play_stem", 101)
    rig.send("/stop_stem", 101)
    rig.pages_a_block = 100
    rig.seconds(0.5)
    assert rig.first_sound() == -1


# Volumes and positions of waiting starts ---------------------------------------------------


def test_a_volume_set_while_a_start_waits_applies(rig: Rig, steady: str) -> None:
    rig.send("/cue", "A", steady)
    rig.run(512)
    rig.send("/start_group", 0.5, "A")  # with the engine already
    rig.run(512)
    rig.send("/stem_volume", 100, 0.5)
    rig.seconds(1)
    start = rig.first_sound()
    assert rig.out[start, 0] == pytest.approx(0.125)

    rig.pages_a_block = 0
    rig.send("/cue", "B", steady)
    rig.send("/stop_stem", 100)
    rig.send("/start_group", 0.0, "B")  # still in control
    rig.send("/stem_volume", 1100, 2.0)
    rig.seconds(0.1)
    silent = rig.desk.frame
    rig.pages_a_block = 100
    rig.run(2048)
    again = rig.first_sound(silent - rig.block)
    assert rig.out[again, 0] == pytest.approx(0.5)


def test_a_rate_and_a_position_set_while_a_start_waits_apply(rig: Rig, tmp_path: Path) -> None:
    rig.send("/cue", "A", str(write(tmp_path / "count.wav", count(3))))
    rig.run(512)
    rig.send("/start_group", 0.5, "A")
    rig.run(512)
    rig.send("/deck/A/seek", 0.1)
    rig.seconds(1)
    start = rig.first_sound()
    assert place(rig.out[start + 1000, 0]) == 4410 + 1000


def test_a_start_away_from_the_cue_is_requested_while_the_track_loads(tmp_path: Path) -> None:
    # 50 s of float stereo are 268 pages; the requested one is loaded early, not last.
    file = write(tmp_path / "long.wav", count(50), subtype="FLOAT")
    rig = Rig(pages_a_block=0)
    try:
        rig.send("/load_buffer", 100, str(file))
        rig.send("/play_stem", 100, 1.0, 1.0, 0, 0.8)
        rig.pages_a_block = 1
        rig.run(rig.block * 40)
        assert rig.first_sound() > 0
        assert int(rig.desk.voices["position"][0]) >= 40 * RATE
    finally:
        rig.close()


def test_a_start_away_from_the_cue_of_a_streamed_track_waits_for_its_pages(tmp_path: Path) -> None:
    rig = Rig(memory_mb=16)
    try:
        file = write(tmp_path / "long.wav", count(120), subtype="FLOAT")
        rig.send("/load_buffer", 100, str(file))
        rig.run(2048)
        assert rig.heard("/done")
        rig.pages_a_block = 0
        rig.send("/play_stem", 100, 1.0, 1.0, 0, 0.9)
        rig.run(2048)
        assert rig.first_sound() == -1
        rig.pages_a_block = 100
        rig.run(4096)
        assert place(rig.out[-1, 0]) > 0
        rig.send("/start_group", 0.0, "A")  # back to its cue, whose pages may have been evicted
        at = rig.desk.frame
        rig.seconds(1)
        assert place(rig.out[at + 8000, 0]) == pytest.approx(8000, abs=600)
        assert not rig.fails()
        assert rig.status()["missing_frames"] == 0
    finally:
        rig.close()


def test_a_replacement_in_a_bundle_stops_the_old_track_at_its_frame(
    rig: Rig, steady: str, tmp_path: Path
) -> None:
    rig.send("/load_buffer", 100, steady)
    rig.send("/play_stem", 100, 1.0, 1.0)
    rig.run(1024)
    other = str(write(tmp_path / "other.wav", level(2, 0.5)))
    rig.raw(bundle(0.3, build("/load_buffer", (100, other)), build("/play_stem", (100, 1.0, 1.0))))
    rig.seconds(0.5)
    due = round(0.3 * RATE) + rig.block
    assert np.all(rig.out[2048:due, 0] == 0.25)
    assert rig.out[due, 0] > 0.5
    assert np.all(rig.out[due + 300 :, 0] == 0.5)


def test_a_second_immediate_start_replaces_a_waiting_one(rig: Rig, tmp_path: Path) -> None:
    rig.pages_a_block = 0
    rig.send("/load_buffer", 100, str(write(tmp_path / "count.wav", count(3))))
    rig.send("/play_stem", 100, 1.0, 1.0, 0, 0.9)
    rig.send("/play_stem", 100, 1.0, 1.0, 0, 0.0)
    rig.pages_a_block = 100
    rig.run(4096)
    start = rig.first_sound()
    assert place(rig.out[start + 100, 0]) == 100


def test_random_groups_begin_together(tmp_path: Path) -> None:
    dice = np.random.default_rng(5)
    sides = [stem_of(tmp_path, channel) for channel in (0, 1)]
    rig = Rig()
    try:
        for deck in "ABCD":
            rig.send("/cue", deck, sides[ord(deck) % 2])
        rig.run(512)
        for _trial in range(60):
            rig.block = int(dice.integers(1, 2049))
            rig.desk.header["block_frames"] = rig.block
            since = rig.desk.frame
            delay = float(dice.uniform(0.0, 0.05))
            rig.send("/start_group", delay, *dice.permutation(list("ABCD")).tolist())
            rig.run(since + 6000 - rig.desk.frame)
            assert rig.first_sound(since, 0) == rig.first_sound(since, 1) >= since
            for number in (100, 1100, 2100, 3100):
                rig.send("/stop_stem", number)
            rig.run(4096)
            assert not rig.out[-100:].any()
    finally:
        rig.close()


@pytest.mark.parametrize("message", [("/cue", "B"), ("/deck/B/unload",), ("/mixer_cleanup",)])
def test_a_start_prevented_by_an_unload_is_reported(
    rig: Rig, steady: str, tmp_path: Path, message: tuple[str, ...]
) -> None:
    other = str(write(tmp_path / "other.wav", level(1)))
    rig.send("/reset")
    rig.send("/cue", "B", steady)
    rig.send("/start_group", 1.0, "B")
    rig.run(1024)
    assert rig.core.track_table.find(1100).pending_starts, "the start is with the engine"
    rig.send(*message, *([other] if message[0] == "/cue" else []))
    rig.seconds(1.5)
    [failure] = rig.fails()
    assert failure.startswith("/start_group steady had not started yet: ")
    assert rig.first_sound() == -1


def test_a_start_before_the_unload_of_its_track_is_not_reported_as_failed(
    rig: Rig, steady: str, tmp_path: Path
) -> None:
    other = str(write(tmp_path / "other.wav", level(1)))
    rig.send("/reset")
    rig.send("/cue", "B", steady)
    rig.send("/start_group", 0.2, "B")
    rig.run(1024)
    rig.raw(bundle(0.4, build("/cue", ("B", other))))
    rig.seconds(1)
    assert rig.first_sound() > 0
    assert not rig.fails()
