"""`crowdstream top`: the terminal view, redrawn until q is pressed or printed once."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.settings import OPTIONS
from crowdstream.settings.errors import Parser, one_line
from crowdstream.top.client import Client
from crowdstream.top.fields import ASCII, UNICODE, Glyphs
from crowdstream.top.layout import CONTROL_KEYS, KEYS, draw_view
from crowdstream.top.readings import Readings
from crowdstream.top.terminal import DOWN, INTERRUPT, REDRAW, SUSPEND, UP, Ended, Screen, Terminal

RATE = 5.0  # frames per second: slow enough to read numbers, and meters hold their peaks
MAX_RATE = 10.0
ONCE_SECONDS = 3.0  # time for the server to answer
METERS_SECONDS = 0.5  # for which `--once` collects meters and counts messages
ROWS = 24  # height of the output if it does not go to a terminal

_DESCRIPTION = "Decks, meters, health and a log of a running server, in a terminal."


def _rate(text: str) -> float:
    value = float(text)
    if not 1.0 <= value <= MAX_RATE:
        raise ValueError
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError
    return value


_rate.__name__, _port.__name__ = f"rate: 1 to {MAX_RATE:g}", "port: 1 to 65535"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of this subcommand."""
    parser = Parser(prog="crowdstream top", description=_DESCRIPTION)
    port = OPTIONS["port"].default
    parser.add_argument(
    "--host", default="127.0.0.1", help="host of the server (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=_port, default=port, help=f"its OSC port (default: {port})"
    )
    parser.add_argument(
        "--rate", type=_rate, default=RATE,
    help=f"screen updates per second, 1 to {MAX_RATE:g} (default: {RATE:g})",
    )  # fmt: skip
    parser.add_argument(
        "--control", action="store_true",
    help="enable control keys: cursor keys choose a deck, space plays or stops it",
    )  # fmt: skip
    parser.add_argument(
        "--once", action="store_true",
    help="print the view once and exit; status 1 if no server answers",
    )  # fmt: skip
    return parser


def top(argv: Sequence[str]) -> int:
    """Run the subcommand and return its exit status: 1 if no server answers, 2 for wrong usage."""
    options = build_parser().parse_args(list(argv))
    console = Console(highlight=False, markup=False, emoji=False)
    if not options.once and not console.is_terminal:
        return _fail("the output is not a terminal; --once prints the view once", 2)
    if not options.once and console.is_dumb_terminal:
        return _fail("this terminal can't position text (TERM); --once prints the view once", 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name may contain unsupported characters
    readings = Readings(options.host, options.port, since=time.monotonic())
    try:
        client = Client(readings, options.rate)
    except OSError as error:
        return _fail(f"can't find {options.host}: {error.strerror or error}", 1)
    try:
        if options.once:
            return once(readings, client, console)
        return watch(readings, client, console, options.rate, options.control)
    finally:
        client.close()


def _fail(text: str, status: int) -> int:
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
        return _fail(f"no server at {where}: {readings.trouble}", 1)
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
