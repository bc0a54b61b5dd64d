"""The progress bar shows the share that is done, within long tracks too, and the time left."""

from __future__ import annotations

import io
import re

import pytest

from crowdstream.library.run_view import TerminalView
from crowdstream.library.scanner import SINGLE, FileState
from crowdstream.library.worker import Job


class _Screen(io.StringIO):
    """A terminal that stores its output."""

    def isatty(self) -> bool:
        return True


def _job(number: int, size: int) -> Job:
    return Job(
        number, f"/{number}", SINGLE, "a", (FileState("a", f"/{number}", size, 0, 0),), "/cache"
    )


def test_the_progress_bar_moves_within_a_long_track(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    short, long = _job(0, 100), _job(1, 900)
    screens = []
    for share in (0.0, 0.5):
        screen = _Screen()
        view = TerminalView(screen, live=True)
        view.begin(2, 1000)
        view.progress(short, 0.5)
        view.done(short)
        if share:
            view.progress(long, share)
        view.close()
        screens.append(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()))
    assert "1 of 2" in screens[0] and " 10%" in screens[0]
    assert "1 of 2" in screens[1] and " 55%" in screens[1]
    assert re.search(r"\d:\d\d left", screens[1])
