"""Durations as formatted by players, and a bar that leaves nothing behind."""

from __future__ import annotations

import io
import re

import pytest

from crowdstream.system.progress_bar import ProgressBar, format_duration


class _Screen(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0:00"), (59.6, "1:00"), (185, "3:05"), (3599.6, "1:00:00"), (3725, "1:02:05")],
)
def test_a_duration_is_formatted_as_on_a_player(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


def test_a_bar_shows_its_progress_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    screen = _Screen()
    bar = ProgressBar(screen, "looking")
    bar.describe("found [some]")
    bar.print("a [line] above")
    bar.show("3 of 4", 30.0, 40.0)
    bar.show("3 of 4", 30.0, 40.0, 65.0)
    bar.close()
    raw = screen.getvalue()
    assert "\x1b[2K" in raw[raw.rindex("%") :], "nothing is left of the bar"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
    assert "a [line] above" in text and "3 of 4" in text and " 75%" in text
    assert "1:05 left" in text
