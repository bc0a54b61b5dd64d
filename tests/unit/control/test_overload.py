"""Overload and errors: refusals are reported, and no command is carried out partially."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream import REPORT
from crowdstream.control.engine_queue.queue import RESERVE, EngineQueue
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.osc.codec import build
from tests.support.offline_server import ME, RATE, Rig, bundle, level, playing, write


def test_a_full_ring_refuses_whole_commands_and_loses_none(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    sent = COMMAND_RING // 4
    for _ in range(sent):
        rig.send("/deck_levels", 0.5, 0.5, 0.5, 0.5)
    refused = rig.core.engine_queue.refused
    assert 0 < refused == len(rig.fails())
    taken = int(rig.desk.rings["command_head"]) - int(rig.desk.rings["command_tail"])
    assert taken == 4 * (sent - refused), "each was accepted completely or not at all"
    assert COMMAND_RING - taken >= RESERVE - 4
    before = rig.state()
    rig.send("/stem_volume", 100, 0.1)
    rig.send("/set_tempo", 130.0)
    assert rig.state() == before
    rig.send("/status")
    assert rig.heard("/status.reply"), "queries still get their reply"
    # Control's own commands, here from an unload, are kept until they fit.
    rig.core.track_table.unload(100)
    for _ in range(RESERVE):
        rig.core.engine_queue.add(OP_RAMP, index=0, x=1.0, y=1.0)
    rig.core.engine_queue.flush()
    assert rig.core.engine_queue._kept
    rig.seconds(3)
    assert not rig.core.engine_queue._kept
    assert not rig.core.track_table.numbers()


def test_a_batch_that_is_longer_than_the_ring_does_not_block_the_queue(
    rig: Rig, tmp_path: Path
) -> None:
    """Starts that wait for a file are sent together, each with the settings of all stems."""
    for name in ("drums", "bass", "vocals", "other"):
        write(tmp_path / f"{name}.wav", level(4))
    rig.pages_a_block = 0
    rig.send("/deck/A/load", str(tmp_path))
    rig.step()
    for values in (("eq", -3.0, -3.0, -3.0), ("pfl", 1.0), ("send", 1, 0.5)):
        rig.send(f"/deck/A/stem/[1-4]/{values[0]}", *values[1:])
    for _ in range(COMMAND_RING // 20):
        rig.raw(bundle(rig.desk.frame / RATE + 0.4, build("/play_stem", (100,))))
    rig.pages_a_block = 1000
    rig.step()
    assert rig.core.engine_queue.waiting
    rig.seconds(1)
    assert not rig.core.engine_queue.waiting
    rig.send("/deck/A/level", 0.5)
    assert not any("queue is full" in fail for fail in rig.fails())
    assert rig.out[-1, 0] != 0.0


def test_the_packed_record_matches_the_desks_dtype() -> None:
    desk = Desk.create(0)
    outbox = EngineQueue(desk)
    serial = outbox.add(
        3, frame=2**40, target=5, index=6, flags=7, x=1.5, y=-2.5, start=8, loop_in=9,
        loop_out=10, end=11, sources=[1, 2, 3], gains=[0.5, 0.25, 2.0],
    )
    outbox.flush()
    offset = np.ndarray(1, COMMAND, desk._map, _commands_offset())
    record = offset[0]
    assert (record["frame"], record["serial"], record["op"]) == (2**40, serial, 3)
    assert [int(record[n]) for n in ("target", "index", "flags")] == [5, 6, 7]
    assert (record["x"], record["y"]) == (1.5, -2.5)
    assert [int(record[n]) for n in ("start", "loop_in", "loop_out", "end")] == [8, 9, 10, 11]
    assert record["sources"].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    assert record["gains"].tolist() == [0.5, 0.25, 2.0, 0, 0, 0, 0, 0]
    del record, offset
    desk.close()


def _commands_offset() -> int:
    from crowdstream.desk.layout import REGIONS

    return REGIONS["commands"].offset


def test_an_internal_error_is_reported_and_the_server_continues(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(rig.core.deck_manager, "ramp", broken)
    rig.send("/deck_levels", 0.5)
    assert rig.fails() == [f"/deck_levels internal error (ZeroDivisionError): {REPORT}"]
    monkeypatch.undo()
    rig.send("/deck_levels", 0.5)
    rig.seconds(0.1)
    assert rig.status()["deck.A.level"] == 0.5


def test_malformed_packets_are_counted_and_reported(rig: Rig) -> None:
    rig.raw(b"nonsense")
    rig.raw(b"/a\0\0,i\0\0")
    assert rig.core.malformed == 2
    assert [address for address, _ in rig.heard("/fail")] == ["?", "/a"]
    assert rig.status()["malformed"] == 2


def test_a_flood_of_failures_is_rate_limited_in_the_log(
    rig: Rig, steady: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        rig.send("/no/such", math.nan)
        rig.raw(b"\1\2\3\4")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 20, "ten of each kind"
    caplog.clear()
    rig.core.handle_packet(build("/no/such/bad\nname", ()), ME)
    [line] = [record.getMessage() for record in caplog.records]
    assert "\n" not in line
    caplog.clear()
    rig.seconds(1.1)
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "1980 more failures were not logged"
    for number in range(200):
        rig.send(f"/no/such/{number}")
    assert len(caplog.records) == 1 + 50, "a flood of many kinds is limited as well"


def test_failures_without_a_sender_are_always_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    none: dict[str, Any] = {f"deck_{deck}": tmp_path / f"no {deck}.wav" for deck in "abcd"}
    rig = Rig(**none)
    try:
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 4
        assert lines[2].startswith("deck C (--deck-c): ")
        assert "no c.wav" in lines[2]
        caplog.clear()
        for _ in range(30):
            rig.core.perform([("/no/such", (), lambda *_: None, None)])
        assert len(caplog.records) == 30
    finally:
        rig.close()


@pytest.mark.parametrize("message", [("/deck/A/level", 0.0, 0.0), ("/fade", "A", 0.0, 0.0)])
def test_a_level_change_of_zero_seconds_is_still_ramped(
    rig: Rig, steady: str, message: tuple[object, ...]
) -> None:
    playing(rig, steady)
    since = rig.desk.frame
    rig.send(*message)  # type: ignore[arg-type]
    rig.run(2048)
    steps = np.abs(np.diff(rig.out[since - 1 :, 0]))
    assert rig.out[-1, 0] == 0.0
    assert 0.0 < steps.max() < 0.25 / 100


def test_a_track_that_breaks_after_done_is_reported_once_and_is_not_a_failure(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    stranger, subscriber = ("127.0.0.1", 7), ("127.0.0.1", 8)
    rig.core.handle_packet(build("/notify", (1,)), subscriber)
    failed = rig.core.failures
    number = rig.core.track_table.find(100).number
    rig.core.loader_event({"event": "broken", "track": number, "reason": "the file changed"})
    receivers = [sender for sender, address, _ in rig.answers.said if address == "/broken"]
    assert sorted(receivers) == sorted([subscriber, ME])
    assert stranger not in receivers
    assert not rig.fails()
    assert rig.core.failures == failed
    rig.run(256)
    assert rig.status()["deck.A.state"] == "broken"
    assert rig.out[-1, 0] == pytest.approx(0.25), "the part in memory keeps playing"


def test_a_sender_that_also_subscribes_is_notified_once_of_a_break(rig: Rig, steady: str) -> None:
    rig.send("/notify", 1)
    playing(rig, steady)
    number = rig.core.track_table.find(100).number
    rig.core.loader_event({"event": "broken", "track": number, "reason": "the file changed"})
    assert rig.heard("/broken") == [(100, "the file changed")]


def test_a_loaded_track_is_logged_with_buffer_deck_and_kind(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mono = write(tmp_path / "voice.wav", level(5)[:, 0])
    folder = tmp_path / "song"
    folder.mkdir()
    for name in ("drums", "bass"):
        write(folder / f"{name}.wav", level(1))
    rig.send("/load_buffer", 101, str(mono))
    rig.send("/load_buffer", 1100, str(folder))
    rig.run(256)
    assert [record.getMessage() for record in caplog.records] == [
        "buffer 101 (deck A): voice, mono, 1 stem, 5.0 s",
        "buffer 1100 (deck B): song, stereo, 2 stems, 1.0 s",
    ]


def test_a_rate_out_of_range_at_the_current_tempo_is_refused(rig: Rig, steady: str) -> None:
    playing(rig, steady)
    rig.send("/set_tempo", 180.0)
    before = rig.state()
    for message in (
        ("/deck/A/rate", 3.0),
        ("/play_stem", 100, 3.0),
        ("/play_stem_section", 100, 3.0),
    ):
        rig.send(*message)
        assert "at 1.5 times the base tempo is 4.5" in rig.fails()[-1]
    assert len(rig.fails()) == 3
    assert rig.state() == before
    rig.send("/deck/A/rate", 4 / 1.5)
    assert len(rig.fails()) == 3


def test_a_tempo_that_puts_a_playing_track_out_of_range_is_refused(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    rig.send("/deck/A/rate", 0.5)
    rig.send("/set_tempo", 50.0)
    [failure] = rig.fails()
    assert failure.startswith("/set_tempo bpm: 50 would play steady, at rate 0.5, ")
    assert rig.core.beat_clock.bpm == 120.0
    rig.send("/set_tempo", 60.0)
    rig.send("/stop_stem", 100)
    rig.run(4096)
    rig.send("/set_tempo", 50.0)
    assert len(rig.fails()) == 1, "only playing tracks limit the tempo"
