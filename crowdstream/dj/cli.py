"""`crowdstream plan`: a set for folders of analysed tracks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crowdstream.dj.planning.candidates import Candidates, of_library
from crowdstream.dj.planning.cost_model import COMFORT, STRETCH
from crowdstream.dj.planning.energy_curve import Curve, CurveError, find_curve
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Plan, PlanError, Planner, Wishes
from crowdstream.dj.planning.plot import picture
from crowdstream.dj.setfile.writer import write_set
from crowdstream.library import Library, LibraryError, Query, default_place
from crowdstream.settings.arguments import Parser
from crowdstream.system.text import printable

_DESCRIPTION = "Plan a set of the tracks below folders that crowdstream analyze has gone through."
_EPILOG = "Set files: docs/reference/set-files.md. How tracks are chosen: docs/concepts/the-dj.md."
MAX_MINUTES = 24 * 60.0
MAX_NOTES = 10  # of tracks that can't be played: the rest is counted


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 20:
        raise argparse.ArgumentTypeError("it takes 0 to 20 percent")
    return value / 100


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value <= MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"it takes more than 0, up to {MAX_MINUTES:g}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The options of this subcommand."""
    parser = Parser(
        prog="crowdstream plan", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="tracks, and folders of them")
    add("--minutes", type=_minutes, default=60.0, metavar="N", help="length (default: 60)")
    add("--energy", default="wave", metavar="CURVE",
        help="rise, wave, peak, or a file of lines with percent and energy (default: wave)")
    add("--seed", type=int, default=1, metavar="N", help="another number, another set (default: 1)")
    add("-o", "--output", type=Path, metavar="SET.toml",
        help="where to write it, and a picture beside it (default: the set to standard output)")
    add("--explain", action="store_true", help="say why each track and transition was chosen")
    add("--tempo-change", type=_percent, default=COMFORT, metavar="PERCENT",
        help="the tempo moves so far at most while two tracks play (default: 6)")
    add("--stretch", type=_percent, default=STRETCH, metavar="PERCENT",
        help="no track is further from its own tempo (default: 8)")
    add("--library", type=Path, default=None, metavar="FILE",
        help="the library of crowdstream analyze")  # fmt: skip
    return parser


def plan(argv: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 where there is no set, 2 for its usage."""
    options = build_parser().parse_args(list(argv))
    try:
        curve = find_curve(options.energy)
        with Library(options.library or default_place(), write=False) as library:
            return _plan(options, curve, library)
    except (CurveError, PlanError, LibraryError) as error:
        return _fail(str(error))
    except OSError as error:
        name = printable(str(error.filename or options.output))
        return _fail(f"{name}: it can't be written ({error.strerror})")


def _fail(reason: str) -> int:
    print(f"crowdstream: {reason}", file=sys.stderr)
    return 1


def _plan(options: argparse.Namespace, curve: Curve, library: Library) -> int:
    folders = [folder.expanduser() for folder in options.folders]
    for folder in folders:
        if not folder.exists():
            return _fail(f"{printable(folder)}: there is no such file or folder")
    shelf = of_library(library, Query(roots=tuple(map(str, folders))))
    if not shelf.cards and not shelf.left_out:
        shown = " ".join(printable(folder) for folder in folders)
        return _fail(f"{shown}: no track here is known; first run crowdstream analyze {shown}")
    stretch = max(options.stretch, options.tempo_change)
    wishes = Wishes(options.minutes, options.seed, curve, options.tempo_change, stretch)
    made = Planner(shelf, wishes).plan()
    for note in (*_left_out(shelf), *made.notes):
        print(f"crowdstream: {printable(note)}", file=sys.stderr)
    words = "\n".join(explain(made.mix, made.others))
    if options.output is None:
        print(write_set(made.mix), end="")
        if options.explain:
            print(words, file=sys.stderr)
        return 0
    options.output.write_text(write_set(made.mix, options.output.parent.absolute()))
    draw(made, shelf, curve, options.output.with_suffix(".svg"))
    if options.explain:
        print(words)
    return 0


def _left_out(shelf: Candidates) -> list[str]:
    shown = list(shelf.left_out[:MAX_NOTES])
    more = len(shelf.left_out) - len(shown)
    return [*shown, f"and {more} more that can't be played"] if more else shown


def draw(made: Plan, shelf: Candidates, curve: Curve, path: Path) -> None:
    """Write the picture of a plan."""
    paths = {entry.path for entry in made.mix.entries}
    known = {track: shelf.facts(track) for track in paths}
    energies = {track: shelf.energy(shelf.card(track)) for track in paths}
    path.write_text(picture(made.mix, known, energies, curve.energy))
