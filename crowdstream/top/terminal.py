"""Terminal modes for a full-screen view, and keys as they are pressed.

Incremental drawing on a terminal.

Redrawing the whole view would flicker and overload a slow connection. Only the parts of each line
that differ are written, each at its position, in one write per update.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment
from rich.text import Text

# Synchronized output: terminals that support it show each update at once; others ignore it.
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
CLEAR = "\x1b[0m\x1b[2J"
CLEAR_LINE_END = "\x1b[K"
OPEN = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
CLOSE = "\x1b[0m\x1b[?25h\x1b[?1049l"


def place(row: int, column: int) -> str:
    """Return the sequence that moves to a row and a column, counted from 0."""
    return f"\x1b[{row + 1};{column + 1}H"


class Screen:
    """Contents of a terminal. `update` returns the text that changes them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        name = console.color_system
        self._colors: ColorSystem | None = COLOR_SYSTEMS[name] if name else None
        self._texts: list[Text] = []
        self._shown: list[list[Segment]] = []

    def invalidate(self) -> None:
        """Discard the known contents, so that the next update draws everything."""
        self._texts, self._shown = [], []

    def update(self, lines: Sequence[Text]) -> str:
        """Return the text that makes the terminal show `lines`, whose styles are in spans."""
        whole = not self._shown
        parts: list[str] = []
        rows = max(len(lines), len(self._shown))
        for row in range(rows):
            if row < min(len(lines), len(self._texts)) and lines[row] == self._texts[row]:
                continue
            new = self._segments(lines[row]) if row < len(lines) else []
            old = self._shown[row] if row < len(self._shown) else []
            if row < len(self._shown):
                self._shown[row] = new
            else:
                self._shown.append(new)
            parts.append(self._change(row, old, new))
        self._texts = list(lines)
        del self._shown[len(lines) :]
        changed = "".join(parts)
        if not changed:
            return ""
        return f"{BEGIN}{CLEAR if whole else ''}{changed}{END}"

    def _segments(self, text: Text) -> list[Segment]:
        segments = [one for one in text.render(self._console) if one.text]
        return list(Segment.remove_color(segments)) if self._console.no_color else segments

    def _change(self, row: int, old: list[Segment], new: list[Segment]) -> str:
        first = 0
        while first < min(len(old), len(new)) and old[first] == new[first]:
            first += 1
        last = 0
        before, after = _cells(old), _cells(new)
        while before == after and last < min(len(old), len(new)) - first:
            if old[-1 - last] != new[-1 - last]:
                break
            last += 1
        column = _cells(new[:first])
        pieces = new[first : len(new) - last]
        if not pieces and before == after:
            return ""
        written = [place(row, column)]
        for piece in pieces:
            written.append(piece.style.render(piece.text, color_system=self._colors)
                           if piece.style else piece.text)  # fmt: skip
            column += cell_len(piece.text)
            if not piece.text.isascii():
                # Terminals disagree on the width of some characters.
                written.append(place(row, column))
        if after < before:
            written.append(CLEAR_LINE_END)
        return "".join(written)


def _cells(segments: Sequence[Segment]) -> int:
    return sum(cell_len(one.text) for one in segments)


INTERRUPT, SUSPEND, REDRAW = "\x03", "\x1a", "\x0c"
# Sequences of the cursor keys in both of their modes.
UP, DOWN = ("\x1b[A", "\x1bOA", "\x1b[D", "\x1bOD"), ("\x1b[B", "\x1bOB", "\x1b[C", "\x1bOC")
MAX_KEYS = 64


class Ended(Exception):
    """The terminal is gone, or the program was asked to end."""


class Terminal:
    """Standard input and output as a screen with keys. Use it as a context manager."""

    def __init__(self) -> None:
        self._keys = sys.stdin.isatty()
        self._saved: list[object] | None = None

    def __enter__(self) -> Terminal:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, Ended):
            self._close()

    def _open(self) -> None:
        if self._keys:
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            mode = termios.tcgetattr(sys.stdin)
            # Ctrl-C and Ctrl-Z arrive as keys, so that the screen is always restored.
            mode[3] &= ~termios.ISIG
            termios.tcsetattr(sys.stdin, termios.TCSANOW, mode)
        self.write(OPEN)

    def _close(self) -> None:
        try:
            self.write(CLOSE)
        finally:
            if self._saved is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]

    def suspend(self) -> None:
        """Return the terminal to the shell until this program is resumed."""
        self._close()
        os.kill(os.getpid(), signal.SIGTSTP)
        self._open()

    def write(self, text: str) -> None:
        """Write a text to the terminal; blocks on a slow connection. Raises `Ended`."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            raise Ended from error

    def keys(self, seconds: float) -> list[str]:
        """Return the keys pressed within `seconds`; returns at the first ones."""
        if not self._keys:
            time.sleep(seconds)
            return []
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if not ready:
            return []
        pressed = os.read(sys.stdin.fileno(), MAX_KEYS)
        if not pressed:
            raise Ended
        return list(split(pressed.decode("ascii", "replace")))


def split(text: str) -> Iterator[str]:
    """Split terminal input into keys: single characters and sequences of the cursor keys."""
    while text:
        size = 3 if text[:2] in ("\x1b[", "\x1bO") and len(text) >= 3 else 1
        yield text[:size]
        text = text[size:]


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Ended
