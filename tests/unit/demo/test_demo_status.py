"""The demo's status line: tolerates any server, and never exceeds the terminal's width."""

import pytest

from crowdstream.demo import status

POSITIONAL = (1, 4, 4, 1, 0, 12.5, 20.0, 44100.0, 44100.0)
NAMED = (
    "driver", "pyaudio", "device", "USB DAC", "latency_ms", 11.6, "underruns", 2, "bpm", 120.0,
    "cpu_engine", 3.0, "cpu_control", 1.5,
    "deck.A.state", "playing", "deck.A.track", "/music/1-low-tide", "deck.A.position", 75.2,
    "deck.A.level", 1.0, "deck.A.low", 0.0, "deck.A.mid", 1.0, "deck.A.high", 1.0,
    "deck.B.state", "cued",
)  # fmt: skip


def test_values_are_read_by_name() -> None:
    read = status.parse(POSITIONAL + NAMED)
    assert read.number("underruns") == 2
    assert read.text("device") == "USB DAC"
    assert read.total_cpu() == 4.5


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1, 2, 3),
        POSITIONAL,
        (*POSITIONAL, "lonely"),
        (*POSITIONAL, 5, 6, "underruns", "many"),
        (*POSITIONAL, "deck.A.state", None, "deck.B.level", "loud", "new.name", 3),
        (None,) * 12,
    ],
)
def test_missing_and_odd_values_are_tolerated(arguments: tuple[object, ...]) -> None:
    read = status.parse(arguments)
    assert read.number("underruns") == 0.0
    assert "underruns 0" in status.line(read, 124.0, "")


def test_the_average_cpu_replaces_missing_names() -> None:
    assert status.parse(POSITIONAL).total_cpu() == 12.5


def test_the_line_shows_decks_load_and_underruns() -> None:
    text = status.line(status.parse(POSITIONAL + NAMED), 124.0, "lows: A to B", 120)
    assert "A▕█████▏ 1-low-tide 1:15  ██" in text
    assert "B▕     ▏ cued" in text
    assert "124 BPM  CPU 4%  underruns 2" in text
    assert text.endswith("lows: A to B")


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
def test_the_line_never_wraps(width: int) -> None:
    values: list[object] = list(POSITIONAL)
    for deck in "ABCD":
        values += [f"deck.{deck}.state", "playing", f"deck.{deck}.track", "a long title " * 5]
    assert len(status.line(status.parse(values), 124.0, "note " * 9, width)) <= width


def test_the_plain_line_is_ascii() -> None:
    assert status.line(status.parse(POSITIONAL + NAMED), 124.0, "", plain=True).isascii()


def test_a_missing_sound_card_is_reported() -> None:
    null = status.parse((*POSITIONAL, "driver", "null"))
    assert status.where(null) == "no sound card found, running on the built-in clock"
    assert status.where(status.parse(POSITIONAL + NAMED)) == "playing on USB DAC, 12 ms behind"
    assert "playing on" in status.where(status.parse(POSITIONAL))
