"""The terminal view, redrawn until q is pressed or printed once."""

from __future__ import annotations

import os
import shutil
import sys
import time

from rich.console import Console

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.settings.errors import one_line
from crowdstream.top.client import Client
from crowdstream.top.fields import ASCII, UNICODE, Glyphs
from crowdstream.top.layout import CONTROL_KEYS, KEYS, draw_view
from crowdstream.top.readings import Readings
from crowdstream.top.terminal import DOWN, INTERRUPT, REDRAW, SUSPEND, UP, Ended, Screen, Terminal

ONCE_SECONDS = 3.0  # time for the server to answer
METERS_SECONDS = 0.5  # for which `--once` collects meters and counts messages
ROWS = 24  # height of the output if it does not go to a terminal


def fail(text: str, status: int) -> int:
    """Print an error in one line and return `status`."""
    print(f"crowdstream top: {one_line(text)}", file=sys.stderr)
    return status


def _glyphs(console: Console) -> Glyphs:
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def once(readings: Readings, client: Client, console: Console) -> int:
    """Print the view once. Returns 1 if no server answers."""
    deadline = time.monotonic() + ONCE_SECONDS
    while time.monotonic() < deadline:
        client.tick(time.monotonic())
        if readings.answers:
            deadline = min(deadline, readings.since + METERS_SECONDS)
        time.sleep(0.02)
    if not readings.answers:
        where = f"{readings.host}:{readings.port}"
        return fail(f"no server at {where}: {readings.trouble}", 1)
    size = shutil.get_terminal_size((80, ROWS))
    rows = size.lines - 1 if console.is_terminal else max(size.lines, ROWS)
    for text in draw_view(readings, console.width, rows, time.monotonic(), _glyphs(console)):
        console.print(text, no_wrap=True, crop=True, overflow="crop", end="\n")
    return 0


def watch(
    readings: Readings, client: Client, console: Console, rate: float, control: bool
) -> int:
    """Redraw the view until the user or a signal ends the program."""
    if control:
        readings.chosen = DECK_LETTERS[0]
    screen, glyphs = Screen(console), _glyphs(console)
    words = CONTROL_KEYS if control else KEYS
    size = os.terminal_size((0, 0))
    try:
        with Terminal() as terminal:
            due = time.monotonic()
            while True:
                now = time.monotonic()
                # Frames that a slow connection did not accept in time are skipped.
                due = max(due + 1.0 / rate, now)
                client.tick(now)
                if size != (size := os.get_terminal_size(sys.stdout.fileno())):
                    screen.invalidate()
                lines = draw_view(readings, size.columns, size.lines, now, glyphs, words)
                terminal.write(screen.update(lines))
                while (left := due - time.monotonic()) > 0.0:
                    for key in terminal.keys(left):
                        if key in ("q", "Q", INTERRUPT):
                            return 0
                        if key in (SUSPEND, REDRAW):
                            if key == SUSPEND:
                                terminal.suspend()
                            screen.invalidate()
                        elif control:
                            _act(readings, client, key)
    except Ended:
        return 0


def _act(readings: Readings, client: Client, key: str) -> None:
    """Handle a key pressed with --control."""
    if key in (*UP, *DOWN):
        step = 1 if key in DOWN else -1
        number = (DECK_LETTERS.index(readings.chosen) + step) % len(DECK_LETTERS)
        readings.chosen = DECK_LETTERS[number]
    elif key.upper() in DECK_LETTERS:
        readings.chosen = key.upper()
    elif key == " ":
        does = "stop" if readings.playing(readings.chosen) else "play"
        client.send(f"/deck/{readings.chosen}/{does}")
