"""`crowdstream analyze`: analyse tracks, and store the results in the library."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from crowdstream.audiofile.transcode import can_transcode
from crowdstream.library import default_path
from crowdstream.library.analysis_run import AnalysisRun, Summary, Workers
from crowdstream.library.corrections import (
    NAMES,
    CorrectionError,
    Corrections,
    parse_corrections,
    parse_text,
)
from crowdstream.library.database import Library, LibraryError, move_aside
from crowdstream.library.key_names import parse_key
from crowdstream.library.models import Entry, Query, Row
from crowdstream.library.run_view import Reporter, TerminalView, notes, summary_line
from crowdstream.library.scanner import spelled_path
from crowdstream.library.stem_mp4 import default_cache
from crowdstream.library.worker_pool import PoolError, WorkerPool
from crowdstream.settings import SettingError
from crowdstream.settings.errors import Parser
from crowdstream.settings.resolve import resolve
from crowdstream.system.progress_bar import format_duration
from crowdstream.system.text import printable

GOOD, FAULT, USAGE, INTERRUPTED = 0, 1, 2, 130

_DESCRIPTION = (
    "Find tracks below folders, analyse those that are new or have changed, and store the "
    "results in the library: tempo, beat grid, key, loudness, sections and vocals."
)
_EPILOG = (
    "Exit status: 0 success; 1 some tracks could not be read or used, or none were found; "
    "2 invalid option; 130 interrupted (finished tracks are saved). "
    "See docs/how-to/prepare-stems.md."
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser for the options of this subcommand."""
    parser = Parser(
        prog="crowdstream analyze", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("folder", nargs="*", metavar="FOLDER", help="tracks, or folders to search for tracks")
    add("--library", type=Path, metavar="FILE", help=f"library file ({default_path()})")
    add("--jobs", type=_count, metavar="N",
        help="number of tracks to analyse at the same time (default: one per core)")  # fmt: skip
    add("--background", action="store_true",
        help="run at the lowest priority, beside a player")  # fmt: skip
    add("--again", action="store_true", help="analyse unchanged tracks, too")
    add("--sidecar", action="store_true",
        help="also write the results to a sidecar beside each track; entries that a person "
        "wrote there are kept")  # fmt: skip
    add("--set", action="append", default=[], type=_setting, metavar="KEY=VALUE", dest="settings",
        help=f"correct a track: {', '.join(NAMES)}; KEY= removes a correction")  # fmt: skip
    add("--list", action="store_true", help="list the tracks in the library; analyse nothing")
    add("--json", action="store_true", help="list them as JSON, one line per track")
    add("--bad", action="store_true", help="list bad tracks")
    add("--bpm", type=_span, metavar="LOW-HIGH", help="list tracks with tempos from LOW to HIGH")
    add("--key", type=_keys, metavar="KEY,...",
        help="list tracks in these keys, such as 8A,8B,Am")  # fmt: skip
    add("--energy", type=_span, metavar="LOW-HIGH",
        help="list tracks with energies from LOW to HIGH (0 to 1)")  # fmt: skip
    add("--search", default="", metavar="TEXT",
        help="list tracks with all of these words in title, artist, path or tags")  # fmt: skip
    add("--forget", action="store_true",
        help="delete tracks from the library that are gone from the disk")  # fmt: skip
    add("--scheduler", metavar="ADDRESS",
        help="analyse on a Dask cluster, such as tcp://host:8786")  # fmt: skip
    add("--unpack", type=Path, default=default_cache(), metavar="FOLDER",
        help="folder for the unpacked stems of .stem.mp4 files (%(default)s)")  # fmt: skip
    add("--new-library", action="store_true",
        help="move the library aside and start a new one")  # fmt: skip
    add("--explain", action="store_true",
        help="print how each folder was interpreted, and why")  # fmt: skip
    add("--quiet", action="store_true", help="print problems only")
    add("--progress", action="store_true", help="print the progress as JSON lines")
    return parser


def start_workers(
    scheduler: str | None, count: int, background: bool = False
) -> AbstractContextManager[Workers]:
    """Return `count` worker processes, or the workers of a Dask cluster. Raises `PoolError`."""
    if scheduler is None:
        return WorkerPool(count, background=background)
    from crowdstream.library.dask_pool import DaskPool

    return DaskPool(scheduler)


def analyze(
    arguments: Sequence[str],
    workers: Callable[[str | None, int], AbstractContextManager[Workers]] | None = None,
) -> int:
    """Run `crowdstream analyze` and return its exit status.

    `workers` replaces the source of workers in tests.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    listing = options.list or options.json or options.bad
    filters = options.bpm or options.key or options.energy or options.search
    if filters and not listing:
        parser.error("--bpm, --key, --energy and --search require --list or --json")
    if not options.folder and not listing and not options.new_library:
        parser.error("no folder given: name one or more")
    if options.settings and not options.folder:
        parser.error("--set requires a track: name its file or folder")
    before = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    place = options.library or default_path()
    try:
        if options.new_library:
            aside = move_aside(place)
            if aside:
                print(f"crowdstream: moved the old library to {printable(aside)}", file=sys.stderr)
        if not options.folder and not listing:
            Library(place).close()
            return GOOD
        start = workers or partial(start_workers, background=options.background)
        return _list(options, place) if listing else _analyze(options, place, start)
    except (LibraryError, PoolError) as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return FAULT
    except OSError as error:
        print(f"crowdstream: {printable(str(error))}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        print("crowdstream: interrupted; finished tracks are saved", file=sys.stderr)
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
        made = listing_json(library, entries) if options.json else listing_lines(entries)
        try:
            for line in made:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:  # such as `| head`
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
            jobs = run.scan()
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
                summary.completed = True
            if options.forget:
                gone = library.find(Query(tuple(options.folder), gone=True))
                library.forget(entry.path for entry in gone if entry.gone)
            problems = _correct(options, run, library)
            if options.sidecar:
                problems += run.write_sidecars()
            for line in problems:
                view.problem("", line)
    finally:
        view.close()
        if not options.quiet and not options.progress and summary.tracks:
            print(summary_line(summary, time.monotonic() - begin))
        for note in notes(summary):
            view.print(note)
    return GOOD if summary.good and not problems else FAULT


def media_roots() -> list[str]:
    """Return the media folders from this user's server configuration and the environment."""
    try:
        return [str(root) for root in resolve([]).settings.media_root]
    except SettingError:
        return []  # the server reports the error when it starts


def _check_settings(options: argparse.Namespace, run: AnalysisRun) -> None:
    # Fail before the analysis starts, which may take long.
    names = {os.path.realpath(spelled_path(folder)) for folder in options.folder}
    more = next((found.path for found in run.found if found.path not in names), None)
    if more is not None:
        raise LibraryError(
            f"--set requires the track itself, not a folder that contains it: {printable(more)}"
        )


def _correct(options: argparse.Namespace, run: AnalysisRun, library: Library) -> list[str]:
    problems: list[str] = []
    for found in run.found if options.settings else ():
        row = library.row(found.path)
        if row is None or row.analysis is None:
            problems.append(f"{printable(found.path)}: a bad track cannot be corrected")
            continue
        problems += _refused(options.settings, row, found.sidecar)

        def change(corrections: Corrections, row: Row = row) -> Corrections:
            values = vars(corrections) | {
                key: value for key, value in options.settings if key not in row.written.names()
            }
            return Corrections(**values)

        library.correct(found.path, change)
    return problems


def _refused(settings: list[tuple[str, Any]], row: Row, sidecar: str) -> list[str]:
    written = row.written.names()
    return [
        f"{printable(sidecar)}: it sets {key}, and takes precedence over --set; change it there"
        for key, _value in settings
        if key in written
    ]


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    if key not in NAMES:
        raise argparse.ArgumentTypeError(f"unknown key {key!r}; known keys: {', '.join(NAMES)}")
    if not value.strip():
        return key, None
    try:
        return key, getattr(parse_corrections({key: parse_text(key, value.strip())}), key)
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
        named = parse_key(part)
        if named is None:
            raise argparse.ArgumentTypeError(f"{part!r} is not a musical key; write 8A, Am or F#")
        keys.append(named[0])
    return tuple(keys)


def listing_lines(entries: list[Entry]) -> Iterator[str]:
    """Yield a line per track: tempo, key, energy, loudness, length and name.

    The line of a bad track gives the reason instead. If the beat grid is uncertain, the tempo has
    a question mark, and the line ends with the reason. An uncertain downbeat is noted as well.
    """
    if entries and not entries[0].error:
        yield f"{'BPM':>6}  {'key':<3}  {'energy':>6}  {'LUFS':>5}  {'length':>7}  track"
    for entry in entries:
        if entry.error:
            yield f"{printable(entry.path)}: {entry.error}"
            continue
        title = " - ".join(text for text in (entry.artist, entry.title) if text) or entry.name
        bpm = f"{entry.bpm:6.2f}" if entry.bpm else f"{'-':>6}"
        bpm += "?" if entry.uncertain else " "
        loud = "silent" if entry.silent else f"{entry.lufs or 0:5.1f}"
        note = "  (corrected)" if entry.corrected else ""
        if entry.uncertain:
            note += f"  (uncertain grid{': ' if entry.doubt else ''}{printable(entry.doubt)})"
        elif entry.uncertain_downbeat:
            note += "  (uncertain downbeat)"
        yield (
            f"{bpm} {entry.key or '-':<3}  {entry.level or 0:6.2f}  {loud:>5}  "
            f"{format_duration(entry.seconds or 0):>7}  {printable(title)}{note}  "
            f"{printable(entry.path)}"
        )


def listing_json(library: Library, entries: list[Entry]) -> Iterator[str]:
    """Yield a JSON object per track: the fields of `Entry`, and `analysis` for a good track."""
    for entry in entries:
        about = {
            **asdict(entry), "stems": entry.stems, "uncertain": entry.uncertain,
            "uncertain_downbeat": entry.uncertain_downbeat,
        }  # fmt: skip
        if not entry.error:
            about["analysis"] = library.analysis(entry.number).to_dict()
        yield json.dumps(about)
