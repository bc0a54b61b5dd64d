"""Replies about the server: status, version, subscriptions and the printed clock."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import crowdstream
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.publish.status import STATUS_NAMES
from crowdstream.osc.codec import build
from tests.support.offline_server import Rig, level, write


def test_the_status_begins_like_supercolliders_and_continues_with_names(
    rig: Rig, tmp_path: Path
) -> None:
    folder = tmp_path / "track"
    folder.mkdir()
    for name in ("drums", "bass"):
        write(folder / f"{name}.wav", level(1))
    rig.send("/cue", "A", str(folder))
    rig.send("/load_buffer", 2200, str(folder / "bass.wav"), "x" * 4096)
    rig.send("/start_group", 0.0, "A")
    rig.run(1024)
    rig.send("/status")
    [values] = rig.heard("/status.reply")
    assert values[:5] == (1, 1, 2, 4, 2)
    assert values[7:9] == (44100.0, 44100.0)
    names, rest = values[9::2], values[10::2]
    assert len(names) == len(rest) == len(set(names))
    known = {name.replace("{deck}", deck) for name in STATUS_NAMES for deck in "ABCD"}
    known = {name.replace("{input}", number) for name in known for number in "12"}
    known |= {f"deck.{deck}.{band}" for deck in "ABCD" for band in ("mid", "high")}
    # Names that only a server with processes has.
    processes = {"cpu_control", "cpu_engine", "cpu_loader"}
    processes |= {"standby", "takeovers", "takeover_gap_ms", "device_lost"}
    assert set(names) | processes == known
    for value in values:
        assert isinstance(value, int | float | str)
        assert not isinstance(value, bool)
        assert isinstance(value, str) or math.isfinite(value)
    assert len(build("/status.reply", values)) < 16384
    assert rig.status()["deck.A.state"] == "playing"


def test_the_status_of_a_loading_and_of_an_empty_deck(rig: Rig, tmp_path: Path) -> None:
    rig.pages_a_block = 0
    rig.send("/cue", "A", str(write(tmp_path / "a.wav", level(1))))
    rig.run(256)
    status = rig.status()
    assert (status["deck.A.state"], status["deck.A.track"]) == ("loading", "a")
    assert status["deck.B.state"] == "empty"
    rig.pages_a_block = 100
    rig.run(256)
    assert rig.status()["deck.A.state"] == "ready"


def test_get_status_prints_and_replies(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.send("/get_status")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("[STATS]")
    assert [line[:6] for line in printed[1:]] == ["deck A", "deck B", "deck C", "deck D"]
    assert len(rig.heard("/status.reply")) == 1


def test_the_version_is_that_of_the_program(rig: Rig) -> None:
    rig.send("/version")
    [values] = rig.heard("/version.reply")
    assert values[0] == "crowdstream"
    assert f"{values[1]}.{values[2]}{values[3]}" == crowdstream.__version__
    assert len(values) == 6


def test_subscribers_are_numbered_notified_and_removed(rig: Rig) -> None:
    for port in (1, 2, 3):
        rig.core.handle_packet(build("/notify", (1,)), ("127.0.0.1", port))
    assert rig.heard("/done") == [("/notify", n, MAX_SUBSCRIBERS) for n in range(3)]
    rig.core.handle_packet(build("/notify", (0,)), ("127.0.0.1", 2))
    rig.core.handle_packet(build("/notify", ()), ("127.0.0.1", 3))
    assert rig.heard("/done")[-1] == ("/notify", 2, MAX_SUBSCRIBERS)
    rig.core.notify("/underrun", "device", 1, 0.0)
    receivers = [sender for sender, address, _ in rig.answers.said if address == "/underrun"]
    assert receivers == [("127.0.0.1", 1), ("127.0.0.1", 3)]
    for port in range(10, 10 + MAX_SUBSCRIBERS):
        rig.core.handle_packet(build("/notify", (1,)), ("127.0.0.1", port))
    assert len(rig.fails()) == 2
    assert "subscribed already" in rig.fails()[0]


def test_the_clock_is_printed_once_a_beat(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.send("/set_meter", 3)
    rig.send("/reset")
    rig.send("/print_clock")
    rig.seconds(2.2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" phase")[0] for line in lines] == [
        "bar 1 beat 1", "bar 1 beat 2", "bar 1 beat 3", "bar 2 beat 1", "bar 2 beat 2",
    ]
    assert all(line.endswith("120.00 bpm") for line in lines)
    assert all(float(line.split()[5]) < 0.05 for line in lines)
    rig.send("/print_clock", 0)
    rig.seconds(1)
    assert not capsys.readouterr().out


def test_the_watch_setting_prints_the_clock_from_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(print_beats=True, bpm=240.0)
    try:
        rig.seconds(0.6)
        assert len(capsys.readouterr().out.splitlines()) == 3
    finally:
        rig.close()


def test_a_closed_standard_output_does_no_harm(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        encoding = "utf-8"

        def write(self, _text: str) -> None:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    rig.send("/print_clock")
    rig.send("/get_status")
    rig.seconds(1)
    assert not rig.fails()
    assert len(rig.heard("/status.reply")) == 1


def test_settings_apply_levels_tempo_and_decks(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", level(1))
    rig = Rig(levels=(0.1, 0.2, 0.3, 0.4), bpm=126.0, b=file, c=tmp_path / "none.wav", meter=3)
    try:
        rig.run(2048)
        status = rig.status()
        assert [round(status[f"deck.{d}.level"], 6) for d in "ABCD"] == [0.1, 0.2, 0.3, 0.4]
        assert (status["bpm"], status["meter"]) == (126.0, 3)
        assert status["deck.B.state"] == "ready"
        assert status["failed"] == 1
    finally:
        rig.close()


def test_the_clock_is_printed_from_the_next_beat_on(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.send("/reset")
    rig.seconds(0.7)
    rig.send("/print_clock")
    rig.seconds(0.2)
    assert not capsys.readouterr().out, "beat 2 has begun already"
    rig.send("/print_clock")
    rig.seconds(0.2)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("bar 1 beat 3 phase 0.0")


def test_ping_follows_the_failures_of_what_was_sent_before(rig: Rig) -> None:
    rig.send("/deck/A/level", 9.0)
    rig.send("/ping", 7)
    assert [address for _, address, _ in rig.answers.said] == ["/fail", "/pong"]
    assert rig.heard("/pong") == [(7,)]


def test_ping_does_not_wait_for_files_and_waits_for_the_engine_on_request(
    rig: Rig, tmp_path: Path
) -> None:
    rig.pages_a_block = 0
    rig.send("/deck/A/load", str(write(tmp_path / "a.wav", level(1))))
    rig.send("/ping", 1, 1)
    assert not rig.heard("/pong")
    rig.run(512)
    assert rig.heard("/pong") == [(1,)]
