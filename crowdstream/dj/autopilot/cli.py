"""`crowdstream dj`: play a set, or an endless mix of a folder, on a running server."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from crowdstream.dj.autopilot.background_analysis import BackgroundAnalysis, entry_as_it_is
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink, connect
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import (
    EndlessSelector,
    NothingToPlay,
    SetFileSelector,
    TrackSelector,
)
from crowdstream.dj.setfile.model import SetEntry
from crowdstream.dj.setfile.reader import SetError
from crowdstream.movement.follower import MovementMap
from crowdstream.movement.map_file import read_map
from crowdstream.settings import SettingError
from crowdstream.settings.errors import Parser
from crowdstream.settings.files import PRESETS
from crowdstream.system.process import watch_process
from crowdstream.system.safe_open import nearest_spelling
from crowdstream.system.text import printable

CROWD = PRESETS / "crowd.toml"
RESCAN_SECONDS = 10.0  # between two checks of the library for newly analysed tracks
ENERGY_PERIOD_SECONDS = 3600.0  # period of the planned energy curve
BASE_BPM = 120.0


def build_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream dj`."""
    parser = Parser(
        prog="crowdstream dj",
        description="Play a set, or an endless mix of a folder, on a running server.",
        epilog="See docs/concepts/the-dj.md.",
    )  # fmt: skip
    add = parser.add_argument
    add("what", metavar="FOLDER|SET.toml", type=Path, help="a folder of tracks, or a set file")
    add("--host", default="127.0.0.1", help="host of the server (%(default)s)")
    add("--port", type=int, default=57120, help="OSC port of the server (%(default)s)")
    add("--crowd", type=Path, default=CROWD, metavar="FILE",
        help="how crowd movement controls tempo and energy (configs/crowd.toml)")  # fmt: skip
    add("--no-crowd", action="store_true", help="ignore the crowd's movement")
    add("--seed", type=int, default=1, help="the same seed makes the same choices (%(default)s)")
    add("--library", type=Path, metavar="FILE", help="library of analysed tracks")
    add("--with", type=int, metavar="PID", dest="with_pid", help="end when this process ends")
    add("--no-analysis", action="store_true", help="play only tracks that are already analysed")
    return parser


def run_dj(arguments: Sequence[str]) -> int:
    """Run `crowdstream dj` and return its exit status: 2 for bad input, 1 for an OS error."""
    options = build_parser().parse_args(arguments)
    options.what = nearest_spelling(options.what.expanduser())
    logging.basicConfig(level=logging.INFO, format="crowdstream dj: %(message)s")
    analyst: BackgroundAnalysis | None = None
    try:
        movement_map = None if options.no_crowd else read_map(options.crowd, BASE_BPM)
        if options.what.suffix == ".toml":
            from crowdstream.dj.setfile.reader import read_set

            selector: TrackSelector = SetFileSelector(read_set(options.what))
        else:
            if not options.what.is_dir():
                raise NothingToPlay(f"{printable(options.what)} is neither a folder nor a set file")
            analyst = (
                None if options.no_analysis else BackgroundAnalysis(options.what, options.library)
            )
            selector = _endless(options, analyst)
        return _play(options, selector, movement_map, analyst)
    except (SetError, SettingError, NothingToPlay) as error:
        print(f"crowdstream dj: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"crowdstream dj: {printable(str(error))}", file=sys.stderr)
        return 1
    finally:
        if analyst is not None:
            analyst.end()


def _play(
    options: argparse.Namespace,
    selector: TrackSelector,
    movement_map: MovementMap | None,
    analyst: BackgroundAnalysis | None,
) -> int:
    stop = threading.Event()
    parent_ended = watch_process(options.with_pid) if options.with_pid is not None else None

    def is_over() -> bool:
        return stop.is_set() or (parent_ended is not None and parent_ended())

    def end(_number: int, _frame: Any) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    link = ServerLink(connect(options.host, options.port))
    analysis = (lambda: analyst.progress) if analyst is not None else dict
    Session(link, selector, CrowdInput(movement_map), analysis=analysis).run(is_over)
    return 0


def _written(library: Path) -> float:
    # Time of the last write to the library; recent writes go to the write-ahead log beside it.
    times = [0.0]
    for path in (library, library.with_name(library.name + "-wal")):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)


def _endless(options: argparse.Namespace, analyst: BackgroundAnalysis | None) -> EndlessSelector:
    from crowdstream.dj.planning.candidates import Candidates, of_analyses, of_library
    from crowdstream.dj.planning.energy_curve import NAMED, Curve
    from crowdstream.dj.planning.planner import Planner, PlanOptions
    from crowdstream.library import Library, LibraryNotFound, Query, default_path

    curve = Curve("wave", NAMED["wave"])
    begun = time.monotonic()
    place = options.library or default_path()
    folder = str(options.what.resolve())
    known: list[Any] = [-math.inf, of_analyses({}), 0.0]

    def candidates() -> Candidates:
        now = time.monotonic()
        if analyst is not None:
            analyst.tick(now, not known[1].cards)
        if now - known[0] > RESCAN_SECONDS or not known[1].cards:
            known[0] = now
            written = _written(place)
            with contextlib.suppress(LibraryNotFound):  # until the first track is analysed
                if written != known[2]:
                    known[1] = of_library(Library(place, write=False), Query(roots=(folder,)))
                    known[2] = written
        found: Candidates = known[1]
        return found

    def energy() -> float:
        return curve.energy((time.monotonic() - begun) / ENERGY_PERIOD_SECONDS % 1.0)

    def unanalysed(excluded: Collection[str]) -> SetEntry | None:
        # Between two runs of the analysis, no track is new.
        if analyst is None or not analyst.running:
            return None
        # What the library knows and the candidates lack is damaged, silent or too short.
        analysed: set[str] = set()
        with contextlib.suppress(LibraryNotFound), Library(place, write=False) as library:
            for query in (Query(roots=(folder,)), Query(roots=(folder,), bad=True)):
                analysed |= {path for entry in library.find(query)
                             for path in (entry.path, entry.play)}  # fmt: skip
        return entry_as_it_is(options.what, analysed.union(excluded))

    return EndlessSelector(
        lambda cards: Planner(cards, PlanOptions(seed=options.seed)), candidates, energy,
        None if analyst is None else unanalysed,
    )  # fmt: skip
