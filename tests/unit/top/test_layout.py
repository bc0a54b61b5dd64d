"""The view: its contents at each size, and its resistance to hostile input."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from crowdstream.top.fields import ASCII, UNICODE, Glyphs
from crowdstream.top.layout import KEYS, draw_view
from crowdstream.top.readings import BAD, Readings
from tests.support.top_terminal import readings

SIZES = [(80, 24), (160, 50), (220, 24), (100, 33), (48, 20), (40, 12), (20, 8), (10, 4), (5, 1)]


def drawn(
    known: Readings, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE, now: float = 100.0
) -> list[str]:
    """Return the lines of the view as rich prints them."""
    console = Console(record=True, width=width, height=height, file=io.StringIO())
    lines = draw_view(known, width, height, now, glyphs, KEYS)
    for line in lines:
        console.print(line, no_wrap=True, crop=False, overflow="ignore")
    text = console.export_text().rstrip("\n").split("\n")
    assert len(text) == len(lines)
    return [line.rstrip() for line in text]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_view_fits_every_size(width: int, height: int) -> None:
    known = readings(B_track="界" * 90, B_state="ready", B_length=99.0)
    for number in range(60):
        known.add_log(1e9 + number, BAD, f"something {number} " * 20)
    lines = draw_view(known, width, height, 100.0, UNICODE, KEYS)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


def test_everything_important_is_visible_on_80_by_24() -> None:
    known = readings()
    known.add_log(1e9, BAD, "underrun, device: 1")
    lines = drawn(known)
    text = "\n".join(lines)
    for words in (
        "127.0.0.1:57120", "bpm 126.00", "bar 101", "night drive", "beat   166.8", "sync", "+0.02",
        "1:23.4", "-2:41.6", "of 4:05.0", "level 0.80", "EQ  off 1.00 1.00", "key +2.0",
        "loop 16 beats", "fx echo gate(off)", "empty", "master", "-6.2 dB", "LUFS -14.1", "cue",
        "underruns 3 (2 late callback, 1 slow render)", "missing pages 0", "p50 0.31 p99 0.80 max",
        "2.10 of 5.33 ms", "15 %", "quality full", "latency 23.4 ms", "OSC 0/s", "late 0",
        "standby warm", "takeovers 0", "CPU 9 %", "control 2 engine 7", "pages 120 of 2000 MB",
        "underrun, device: 1", "q quit",
    ):  # fmt: skip
        assert words in text, words


def test_cues_and_the_loop_are_at_their_positions_in_the_bar() -> None:
    line = next(one for one in drawn(readings(A_cues="1:0.000 4:122.500")) if "of 4:05.0" in one)
    bar = line.split("  ")[3]
    assert (bar.index("1"), bar.index("4")) == (0, len(bar) // 2)
    assert bar[len(bar) // 3 - 1] == "━"
    assert bar[-1] == "─"


def test_a_larger_terminal_shows_more() -> None:
    small, large = "\n".join(drawn(readings())), "\n".join(drawn(readings(), 100, 50))
    for words in ("1 0:00.5  4 0:31.2", "no recording", "longest interval", "voices 1"):
        assert words not in small
        assert words in large


def test_a_wide_terminal_shows_decks_side_by_side() -> None:
    lines = drawn(readings(B_track="morning", B_state="ready"), 160, 30)
    assert any("night drive" in line and "morning" in line for line in lines)


def test_a_narrow_terminal_shows_the_most_important_fields() -> None:
    lines = drawn(readings(), 40, 12)
    text = "\n".join(lines)
    for words in ("night drive", "-2:41.6", "bpm 126.00", "underruns 3"):
        assert words in text


@pytest.mark.parametrize(
    "name",
    ["[red]evil[/red]", "[/]", "a\nb", "\x1b[2Jx", "\x07bell", "\u202etxt", "\udcff", "\x9b2J"],
)
def test_hostile_names_are_plain_text(name: str) -> None:
    known = readings(A_track=name, A_fx=name, device=name)
    known.add_log(1e9, BAD, f"{name} has ended")
    lines = drawn(known, 160, 40)
    text = "\n".join(lines)
    assert all(one.isprintable() for line in lines for one in line)
    if name.startswith("["):
        assert text.count(name) == 4
    assert len(lines) < 41


def test_any_status_can_be_drawn() -> None:
    known = readings(A_loop="x-y", A_cues="::", A_length="long", meter=-3, beat=float("nan"),
                     A_position=-1e12, A_bpm=float("inf"), budget_ms="?", quality=77)  # fmt: skip
    assert len(drawn(known)) > 20
    known.status = {}
    assert "underruns 0" in "\n".join(drawn(known))


def test_an_unavailable_server_is_reported_and_the_rest_is_dimmed() -> None:
    known = readings()
    known.answers, known.since, known.trouble = False, 88.0, "no answer"
    lines = draw_view(known, 80, 24, 100.0, UNICODE)
    assert "no server at 127.0.0.1:57120 for 0:12: no answer" in lines[0].plain
    assert all("dim" in str(line.spans) for line in lines[1:])


def test_a_peak_is_held_and_then_falls() -> None:
    known = readings()
    known.meter("master").update(-30.0, -40.0, -40.0, 100.2)

    def peak(now: float) -> str:
        return next(one for one in drawn(known, now=now) if "master" in one)

    assert "-6.2 dB" in peak(101.4)
    assert "-16.2 dB" in peak(102.0)
    assert "-30.0" not in peak(102.0)
    assert "│" in peak(101.4)
    assert "- dB" in peak(200.0)


def test_synced_decks_have_the_tempo_of_the_clock() -> None:
    assert "bpm 126.00" in drawn(readings())[1]
    assert "bpm  63.00" in drawn(readings(A_sync=0.5))[1]
    assert "bpm 138.60" in drawn(readings(A_sync=0.0, A_rate=1.1))[1]


def test_without_unicode_all_is_ascii() -> None:
    assert "\n".join(drawn(readings(), glyphs=ASCII)).isascii()


def test_recordings_and_problems_are_visible() -> None:
    text = "\n".join(drawn(readings(recording=2, record_seconds=61.0, device_lost=1, quality=2)))
    for words in ("REC 1:01", "device is gone", "quality 2 no key lock"):
        assert words in text


def test_inputs_and_ports_are_shown_where_there_are_any() -> None:
    known = readings()
    assert "input" not in "\n".join(drawn(known, 100, 50))
    known.status |= {
        "input.1.state": "playing", "input.1.latency_ms": 12.4, "input.1.gaps": 2,
        "input.2.state": "searching", "jack": "running", "jack_connected": 4,
    }  # fmt: skip
    text = "\n".join(drawn(known, 120, 50))
    for words in ("input 1 playing 12 ms", "gaps 2", "input 2 searching", "JACK ports 4 conn"):
        assert words in text, words
    assert "Link" not in text and "broadcasts" not in text
    known.status |= {
        "link.state": "locked", "link.peers": 2, "broadcasts": 3, "broadcasts_live": 2,
        "lights_outputs": 1, "lights_sending": 1, "midi_ports": 2, "midi_connected": 0,
        "rooms.state": "leading", "rooms.count": 3, "rooms.in_step": 2,
    }  # fmt: skip
    text = "\n".join(drawn(known, 200, 50))
    for words in (
        "Link locked, 2 peers", "broadcasts 2 of 3", "lights 1 of 1", "MIDI ports 0 of 2",
        "rooms 2 of 3 in step",
    ):  # fmt: skip
        assert words in text, words
    known.status["jack"] = "searching"
    assert "JACK ports no server" in "\n".join(drawn(known, 120, 50))
