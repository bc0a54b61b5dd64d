"""Terminal modes for a full-screen view, and keys as they are pressed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from crowdstream.top.screen import CLOSE, OPEN

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
