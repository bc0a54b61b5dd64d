"""`crowdstream dj`: play a set, or an endless mix of a folder, on a running server."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crowdstream.client.poller import connect
from crowdstream.dj.autopilot.background_analysis import BackgroundAnalysis
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import (
    EndlessSelector,
    NothingToPlay,
    SetFileSelector,
    TrackSelector,
)
from crowdstream.dj.autopilot.version_change import VersionChange
from crowdstream.dj.setfile.errors import SetError
from crowdstream.movement.follower import MovementMap
from crowdstream.movement.map_file import read_map
from crowdstream.settings import SettingError
from crowdstream.settings.errors import Parser
from crowdstream.settings.files import PRESETS, state_folder
from crowdstream.system.installation import record_path
from crowdstream.system.process import watch_process
from crowdstream.system.removable import LABEL, Place, parse_place
from crowdstream.system.safe_open import nearest_spelling
from crowdstream.system.text import printable

if TYPE_CHECKING:
    from crowdstream.dj.autopilot.music_folder import MusicSources

CROWD = PRESETS / "crowd.toml"
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
    add("what", metavar="FOLDER|label:NAME|SET.toml",
        help="a folder of tracks, the label of a file system with tracks, or a set file")
    add("--dj-fallback", metavar="FOLDER", type=_place,
        help="play this folder while the other one is missing, empty or unreadable")  # fmt: skip
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


def _place(text: str) -> Place:
    try:
        return parse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_dj(arguments: Sequence[str]) -> int:
    """Run `crowdstream dj` and return its exit status: 2 for bad input, 1 for an OS error."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="crowdstream dj: %(message)s")
    sources: MusicSources | None = None
    try:
        movement_map = None if options.no_crowd else read_map(options.crowd, BASE_BPM)
        if options.what.endswith(".toml") and not options.what.startswith(LABEL):
            from crowdstream.dj.setfile.reader import read_set

            if options.dj_fallback is not None:
                raise NothingToPlay("--dj-fallback requires a folder to play, not a set file")
            path = nearest_spelling(Path(options.what).expanduser())
            selector: TrackSelector = SetFileSelector(read_set(path))
        else:
            _check_place(options)
            sources = _sources(options)
            selector = _endless(options, sources)
            sources.start()
        change = VersionChange(_record(options), arguments)
        return _play(options, selector, movement_map, sources, change)
    except (SetError, SettingError, NothingToPlay) as error:
        print(f"crowdstream dj: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"crowdstream dj: {printable(where)}", file=sys.stderr)
        return 1
    finally:
        if sources is not None:
            sources.end()


def _check_place(options: argparse.Namespace) -> None:
    # A label may appear at any time. A folder that is not there is a typing error, unless there is
    # other music to play until it is.
    try:
        options.place = place = parse_place(options.what)
    except ValueError as error:
        raise NothingToPlay(str(error)) from None
    for one in (place, options.dj_fallback):
        if one is None or one.label or nearest_spelling(one.path).is_dir():
            continue
        if one is place and options.dj_fallback is not None and not one.path.exists():
            continue
        what = "neither a folder nor a set file" if one is place else "not a folder"
        raise NothingToPlay(f"{one} is {what}")


def _play(
    options: argparse.Namespace,
    selector: TrackSelector,
    movement_map: MovementMap | None,
    sources: MusicSources | None,
    change: VersionChange,
) -> int:
    stop = threading.Event()
    parent_ended = watch_process(options.with_pid) if options.with_pid is not None else None

    def is_over() -> bool:
        return stop.is_set() or (parent_ended is not None and parent_ended())

    def end(_number: int, _frame: Any) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    analysis = sources.progress if sources is not None else dict

    def watch() -> bool:
        change.tick()
        return is_over()

    while True:
        link = ServerLink(connect(options.host, options.port))
        Session(link, selector, CrowdInput(movement_map), analysis=analysis).run(watch)
        if not change.started:
            return 0
        status = change.wait(is_over)
        if status is not None:
            return status


def _record(options: argparse.Namespace) -> Path | None:
    # Where a server on this machine records which version it runs.
    if options.host not in ("127.0.0.1", "localhost", "::1"):
        return None
    return record_path(state_folder(os.environ), options.port)


def _sources(options: argparse.Namespace) -> MusicSources:
    from crowdstream.dj.autopilot.music_folder import MusicFolder, MusicSources

    def folder(place: Place) -> MusicFolder:
        return MusicFolder(
            place, options.library, None if options.no_analysis else BackgroundAnalysis
        )

    fallback = folder(options.dj_fallback) if options.dj_fallback else None
    return MusicSources(folder(options.place), fallback)


def _endless(options: argparse.Namespace, sources: MusicSources) -> EndlessSelector:
    from crowdstream.dj.planning.energy_curve import NAMED, Curve
    from crowdstream.dj.planning.planner import Planner, PlanOptions

    curve = Curve("wave", NAMED["wave"])
    begun = time.monotonic()

    def energy() -> float:
        return curve.energy((time.monotonic() - begun) / ENERGY_PERIOD_SECONDS % 1.0)

    return EndlessSelector(
        lambda cards: Planner(cards, PlanOptions(seed=options.seed)), sources.candidates, energy,
        sources=sources,
    )  # fmt: skip
