"""The demo's command line: tracks, server, mix, status line, and a clean shutdown."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from crowdstream.demo import status
from crowdstream.demo.osc import OscClient
from crowdstream.demo.plan import TEMPO
from crowdstream.demo.sequencer import Sequencer, SequencerError
from crowdstream.demo.server import (
    ServerError,
    ServerProcess,
    choose_port,
    command_for,
    page_options,
)
from crowdstream.demo.tracks import Track, TracksError, write_tracks
from crowdstream.settings.cli import add_duration, duration_of
from crowdstream.settings.cli import parse as parse_server_options
from crowdstream.settings.errors import Parser

REFRESH = 0.25
PLAIN_EVERY = 5.0
FIRST_STATUS = 0.6
"""Seconds from the start to the first status line: the first sound has been played by then."""
PAGE_SECONDS = 30.0
"""Time to wait for the page; the music starts without it."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_cache() -> Path:
    """Return the folder that keeps tracks and the server's log between runs."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a path that is not absolute must be ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "crowdstream" / "demo"


class Display:
    """Permanent lines, and one status line that is rewritten on a terminal."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
        self.plain = "utf" not in encoding
        self._open = False
        self._due = 0.0

    def print_line(self, text: str) -> None:
        """Print a permanent line."""
        sys.stdout.write(f"{self._fresh()}{text}\n")
        sys.stdout.flush()

    def refresh(self, text: str, every: float = 0.0) -> None:
        """Rewrite the status line; without a terminal, print one every 5 s."""
        now = time.monotonic()
        if now < self._due:
            return
        if not self.live:
            self._due = now + PLAIN_EVERY
            self.print_line(text)
            return
        self._due = now + every
        line = f"{self._fresh()}{text[: self.width()]}"
        # A signal may interrupt between any two of these: set the flag before the line is written.
        self._open = True
        sys.stdout.write(line)
        sys.stdout.flush()

    def hold(self, seconds: float) -> None:
        """Suppress the status line for some seconds while there is nothing to show."""
        self._due = time.monotonic() + seconds

    def width(self) -> int:
        """Return the number of characters that fit without wrapping."""
        return shutil.get_terminal_size((120, 24)).columns - 1 if self.live else 160

    def _fresh(self) -> str:
        if not self._open:
            return ""
        self._open = False
        return "\r\x1b[K"

    def close(self) -> None:
        """Leave the cursor on a new line of the terminal."""
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open = False


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of this subcommand."""
    parser = Parser(
        prog="crowdstream demo",
        description="Generate four tracks, start the server, and mix them over OSC.",
        epilog="Any other option is passed on to the server (see crowdstream serve --help).",
    )
    add_duration(parser, "end after this much music")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder for the tracks")
    parser.add_argument("--port", type=int, metavar="P", help="the server's OSC port (57120)")
    parser.add_argument("--tracks-only", action="store_true", help="make the tracks, then exit")
    return parser


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    duration = options.duration = duration_of(parser, options)
    if duration is not None and not 0.0 < duration < float("inf"):
        parser.error(f"--duration {duration}: must be a number above 0")
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"--port {options.port}: must be from 1 to 65535")
    parse_server_options(rest, parser.prog)  # exits for unknown ones, before any track is made
    return options, rest


def _make_tracks(display: Display, cache: Path) -> list[Track]:
    def progress(done: int, total: int, title: str) -> None:
        if title:
            bar = "#" * done + "." * (total - done)
            display.print_line(f"[{bar}] making track {done + 1} of {total}: {title}")
        else:
            display.print_line(f"[{'#' * total}] tracks are ready, saved in {cache}")

    return write_tracks(cache / "tracks", progress=progress)


def _play(display: Display, options: argparse.Namespace, rest: list[str], cache: Path) -> None:
    tracks = _make_tracks(display, cache)
    if options.tracks_only:
        return
    port = options.port or choose_port(display.print_line)
    rest = [*page_options(rest, display.print_line), *rest]
    # The page's library shows this folder; recordings are saved beside it.
    library = [] if any(one.startswith("--media-root") for one in rest) else [
        "--media-root", str(cache / "tracks"), "--record-folder", str(cache),
    ]  # fmt: skip
    with (
        OscClient(port) as client,
        ServerProcess(command_for(port, [*library, *rest]), cache / "server.log") as server,
    ):

        display.refresh("starting the server", every=0.0)
        first = server.wait_ready(client, display.print_line)
        display.print_line(f"{status.where(first)}; OSC on port {port}; Ctrl-C ends")
        sequencer = Sequencer(
            client, tracks,
            on_note=lambda note: None if display.live else display.print_line(f"  {note}"),
        )
        sequencer.prepare(server.check)
        sequencer.start()
        display.hold(FIRST_STATUS)
        refused = 0
        page = ""
        try:
            while options.duration is None or sequencer.elapsed() < options.duration:
                sequencer.step()
                server.check()
                if not page and sequencer.elapsed() < PAGE_SECONDS:
                    page = server.page()
                    if page:
                        display.print_line(page)
                if sequencer.refusals > refused:
                    if not refused:
                        display.print_line(f"the server refused: {sequencer.refusal}")
                    refused = sequencer.refusals
                text = status.line(
                    sequencer.status, TEMPO, sequencer.note, display.width(), display.plain
                )
                display.refresh(text, REFRESH)
        finally:
            sequencer.finish()


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    # Only the first signal interrupts: the shutdown that follows must not be cut short.
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Returns the exit status: 0 at its end or after a signal, 1 on failure."""
    options, rest = _options(sys.argv[1:] if arguments is None else arguments)
    cache = (options.cache or default_cache()).expanduser().resolve()
    before = {number: signal.signal(number, _raise_interrupt) for number in ENDING}
    display = Display()
    try:
        _play(display, options, rest, cache)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # The reader of the output is gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ServerError, SequencerError, TracksError) as error:
        display.close()
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        display.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
