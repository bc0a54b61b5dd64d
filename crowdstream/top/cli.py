"""`crowdstream top`: its options. The view is imported when it is drawn: completion needs none."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Sequence

from crowdstream.settings import OPTIONS
from crowdstream.settings.errors import Parser

RATE = 5.0  # frames per second: slow enough to read numbers, and meters hold their peaks
MAX_RATE = 10.0

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
    from rich.console import Console

    from crowdstream.top.client import Client
    from crowdstream.top.readings import Readings
    from crowdstream.top.view import fail, once, watch

    console = Console(highlight=False, markup=False, emoji=False)
    if not options.once and not console.is_terminal:
        return fail("the output is not a terminal; --once prints the view once", 2)
    if not options.once and console.is_dumb_terminal:
        return fail("this terminal can't position text (TERM); --once prints the view once", 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name may contain unsupported characters
    readings = Readings(options.host, options.port, since=time.monotonic())
    try:
        client = Client(readings, options.rate)
    except OSError as error:
        return fail(f"can't find {options.host}: {error.strerror or error}", 1)
    try:
        if options.once:
            return once(readings, client, console)
        return watch(readings, client, console, options.rate, options.control)
    finally:
        client.close()
