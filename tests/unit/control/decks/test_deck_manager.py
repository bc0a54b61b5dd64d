"""The deck manager: replacing, stopping, gains, voices, memory and replies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crowdstream.desk.constants import PENDING
from crowdstream.desk.opcodes import OP_RAMP
from tests.support.held_resources import added, held
from tests.support.offline_server import RATE, Rig, level, place, playing, write

# Playing -----------------------------------------------------------------------------------


def test_play_stem_restarts_a_playing_buffer_at_its_fraction(rig: Rig, numbers: str) -> None:
    playing(rig, numbers)
    at = rig.desk.frame
    rig.send("/play_stem", 100, 1.0, 1.0, 0, 0.5)
    rig.run(4096)
    assert place(rig.out[at + 1000, 0]) == (2 * RATE + 1000) % 8192
    assert rig.status()["voices"] == 1
    assert rig.core.voice_allocator.free_voices() == 63


def test_play_stem_has_the_vocabularys_defaults(rig: Rig, steady: str) -> None:
    rig.send("/load_buffer", 100, steady)
    rig.send("/play_stem", 100)
    rig.seconds(3)  # longer than the file: it loops
    assert rig.out[rig.first_sound() + 5000, 0] == pytest.approx(0.8 * 0.25)
    assert rig.out[-1, 0] == pytest.approx(0.8 * 0.25)


def test_a_section_ends_by_itself_or_loops(rig: Rig, numbers: str) -> None:
    rig.send("/load_buffer", 100, numbers)
    rig.run(512)
    rig.send("/play_stem_section", 100, 1.0, 1.0, 0, 0.25, 0.1)
    rig.seconds(0.5)
    start = rig.first_sound()
    assert place(rig.out[start + 500, 0]) == (RATE + 500) % 8192
    heard = np.flatnonzero(rig.out[:, 0])
    assert heard[-1] - start == pytest.approx(4410, abs=600)
    assert rig.core.voice_allocator.free_voices() == 64
    at = rig.desk.frame
    rig.send("/play_stem_section", 100, 1.0, 1.0, 1, 0.25, 0.1)
    rig.seconds(0.5)
    assert place(rig.out[at + 3 * 4410 + 2000, 0]) == pytest.approx(RATE % 8192 + 2000, abs=2)


def test_a_section_at_the_end_is_cut_to_the_rest_of_the_track(rig: Rig, numbers: str) -> None:
    rig.send("/load_buffer", 100, numbers)
    rig.send("/play_stem_section", 100, 1.0, 1.0, 1, 1.0, 10.0)
    rig.seconds(0.2)
    assert not rig.fails()
    assert np.isfinite(rig.out).all()


def test_the_end_of_a_track_is_reported_and_frees_the_voice(rig: Rig, steady: str) -> None:
    rig.send("/notify", 1)
    rig.send("/load_buffer", 100, steady, "Song")
    rig.send("/play_stem", 100, 1.0, 1.0, 0)
    rig.seconds(2.1)
    assert rig.heard("/ended") == [(100, "Song")]
    assert rig.core.voice_allocator.free_voices() == 64
    rig.send("/play_stem", 100)
    rig.run(512)
    rig.send("/stop_stem", 100)
    rig.run(2048)
    assert len(rig.heard("/ended")) == 1, "a stopped track has not ended"


def test_volume_and_stop_act_on_the_old_track_while_a_new_one_loads(
    rig: Rig, steady: str, numbers: str
) -> None:
    playing(rig, steady)
    rig.pages_a_block = 0
    rig.send("/load_buffer", 100, numbers)
    rig.send("/stem_volume", 100, 0.5)
    rig.run(2048)
    assert rig.out[-1, 0] == pytest.approx(0.125)
    rig.send("/stop_stem", 100)
    rig.run(2048)
    assert not rig.out[-1].any()


def test_a_replacement_stops_the_old_track_when_it_is_ready(
    rig: Rig, steady: str, numbers: str
) -> None:
    playing(rig, steady)
    rig.pages_a_block = 0
    rig.send("/load_buffer", 100, numbers)
    rig.seconds(0.5)
    assert rig.out[-1, 0] == pytest.approx(0.25), "the old track plays until then"
    assert rig.status()["deck.A.state"] == "playing"
    rig.pages_a_block = 100
    rig.run(4096)
    assert not rig.out[-1].any()
    assert rig.core.track_table.find(100).name == "numbers"
    assert sorted(rig.core.track_table.numbers()) == [2]
    assert rig.heard("/done")[-1] == ("/load_buffer", 100)


def test_a_replacement_that_starts_immediately_takes_over_from_the_old_track(
    rig: Rig, steady: str, tmp_path: Path
) -> None:
    playing(rig, steady)
    rig.pages_a_block = 1  # its first page is loaded a few blocks before it is reported as ready
    rig.send("/load_buffer", 100, str(write(tmp_path / "loud.wav", level(2, 0.5))))
    rig.send("/play_stem", 100, 1.0, 1.0)
    rig.run(4096)
    begun = int(np.flatnonzero(rig.out[:, 0] > 0.3)[0])
    assert np.all(rig.out[begun + 256 :, 0] == 0.5), "the two must not play together"


def test_a_replacement_that_fails_keeps_the_old_track(
    rig: Rig, steady: str, tmp_path: Path
) -> None:
    playing(rig, steady)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF" + bytes(100))
    rig.send("/load_buffer", 100, str(bad))
    rig.send("/play_stem", 100)
    rig.seconds(0.3)
    assert len(rig.fails()) == 2
    assert rig.out[-1, 0] == pytest.approx(0.25)
    assert rig.core.track_table.find(100).name == "steady"


def test_a_replacement_that_breaks_before_it_is_ready_keeps_the_old_track(
    rig: Rig, steady: str, numbers: str
) -> None:
    playing(rig, steady)
    rig.pages_a_block = 0
    rig.send("/load_buffer", 100, numbers)
    rig.run(256)
    Path(numbers).write_bytes(b"something else")
    rig.pages_a_block = 100
    rig.run(4096)
    assert rig.out[-1, 0] == pytest.approx(0.25)
    assert len(rig.fails()) == 1
    assert "changed" in rig.fails()[0]
    assert rig.core.track_table.find(100).name == "steady"
    assert len(rig.core.track_table.numbers()) == 1


def test_a_load_that_is_superseded_fails_with_the_reason(
    rig: Rig, steady: str, numbers: str
) -> None:
    rig.pages_a_block = 0
    rig.send("/cue", "A", steady)
    rig.send("/start_group", 0.0, "A")
    rig.send("/cue", "A", numbers)
    rig.pages_a_block = 100
    rig.run(4096)
    assert rig.fails() == [
        "/start_group numbers was loaded in its place",
        "/cue numbers was loaded in its place",
    ]
    assert rig.heard("/done") == [("/cue", 100)]
    assert not rig.out.any()


def test_a_play_that_fails_is_reported_once(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("words", encoding="utf-8")
    rig.send("/play", "A", str(tmp_path / "text.wav"))
    rig.run(512)
    assert len(rig.fails()) == 1
    assert rig.core.failures == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_text("words " * 100),
        lambda p: p.mkdir(),
        lambda p: (p.mkdir(), (p / "notes.txt").write_text("x")),
        lambda p: p.write_bytes(write(p, level(1)).read_bytes()[:30]),
        lambda p: p.write_bytes(write(p, level(1)).read_bytes()[:44]),
        lambda p: (p.mkdir(), [write(p / f"{n}.wav", level(0.01)) for n in range(9)]),
        os.mkfifo,
        lambda p: p.symlink_to(p),
        lambda p: p.symlink_to("/dev/full"),
    ],
    ids=["empty", "text", "folder", "no audio", "cut header", "no sound", "nine stems", "pipe",
         "a link to itself", "a device"],
)
def test_files_that_are_not_audio_are_refused_and_change_nothing(
    rig: Rig, steady: str, tmp_path: Path, make: object
) -> None:
    playing(rig, steady)
    bad = tmp_path / "bad.wav"
    make(bad)  # type: ignore[operator]
    before = rig.state()
    rig.send("/load_buffer", 100, str(bad))
    rig.run(1024)
    [reason] = rig.fails()
    assert reason.startswith("/load_buffer ")
    assert str(bad) in reason or "/dev/full" in reason
    after = rig.state()
    assert after == before
    assert rig.loader.status()["reserved"] == rig.loader.status()["used"]


def test_files_outside_the_media_folders_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "music", tmp_path / "secret"
    (inside / "track").mkdir(parents=True)
    outside.mkdir()
    file = write(outside / "a.wav", level(0.1))
    (inside / "link.wav").symlink_to(file)
    (inside / "track" / "drums.wav").symlink_to(file)
    write(inside / "fine.wav", level(0.1))
    rig = Rig(media_root=[inside])
    try:
        for path in (file, inside / "link.wav", inside / "track", inside / ".." / "secret/a.wav"):
            rig.send("/cue", "A", str(path))
        assert len(rig.fails()) == 4
        assert all("outside the media folders" in text for text in rig.fails())
        rig.send("/cue", "A", str(inside / "fine.wav"))
        rig.run(512)
        assert rig.heard("/done") == [("/cue", 100)]
    finally:
        rig.close()


# Voices and memory ---------------------------------------------------------------------------


def test_the_sixty_fifth_voice_is_refused(rig: Rig, steady: str) -> None:
    for number in range(66):
        rig.send("/load_buffer", 100 + number, steady)
    rig.run(1024)
    for number in range(64):
        rig.send("/play_stem", 100 + number, 1.0, 0.01)
    rig.run(1024)
    assert rig.status()["voices"] == 64
    before = rig.state()
    rig.send("/play_stem", 164)
    rig.send("/play_stem", 165)
    assert rig.fails() == ["/play_stem all 64 voices are playing already: stop some tracks"] * 2
    assert rig.state() == before
    rig.send("/stop_stem", 100)
    rig.run(1024)
    rig.send("/play_stem", 164, 1.0, 0.01)
    rig.run(1024)
    assert len(rig.fails()) == 2
    assert rig.status()["voices"] == 64


def test_a_group_without_enough_voices_takes_none(rig: Rig, steady: str) -> None:
    for number in range(63):
        rig.send("/load_buffer", 1101 + number, steady)
        rig.send("/play_stem", 1101 + number, 1.0, 0.01)
    rig.send("/cue", "A", steady)
    rig.send("/cue", "C", steady)
    rig.run(1024)
    before = rig.state()
    rig.send("/start_group", 0.0, "A", "C")
    assert rig.fails() == ["/start_group all 64 voices are playing already: stop some tracks"]
    assert rig.state() == before


def test_a_thousand_loads_and_unloads_leak_nothing(rig: Rig, tmp_path: Path) -> None:
    file = str(write(tmp_path / "short.wav", level(0.05)))
    before, resources = rig.state(), held()
    for turn in range(1000):
        rig.send("/load_buffer", 100 + turn % 7, file)
        if turn % 3:
            rig.send("/play_stem", 100 + turn % 7)
        rig.run(256)
        if turn % 2:
            rig.send("/deck/A/unload" if turn % 7 == 0 else "/mixer_cleanup")
    rig.send("/mixer_cleanup")
    rig.run(8192)
    after = rig.state()
    del before["published"], after["published"]
    assert after == before
    status = rig.loader.status()
    assert (status["used"], status["reserved"]) == (0, 0)
    assert added(resources) == []
    assert not rig.desk.sources["used"].any()
    assert not rig.desk.page_table[:, :64].any()


def test_a_load_without_memory_is_refused_with_the_numbers(tmp_path: Path) -> None:
    file = str(write(tmp_path / "long.wav", level(30), subtype="FLOAT"))
    rig = Rig(memory_mb=16)
    try:
        rig.send("/load_buffer", 100, file)
        rig.send("/play_stem", 100)
        rig.run(2048)
        for number in range(101, 106):
            rig.send("/load_buffer", number, file)
        rig.run(2048)
        assert len(rig.fails()) >= 3
        assert all("no memory left" in text and "MB" in text for text in rig.fails())
        assert rig.core.track_table.find(100).sounding
        rig.seconds(3)
        assert rig.status()["missing_frames"] == 0
    finally:
        rig.close()


def test_more_stems_than_the_desk_has_sources_are_refused(tmp_path: Path) -> None:
    rig = Rig(memory_mb=80)
    folder = tmp_path / "track"
    folder.mkdir()
    for name in range(8):
        write(folder / f"{name}.wav", level(0.01))
    for number in range(129):
        rig.send("/load_buffer", 100 + number, str(folder))
        rig.run(64)
    assert rig.fails() == ["/load_buffer 1024 stems are loaded already: unload some"]
    rig.close()


def test_mixer_cleanup_stops_all_and_replies_when_the_memory_is_free(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    rig.send("/load_buffer", 2100, steady)
    rig.send("/test_tone")
    rig.send("/mixer_cleanup")
    rig.send("/sync", 7)
    assert ("/mixer_cleanup",) not in rig.heard("/done")
    rig.run(4096)
    assert ("/mixer_cleanup",) in rig.heard("/done")
    assert rig.heard("/synced") == [(7,)]
    assert not rig.out[-1].any()
    assert rig.loader.status()["used"] == 0
    said = [address for _, address, _ in rig.answers.said]
    assert said.index("/synced") > said.index("/done")
    rig.send("/play_stem", 100)
    assert rig.fails()[-1] == "/play_stem nothing is loaded in buffer 100"


def test_a_mark_or_stop_that_the_engine_refused_is_sent_again(
    rig: Rig, steady: str
) -> None:
    playing(rig, steady)
    rig.core.deck_manager.ramp(rig.core.track_table.find(100).request, 0, 1.0)  # type: ignore[arg-type]
    for _ in range(PENDING + 100):  # fill the engine's table of pending commands
        rig.core.engine_queue.add(OP_RAMP, index=0, x=1.0, y=1.0, frame=2 * RATE)
    rig.send("/mixer_cleanup")
    rig.run(1024)
    assert rig.core.track_table.leaving()
    rig.seconds(4)
    assert not rig.core.track_table.numbers()
    assert rig.core.voice_allocator.free_voices() == 64


def test_a_sync_that_the_engine_refused_still_gets_its_reply(rig: Rig) -> None:
    rig.run(512)
    for _ in range(PENDING):
        rig.core.engine_queue.add(OP_RAMP, index=0, x=1.0, y=1.0, frame=RATE)
    rig.send("/sync", 5)
    rig.run(4096)
    assert not rig.heard("/synced")
    rig.seconds(1)
    assert rig.heard("/synced") == [(5,)]


def test_lost_engine_events_are_reconciled_with_the_desk(rig: Rig, steady: str) -> None:
    playing(rig, steady, loop=0)
    rig.send("/load_buffer", 101, steady)
    rig.send("/play_stem", 101)
    rig.send("/sync", 3)
    events = rig.core.voice_allocator.engine_events
    rig.core.voice_allocator.engine_events = lambda events: None  # type: ignore[method-assign]
    rig.seconds(2.2)
    rig.core.voice_allocator.engine_events = events  # type: ignore[method-assign]
    rig.desk.ledger["events_lost"] += 1
    rig.seconds(1)
    assert not rig.core.track_table.find(100).sounding
    assert rig.core.track_table.find(101).sounding
    assert rig.core.voice_allocator.free_voices() == 63
    assert rig.heard("/synced") == [(3,)]


def test_a_start_whose_end_was_lost_does_not_hold_its_voice_for_ever(
    rig: Rig, steady: str
) -> None:
    rig.send("/deck/A/load", steady)
    rig.run(1024)
    rig.send("/deck/A/play", 2.0)
    events = rig.core.voice_allocator.engine_events
    rig.core.voice_allocator.engine_events = lambda events: None  # type: ignore[method-assign]
    rig.send("/deck/A/stop")
    rig.seconds(0.1)
    rig.core.voice_allocator.engine_events = events  # type: ignore[method-assign]
    rig.desk.ledger["events_lost"] += 1
    rig.seconds(3.5)
    assert not rig.core.track_table.deck_track(0).pending_starts
    assert rig.core.voice_allocator.free_voices() == 64
