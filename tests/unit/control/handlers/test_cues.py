"""Hot cues, seeks and beat grids by their commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdstream.desk.constants import GRIDS
from tests.support.offline_server import RATE, Rig, bundle_at, count, level, place, write
from tests.unit.audiofile.test_tags import wav_with_acid

BEAT = RATE // 2
LOW_RATE = 8000  # for long tracks


@pytest.fixture
def deck(rig: Rig, tmp_path: Path) -> Rig:
    """Load a track on deck A whose samples encode their positions."""
    rig.send("/deck/A/load", str(write(tmp_path / "numbers.wav", count(20))))
    rig.run(1024)
    return rig


def at_end(rig: Rig) -> int:
    """Return the file frame of the deck's track that the last output frame contains."""
    position = int(rig.desk.voices["position"][0]) - 1
    assert position % 8192 == place(rig.out[-1, 0])
    return position


# Hot cues ------------------------------------------------------------------------------------


def test_eight_hot_cues_are_set_jumped_to_and_cleared(deck: Rig) -> None:
    for number in range(1, 9):
        deck.send("/deck/A/hotcue/set", number, 2.0 * number)
    deck.send("/deck/A/play")
    deck.run(1024)
    for number in (8, 1, 5):
        at = deck.desk.frame
        deck.send("/deck/A/hotcue", number)
        deck.run(2048)
        assert at_end(deck) == 2 * number * RATE + deck.desk.frame - 1 - at
    deck.send("/deck/A/hotcue/clear", 5)
    deck.send("/deck/A/hotcue", 5)
    assert deck.fails() == [
        "/deck/A/hotcue number: hot cue 5 of numbers is not set: send /deck/A/hotcue/set 5"
    ]
    assert deck.status()["deck.A.cues"].startswith("1:2.000 2:4.000")


def test_a_hot_cue_set_while_it_plays_is_where_the_playhead_was(deck: Rig) -> None:
    deck.send("/deck/A/play")
    deck.run(5000)
    deck.send("/deck/A/hotcue/set", 1)
    assert deck.core.track_table.deck_track(0).cues[1] == int(deck.desk.voices["position"][0])
    deck.send("/clock/at", 2.0, "/deck/A/hotcue/set", 2)
    begin = deck.first_sound()
    deck.run(2 * RATE)
    assert deck.core.track_table.deck_track(0).cues[2] == 2 * BEAT - begin


def test_late_commands_count_from_where_they_act(deck: Rig) -> None:
    """The clock of their sender may be minutes behind."""
    deck.send("/deck/A/grid", 120.0)
    deck.send("/deck/A/play")
    deck.run(6 * BEAT)
    here = int(deck.desk.voices["position"][0])
    tag = deck.tag_of(deck.desk.frame) - 60.0
    deck.raw(bundle_at(tag, "/deck/A/hotcue/set", 1))
    deck.send("/clock/at", 1.0, "/deck/A/hotcue/set", 2)
    deck.run(1024)
    cues = deck.core.track_table.deck_track(0).cues
    assert [cues[1], cues[2]] == pytest.approx([here, here], abs=2 * deck.block)
    deck.raw(bundle_at(tag, "/deck/A/jump", -2.0))
    deck.run(1024)
    assert deck.fails() == []
    assert at_end(deck) == pytest.approx(here + 2048 - 2 * BEAT, abs=2 * deck.block)


def test_with_a_quantum_a_hot_cue_snaps_to_the_nearest_beat(deck: Rig) -> None:
    deck.send("/deck/A/grid", 120.0, 0.1)
    deck.send("/deck/A/play")
    deck.run(round(1.4 * BEAT))
    deck.send("/deck/A/quantize", 1)
    deck.send("/deck/A/hotcue/set", 1)
    assert deck.core.track_table.deck_track(0).cues[1] == round(0.1 * RATE) + BEAT


def test_a_hot_cue_of_a_stopped_deck_moves_its_cue(deck: Rig) -> None:
    deck.send("/deck/A/hotcue/set", 3, 7.5)
    deck.send("/deck/A/hotcue", 3)
    assert deck.status()["deck.A.position"] == 7.5
    deck.send("/deck/A/play")
    deck.run(2048)
    assert at_end(deck) > 7.5 * RATE


@pytest.mark.parametrize(
    ("address", "arguments", "reason"),
    [
        ("hotcue/set", (0,), "out of range"),
        ("hotcue/set", (9, 1.0), "out of range"),
        ("hotcue/set", (1, 20.0), "past the end of the track, 20.000 s"),
        ("hotcue/set", (1, -1.0), "out of range"),
        ("hotcue", (1,), "is not set"),
        ("hotcue/clear", (1,), "is not set"),
        ("seek/fraction", (1.1,), "out of range"),
        ("seek/beat", (4,), "has no beat grid"),
        ("seek", (20.0,), "past the end of the track"),
        ("grid", (0.0,), "out of range"),
        ("grid", (1e9,), "out of range"),
        ("grid", (120.0, 25.0), "past the end of the track, 20.000 s"),
        ("grid/point", (4, 1.0), "has no beat grid"),
        ("grid/points", (0, 1.0, 4), "pairs: 3 is odd"),
        ("grid/points", (0, 1.0), "2 to 512 anchors, not 1"),
        ("grid/points", (0, 1.0, 4, 1.0), "does not come after"),
        ("sync/ratio", (0.1,), "0 or 0.25 to 4"),
        ("sync", (1, 0.0), "out of range"),
    ],
)
def test_invalid_commands_are_refused_and_change_nothing(
    deck: Rig, address: str, arguments: tuple[object, ...], reason: str
) -> None:
    before, free = deck.state(), deck.core.track_table.grids.free
    deck.send(f"/deck/A/{address}", *arguments)
    [fail] = deck.fails()
    assert reason in fail
    assert deck.state() == before
    assert deck.core.track_table.grids.free == free


# Seeks ---------------------------------------------------------------------------------------


def test_seeks_by_fraction_and_beat(deck: Rig) -> None:
    deck.send("/deck/A/grid", 100.0, 0.25)
    deck.send("/deck/A/play")
    deck.run(1024)
    for address, value, wanted in (
        ("fraction", 0.5, 10 * RATE), ("beat", 8.0, round((0.25 + 8 * 0.6) * RATE)),
    ):
        at = deck.desk.frame
        deck.send(f"/deck/A/seek/{address}", value)
        deck.run(2048)
        assert at_end(deck) == wanted + deck.desk.frame - 1 - at


def test_a_hot_cue_of_a_streamed_track_is_kept_in_memory(tmp_path: Path) -> None:
    file = str(write(tmp_path / "long.wav", count(180, LOW_RATE), LOW_RATE))
    rig = Rig(memory_mb=4, rate=LOW_RATE)
    try:
        rig.send("/deck/A/load", file)
        rig.run(1024)
        rig.send("/deck/A/hotcue/set", 1, 80.0)
        rig.send("/deck/A/play")
        rig.seconds(10)
        rig.pages_a_block = 0
        at = rig.desk.frame
        rig.send("/deck/A/hotcue", 1)
        rig.run(4096)
        assert at_end(rig) == 80 * LOW_RATE + rig.desk.frame - 1 - at
        assert rig.status()["missing_frames"] == 0
    finally:
        rig.close()


def test_hot_cues_that_do_not_fit_in_memory_are_reported(tmp_path: Path) -> None:
    file = str(write(tmp_path / "long.wav", count(200, LOW_RATE), LOW_RATE))
    rig = Rig(memory_mb=1, rate=LOW_RATE)
    try:
        rig.send("/notify", 1)
        rig.send("/deck/A/load", file)
        rig.run(1024)
        for number in range(1, 9):
            rig.send("/deck/A/hotcue/set", number, 20.0 * number)
            rig.run(256)
        text = rig.heard("/crowded")[0][1]
        assert "not all hot cues and loops of long are kept in memory" in text
        rig.send("/deck/A/play")
        rig.seconds(2)
        rig.send("/deck/A/hotcue", 8)
        rig.seconds(1)
        assert at_end(rig) > 160 * LOW_RATE
        rig.send("/deck/A/unload")
        rig.seconds(1)
        assert rig.loader.status()["reserved"] == 0
    finally:
        rig.close()


# Beat grids ----------------------------------------------------------------------------------


def test_a_command_takes_precedence_over_a_sidecar_and_that_over_a_tag(
    rig: Rig, tmp_path: Path
) -> None:
    file = wav_with_acid(tmp_path / "loop.wav", 96.0)
    rig.send("/deck/A/load", str(file))
    rig.run(512)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.bpm"]) == ("tag", 96.0)
    (tmp_path / "loop.crowdstream.toml").write_text("[grid]\nbpm = 97.5\nfirst_downbeat = 0.01\n")
    rig.send("/deck/A/load", str(file))
    rig.run(512)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.bpm"]) == ("sidecar", pytest.approx(97.5))
    assert status["deck.A.beat"] == pytest.approx(-0.01 * 97.5 / 60)
    rig.send("/deck/A/grid", 99.0)
    status = rig.status()
    assert (status["deck.A.grid"], status["deck.A.bpm"]) == ("command", pytest.approx(99.0))
    rig.send("/deck/A/grid/clear")
    assert rig.status()["deck.A.grid"] == ""


def test_a_grid_set_while_the_track_loads_is_kept(rig: Rig, tmp_path: Path) -> None:
    rig.send("/deck/A/load", str(wav_with_acid(tmp_path / "loop.wav", 96.0)))
    rig.send("/deck/A/grid", 123.0)
    rig.run(512)
    assert rig.status()["deck.A.bpm"] == pytest.approx(123.0)


def test_an_invalid_sidecar_is_reported_and_the_track_plays(rig: Rig, tmp_path: Path) -> None:
    sidecar = tmp_path / "a.crowdstream.toml"
    sidecar.write_text("[grid]\nbpm = 'fast'\n")
    rig.send("/deck/A/load", str(write(tmp_path / "a.wav", level(1))))
    rig.run(512)
    [(buffer, reason)] = rig.heard("/grid/fault")
    assert buffer == 100
    assert reason == f"{sidecar}: grid: bpm must be a number"
    assert rig.status()["deck.A.state"] == "ready"
    assert not rig.fails()


def test_points_bend_a_grid(deck: Rig) -> None:
    deck.send("/deck/A/grid/points", 0, 1.0, 8, 5.0, 16, 8.0)
    track = deck.core.track_table.deck_track(0)
    assert track.grid is not None
    assert track.grid.frame(12) == pytest.approx(6.5 * RATE)
    assert track.grid.beat(5 * RATE) == pytest.approx(8)
    assert track.grid.frame(-2) == pytest.approx(0.0)
    assert track.grid.frame(24) == pytest.approx(11 * RATE)
    deck.send("/deck/A/grid/point", 24, 11.5)
    assert track.grid.frame(20) == pytest.approx(9.75 * RATE)


def test_the_first_point_of_a_steady_grid_sets_its_tempo_or_its_downbeat(deck: Rig) -> None:
    track = deck.core.track_table.deck_track(0)
    deck.send("/deck/A/grid", 120.0, 1.0)
    deck.send("/deck/A/grid/point", 8, 5.8)
    assert track.grid is not None
    assert track.grid.bpm == pytest.approx(100.0)
    deck.send("/deck/A/grid", 120.0, 1.0)
    deck.send("/deck/A/grid/point", 0, 1.5)
    assert track.grid.bpm == pytest.approx(120.0)
    assert track.grid.frame(0) == pytest.approx(1.5 * RATE)


def test_grid_slots_are_freed_when_the_engine_has_passed_them(deck: Rig) -> None:
    grids = deck.core.track_table.grids
    deck.send("/deck/A/play")
    deck.run(512)
    for turn in range(2 * GRIDS):
        deck.send("/deck/A/grid", 100.0 + turn % 50)
        slot = deck.core.track_table.deck_track(0).grid_slot
        assert int(deck.desk.voices["grid"][0]) != slot
        if turn % 16 == 0:
            deck.run(256)
            assert int(deck.desk.voices["grid"][0]) == slot
    deck.run(512)
    assert grids.free == GRIDS - 1
    deck.send("/mixer_cleanup")
    deck.run(4096)
    assert grids.free == GRIDS
    assert not deck.fails()


def test_a_grid_slot_of_a_pending_start_is_not_freed(deck: Rig) -> None:
    grids = deck.core.track_table.grids
    deck.send("/deck/A/grid", 120.0)
    deck.send("/deck/A/play", 1.0, 0)
    deck.run(512)
    free = grids.free
    deck.send("/deck/A/grid", 100.0)
    deck.run(512)
    assert grids.free == free - 1, "the start still uses the old slot"
    deck.seconds(1.2)
    assert grids.free == free
    assert int(deck.desk.voices["grid"][0]) == deck.core.track_table.deck_track(0).grid_slot
