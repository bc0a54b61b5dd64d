"""`crowdstream analyze`: finds out what tracks are made of, and keeps it in the library."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from crowdstream.audiofile.transcode import can_transcode
from crowdstream.library.analysis_run import AnalysisRun, Summary, Workers
from crowdstream.library.corrections import (
    NAMES,
    CorrectionError,
    Corrections,
    of_text,
    read_corrections,
)
from crowdstream.library.database import Library, LibraryError, default_place, move_aside
from crowdstream.library.key_names import read_key
from crowdstream.library.listing import json_lines, lines
from crowdstream.library.models import Query, Row
from crowdstream.library.progress import Reporter
from crowdstream.library.run_view import TerminalView, notes, summary_line
from crowdstream.library.scanner import spelled_path
from crowdstream.library.stem_mp4 import default_cache
from crowdstream.library.worker_pool import PoolError, WorkerPool
from crowdstream.settings import SettingError
from crowdstream.settings.arguments import Parser
from crowdstream.settings.resolve import resolve
from crowdstream.system.text import printable

GOOD, FAULT, USAGE, INTERRUPTED = 0, 1, 2, 130

_DESCRIPTION = (
    "Find tracks below folders, analyse those that are new or have changed, and keep what is "
    "found in the library: tempo, beat grid, key, loudness, sections, voice."
)
_EPILOG = (
    "Exit status: 0 all is well; 1 something could not be read or used, or there was nothing; "
    "2 a wrong option; 130 interrupted (what was done is kept). See docs/how-to/prepare-stems.md."
)


def build_parser() -> argparse.ArgumentParser:
    """The options of this subcommand."""
    parser = Parser(
        prog="crowdstream analyze", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("folder", nargs="*", metavar="FOLDER", help="folders with tracks in them, or tracks")
    add("--library", type=Path, metavar="FILE", help=f"the library ({default_place()})")
    add("--jobs", type=_count, metavar="N", help="tracks at a time (default: one per core)")
    add("--again", action="store_true", help="analyse what has not changed, too")
    add("--sidecar", action="store_true",
        help="write it beside each track, too; what a person wrote there stays")  # fmt: skip
    add("--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings",
        help=f"correct a track: {', '.join(NAMES)}; KEY= takes a correction back")  # fmt: skip
    add("--list", action="store_true", help="show what the library knows; analyse nothing")
    add("--json", action="store_true", help="the same as JSON, one line per track")
    add("--bad", action="store_true", help="list bad tracks")
    add("--bpm", type=_span, metavar="LOW-HIGH", help="list tempos from LOW to HIGH")
    add("--key", type=_keys, metavar="KEY,...", help="list these keys, such as 8A,8B,Am")
    add("--energy", type=_span, metavar="LOW-HIGH", help="list energies from LOW to HIGH (0 to 1)")
    add("--search", default="", metavar="TEXT", help="list what has these words")
    add("--forget", action="store_true", help="delete tracks that are gone from the library")
    add("--scheduler", metavar="ADDRESS", help="have a Dask cluster do it, such as tcp://host:8786")
    add("--unpack", type=Path, default=default_cache(), metavar="FOLDER",
        help="where the stems of .stem.mp4 files go (%(default)s)")  # fmt: skip
    add("--new-library", action="store_true",
        help="put the library aside and begin another one")  # fmt: skip
    add("--explain", action="store_true",
        help="say of each folder what it was taken for, and why")  # fmt: skip
    add("--quiet", action="store_true", help="say only what is wrong")
    add("--progress", action="store_true", help="say how far it is as JSON, a line at a time")
    return parser


def start_workers(scheduler: str | None, count: int) -> AbstractContextManager[Workers]:
    """`count` of this machine's, or those of a cluster. Raises `PoolError`."""
    if scheduler is None:
        return WorkerPool(count)
    from crowdstream.library.dask_pool import DaskPool

    return DaskPool(scheduler)


def analyze(
    arguments: Sequence[str],
    workers: Callable[[str | None, int], AbstractContextManager[Workers]] = start_workers,
) -> int:
    """`crowdstream analyze ...`; returns the exit status. `workers`: others, for tests."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    listing = options.list or options.json or options.bad
    asked = options.bpm or options.key or options.energy or options.search
    if asked and not listing:
        parser.error("--bpm, --key, --energy and --search go with --list or --json")
    if not options.folder and not listing and not options.new_library:
        parser.error("which folder? name one or more")
    if options.settings and not options.folder:
        parser.error("--set: of which track?")
    before = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    place = options.library or default_place()
    try:
        if options.new_library:
            aside = move_aside(place)
            if aside:
                print(f"crowdstream: the old library is {printable(aside)} now", file=sys.stderr)
        if not options.folder and not listing:
            Library(place).close()
            return GOOD
        return _list(options, place) if listing else _analyze(options, place, workers)
    except (LibraryError, PoolError) as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return FAULT
    except OSError as error:
        print(f"crowdstream: {printable(str(error))}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        print("crowdstream: interrupted; what was done is kept", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _list(options: argparse.Namespace, place: Path) -> int:
    query = Query(
        roots=tuple(spelled_path(folder) for folder in options.folder), bpm=options.bpm,
        keys=options.key or (), level=options.energy, text=options.search, bad=options.bad,
    )  # fmt: skip
    with Library(place, write=False) as library:
        entries = library.find(query)
        made = json_lines(library, entries) if options.json else lines(entries)
        try:
            for line in made:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return GOOD if entries or options.bad else FAULT


def _analyze(
    options: argparse.Namespace,
    place: Path,
    start: Callable[[str | None, int], AbstractContextManager[Workers]],
) -> int:
    begin = time.monotonic()
    view = (
        Reporter(sys.stdout, sys.stderr) if options.progress
        else TerminalView(sys.stderr, sys.stderr.isatty() and not options.quiet)
    )
    summary = Summary()
    try:
        with Library(place) as library:
            run = AnalysisRun(
                library, options.folder, view, str(options.unpack.expanduser().absolute()),
                can_transcode() or options.scheduler is not None, options.again, summary,
                media_roots(),
            )  # fmt: skip
            jobs = run.look()
            if options.explain:
                for folder, text in run.explained:
                    print(f"{printable(folder)}: {text}")
            if options.settings:
                _check_settings(options, run)
            if jobs:
                count = options.jobs or len(os.sched_getaffinity(0))
                with start(options.scheduler, min(count, len(jobs))) as workers:
                    run.work(jobs, workers)
            else:
                summary.whole = True
            if options.forget:
                gone = library.find(Query(tuple(options.folder), gone=True))
                library.forget(entry.path for entry in gone if entry.gone)
            told = _correct(options, run, library)
            if options.sidecar:
                told += run.write_sidecars()
            for line in told:
                view.trouble("", line)
    finally:
        view.close()
        if not options.quiet and not options.progress and summary.tracks:
            print(summary_line(summary, time.monotonic() - begin))
        for note in notes(summary):
            view.say(note)
    return GOOD if summary.good and not told else FAULT


def media_roots() -> list[str]:
    """The media folders of this user's server, as its configuration and the environment say."""
    try:
        return [str(root) for root in resolve([]).settings.media_root]
    except SettingError:
        return []  # starting the server says what is wrong


def _check_settings(options: argparse.Namespace, run: AnalysisRun) -> None:
    # Before anything long begins.
    names = {os.path.realpath(spelled_path(folder)) for folder in options.folder}
    more = next((found.path for found in run.found if found.path not in names), None)
    if more is not None:
        raise LibraryError(f"--set is for tracks that are named: {printable(more)} is not")


def _correct(options: argparse.Namespace, run: AnalysisRun, library: Library) -> list[str]:
    told: list[str] = []
    for found in run.found if options.settings else ():
        row = library.row(found.path)
        if row is None or row.analysis is None:
            told.append(f"{printable(found.path)}: it is bad, and can't be corrected")
            continue
        told += _refused(options.settings, row, found.sidecar)

        def change(corrections: Corrections, row: Row = row) -> Corrections:
            said = vars(corrections) | {
                key: value for key, value in options.settings if key not in row.written.names()
            }
            return Corrections(**said)

        library.correct(found.path, change)
    return told


def _refused(settings: list[tuple[str, Any]], row: Row, sidecar: str) -> list[str]:
    written = row.written.names()
    return [
        f"{printable(sidecar)}: it says {key}, and goes before --set; change it there"
        for key, _value in settings
        if key in written
    ]


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    if key not in NAMES:
        raise argparse.ArgumentTypeError(f"{key!r} can't be set; {', '.join(NAMES)} can")
    if not value.strip():
        return key, None
    try:
        return key, getattr(read_corrections({key: of_text(key, value.strip())}), key)
    except CorrectionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def _span(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW-HIGH, such as 120-128") from None


def _keys(text: str) -> tuple[str, ...]:
    keys = []
    for part in text.split(","):
        named = read_key(part)
        if named is None:
            raise argparse.ArgumentTypeError(f"{part!r} is no key; write 8A, Am or F#")
        keys.append(named[0])
    return tuple(keys)
