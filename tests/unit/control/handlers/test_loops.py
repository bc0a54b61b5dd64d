"""Commands for loops, slip, reverse, brake and soft start, exact to the frame of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crowdstream.loader.loader import budget_pages
from tests.support.offline_server import RATE, Rig, count, place, write

BEAT = RATE // 2  # of the file and the clock, at 120 beats a minute
LOW_RATE = 8000  # for long tracks
SEAM = 300  # frames around a jump in which two positions are crossfaded


@pytest.fixture
def deck(rig: Rig, tmp_path: Path) -> Rig:
    """Play samples that encode their positions on deck A from frame 22050 on, with beat 0 there."""
    rig.send("/deck/A/load", str(write(tmp_path / "numbers.wav", count(12))))
    rig.run(512)
    rig.send("/deck/A/grid", 120.0)
    rig.send("/clock/at", 1, "/deck/A/play")
    rig.run(3 * BEAT - 512)
    assert not rig.fails()
    return rig


def places(rig: Rig, frames: range) -> list[int]:
    """Return the file positions, modulo 8192, that frames of the output contain."""
    sounding = rig.out[frames.start : frames.stop : frames.step, 0].astype(np.float64)
    return [int(number) - 1 for number in np.round(sounding * 32768)]


def expected(begin: int, frames: range, at: int) -> list[int]:
    """Return the positions in forward playback from file frame `begin` at output frame `at`."""
    return [(begin + frame - at) % 8192 for frame in frames]


def test_a_loop_of_beats_wraps_exactly_to_the_frame(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/loop", 2)  # file beats 3 to 5
    deck.run(7 * BEAT)
    for lap in range(1, 3):
        at = (4 + 2 * lap) * BEAT
        inside = range(at + SEAM, at + 2 * BEAT - SEAM, 7)
        assert places(deck, inside) == expected(3 * BEAT, inside, at)
    assert deck.status()["deck.A.loop"] == "1.500-2.500"


def test_halve_double_move_exit_and_again(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/loop", 4)  # file beats 3 to 7
    deck.run(2 * BEAT)
    assert deck.status()["deck.A.loop"] == "1.500-3.500"
    deck.send("/deck/A/loop/halve")
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "1.500-2.500"
    deck.send("/deck/A/loop/double")
    deck.send("/deck/A/loop/double")
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "1.500-5.500"
    deck.send("/deck/A/loop/move", 2)
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "2.500-6.500"
    deck.send("/deck/A/loop/exit")
    deck.run(512)
    assert deck.status()["deck.A.loop"] == ""
    deck.send("/deck/A/loop/reloop")
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "2.500-6.500"
    assert not deck.fails()


def test_in_and_out_points_and_seconds(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/loop/in")
    deck.send("/clock/at", 5, "/deck/A/loop/out")
    deck.run(5 * BEAT)
    assert deck.status()["deck.A.loop"] == "1.500-2.000"
    inside = range(6 * BEAT + SEAM, 7 * BEAT - SEAM, 7)
    assert places(deck, inside) == expected(3 * BEAT, inside, 6 * BEAT)
    deck.send("/deck/A/loop/set", 10.0, 10.5)
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "10.000-10.500"
    assert not deck.fails()


def test_a_loop_snaps_to_the_nearest_beat_on_request(deck: Rig) -> None:
    deck.run(BEAT // 5)
    deck.send("/deck/A/loop", 1, 1)
    deck.run(512)
    assert deck.status()["deck.A.loop"] == "1.000-1.500"


def test_a_jump_is_exact_and_can_be_on_a_beat(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/jump", 16)
    deck.run(2 * BEAT)
    after = range(4 * BEAT + SEAM, 5 * BEAT, 7)
    assert places(deck, after) == expected(19 * BEAT, after, 4 * BEAT)
    deck.send("/deck/A/jump", -100)
    assert "would leave the track" in deck.fails()[0]


def test_slip_keeps_running_underneath_a_loop(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/slip", 1)
    deck.send("/clock/at", 4, "/deck/A/loop", 0.25)
    deck.send("/clock/at", 6, "/deck/A/loop/exit")
    deck.run(5 * BEAT)
    after = range(6 * BEAT + SEAM, 7 * BEAT, 7)
    assert places(deck, after) == expected(5 * BEAT, after, 6 * BEAT)


def test_reverse_plays_back_and_forward_again(deck: Rig) -> None:
    deck.send("/clock/at", 4, "/deck/A/reverse", 1)
    deck.send("/clock/at", 5, "/deck/A/reverse", 0)
    deck.run(4 * BEAT)
    back = range(4 * BEAT + SEAM, 5 * BEAT - SEAM)
    assert set(np.diff(places(deck, back)) % 8192) == {8191}
    middle = 4 * BEAT + BEAT // 2
    assert abs(place(deck.out[middle, 0]) - (3 * BEAT - BEAT // 2) % 8192) <= 2
    after = range(5 * BEAT + SEAM, 6 * BEAT)
    assert set(np.diff(places(deck, after)) % 8192) == {1}


def test_brake_stops_and_spin_starts(deck: Rig) -> None:
    deck.send("/deck/A/brake", 0.5)
    deck.seconds(0.6)
    assert deck.status()["deck.A.state"] == "ready"
    deck.send("/deck/A/softstart", 0.5)
    deck.run(256)
    begin = deck.desk.frame
    deck.seconds(0.6)
    assert deck.status()["deck.A.state"] == "playing"
    # A linear start from 0 plays half as much as full speed.
    position = int(deck.desk.voices["position"][0])
    full = deck.desk.frame - begin - 0.5 * RATE + 256
    assert position == pytest.approx(0.25 * RATE + full, abs=300)
    deck.send("/deck/A/brake", 0.2, 0)
    deck.seconds(0.4)
    stands = int(deck.desk.voices["position"][0])
    assert deck.status()["deck.A.state"] == "playing"
    deck.seconds(0.2)
    assert int(deck.desk.voices["position"][0]) == stands
    deck.send("/deck/A/softstart", 0.1)
    deck.seconds(0.3)
    assert int(deck.desk.voices["position"][0]) > stands + 5000


@pytest.mark.parametrize(
    ("address", "arguments", "reason"),
    [
        ("loop", (0,), "out of range"),
        ("loop", (65,), "out of range"),
        ("loop", (0.01,), "out of range"),
        ("loop/set", (1.0, 1.0), "at least 0.001 s after"),
        ("loop/set", (2.0, 1.0), "at least 0.001 s after"),
        ("loop/set", (1.0, 13.0), "past the end of the track, 12.000 s"),
        ("loop/set", (13.0, 14.0), "past the end of the track"),
        ("loop/halve", (), "has no loop"),
        ("loop/exit", (), "has no loop"),
        ("loop/reloop", (), "has no loop"),
        ("loop/move", (1,), "has no loop"),
        ("loop/out", (), "no loop start"),
        ("jump", (5000,), "out of range"),
        ("jump", (60,), "would leave the track"),
        ("brake", (-1,), "out of range"),
        ("brake", (61,), "out of range"),
        ("slip", (2,), "out of range"),
        ("reverse", ("back",), "not a number"),
    ],
)
def test_invalid_commands_are_refused_and_change_nothing(
    deck: Rig, address: str, arguments: tuple[object, ...], reason: str
) -> None:
    before = deck.state()
    deck.send(f"/deck/A/{address}", *arguments)
    [fail] = deck.fails()
    assert reason in fail
    assert deck.state() == before


@pytest.mark.parametrize(
    "address", ["loop 1", "loop/in", "loop/exit", "jump 1", "slip 1", "reverse 1", "brake 1"]
)
def test_commands_that_need_a_playing_deck_are_refused(
    rig: Rig, tmp_path: Path, address: str
) -> None:
    rig.send("/deck/A/load", str(write(tmp_path / "numbers.wav", count(2))))
    rig.run(512)
    rig.send("/deck/A/grid", 120.0)
    name, *values = address.split()
    rig.send(f"/deck/A/{name}", *map(float, values))
    assert rig.fails() == [f"/deck/A/{name} deck A is not playing: start it first"]


def test_commands_in_beats_need_a_grid(deck: Rig) -> None:
    deck.send("/deck/A/grid/clear")
    for address, arguments in (("loop", (1,)), ("jump", (1,)), ("seek/beat", (1,))):
        deck.send(f"/deck/A/{address}", *arguments)
    assert len(deck.fails()) == 3
    assert all("has no beat grid: send /deck/A/grid" in reason for reason in deck.fails())


def test_the_engine_refuses_a_loop_past_the_end_with_the_reason(
    deck: Rig,
) -> None:
    deck.send("/deck/A/seek", 11.0)
    deck.run(512)
    deck.send("/deck/A/loop", 4)
    deck.run(512)
    [reason] = deck.fails()
    assert "does not fit into the track" in reason


def test_late_loops_and_jumps_are_reported(deck: Rig) -> None:
    for address, arguments in (
        ("loop", (1.0,)), ("jump", (1.0,)), ("slip", (1,)), ("hotcue/set", (1,)), ("sync", (1,)),
        ("reverse", (1,)), ("brake", ()),
    ):
        deck.send("/clock/at", 1.0, f"/deck/A/{address}", *arguments)
        deck.run(512)
    late = [address.removeprefix("/deck/A/") for address, _ in deck.heard("/late")]
    assert late == ["loop", "jump", "slip", "hotcue/set", "sync", "reverse", "brake"]


def test_the_loop_of_a_streamed_track_plays_without_a_missing_page(tmp_path: Path) -> None:
    file = str(write(tmp_path / "long.wav", count(180, LOW_RATE), LOW_RATE))
    rig = Rig(memory_mb=4, pages_a_block=1, rate=LOW_RATE)
    try:
        assert budget_pages(4) * 16384 < 180 * LOW_RATE
        rig.send("/deck/A/load", file)
        rig.seconds(1)
        rig.send("/deck/A/grid", 120.0)
        rig.send("/deck/A/play")
        rig.seconds(1)
        assert rig.core.track_table.deck_track(0).streamed
        rig.send("/deck/A/loop/set", 0.5, 2.5)
        rig.seconds(5)
        rig.send("/deck/A/loop/exit")
        rig.seconds(20)
        rig.send("/deck/A/loop/reloop")
        rig.seconds(2)
        assert rig.status()["missing_frames"] == 0
        assert rig.status()["deck.A.loop"] == "0.500-2.500"
    finally:
        rig.close()


@pytest.mark.parametrize("synced", [0, 1])
def test_reverse_and_slip_of_a_streamed_track_find_their_pages(
    tmp_path: Path, synced: int
) -> None:
    rig = Rig(memory_mb=4, pages_a_block=1, rate=LOW_RATE)
    try:
        rig.send("/deck/A/load", str(write(tmp_path / "long.wav", count(180, LOW_RATE), LOW_RATE)))
        rig.seconds(1)
        rig.send("/deck/A/grid", 120.0)
        rig.send("/deck/A/hotcue/set", 1, 150.0)
        rig.send("/deck/A/play")
        rig.send("/deck/A/sync", synced)
        rig.seconds(30)
        rig.send("/deck/A/slip", 1)
        rig.send("/deck/A/hotcue", 1)
        rig.seconds(1)
        rig.send("/deck/A/reverse", 1)
        rig.seconds(25)
        assert rig.status()["deck.A.position"] == pytest.approx(126, abs=1)
        rig.send("/deck/A/slip", 0)
        rig.seconds(2)
        assert rig.status()["deck.A.position"] == pytest.approx(58, abs=1)
        assert rig.status()["missing_frames"] == 0
    finally:
        rig.close()


def test_a_loop_left_immediately_continues_without_a_missing_page(tmp_path: Path) -> None:
    rig = Rig(memory_mb=4, pages_a_block=1, rate=LOW_RATE)
    try:
        rig.send("/deck/A/load", str(write(tmp_path / "long.wav", count(180, LOW_RATE), LOW_RATE)))
        rig.seconds(1)
        rig.send("/deck/A/play")
        rig.seconds(1)
        rig.send("/deck/A/loop/set", 0.5, 9.5)
        rig.seconds(30)
        rig.send("/deck/A/loop/exit")
        rig.seconds(12)
        assert rig.status()["missing_frames"] == 0
    finally:
        rig.close()
