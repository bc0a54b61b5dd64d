"""The demo's output on a terminal."""

from __future__ import annotations

import io

import pytest

from crowdstream.demo.runner import Display


class Terminal(io.StringIO):
    """A terminal on which Ctrl-C arrives while a line is being written."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        if not self.getvalue().endswith("\n"):
            raise KeyboardInterrupt


def test_ctrl_c_during_the_status_line_leaves_a_complete_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    display = Display()
    with pytest.raises(KeyboardInterrupt):
        display.refresh("playing")
    display.close()
    assert terminal.getvalue() == "playing\n"
