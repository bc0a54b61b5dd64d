"""`crowdstream plan`: plan a set from folders of analysed tracks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crowdstream.dj.planning.candidates import Candidates, of_library
from crowdstream.dj.planning.cost_model import COMFORT, STRETCH
from crowdstream.dj.planning.energy_curve import Curve, CurveError, find_curve
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Plan, PlanError, Planner, PlanOptions
from crowdstream.dj.planning.plot import plot_set
from crowdstream.dj.setfile.writer import write_set
from crowdstream.library import default_path
from crowdstream.library.database import Library, LibraryError
from crowdstream.library.models import Query
from crowdstream.settings.errors import Parser
from crowdstream.system.text import printable

_DESCRIPTION = "Plan a set from tracks that crowdstream analyze has analysed."
_EPILOG = "Set files: docs/reference/set-files.md. Track selection: docs/concepts/the-dj.md."
MAX_MINUTES = 24 * 60.0
MAX_NOTES = 10  # unplayable tracks listed by name; any others are only counted


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 20:
        raise argparse.ArgumentTypeError("must be from 0 to 20 percent")
    return value / 100


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value <= MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {MAX_MINUTES:g}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream plan`."""
    parser = Parser(
        prog="crowdstream plan", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="tracks, or folders of tracks")
    add("--minutes", type=_minutes, default=60.0, metavar="N",
        help="length of the set in minutes (default: 60)")  # fmt: skip
    add("--energy", default="wave", metavar="CURVE",
        help="rise, wave, peak, or a file with a percentage and an energy per line"
        " (default: wave)")
    add("--seed", type=int, default=1, metavar="N",
        help="a different number gives a different set (default: 1)")
    add("-o", "--output", type=Path, metavar="SET.toml",
        help="write the set to this file and its plot beside it (default: standard output)")
    add("--explain", action="store_true", help="explain why each track and transition was chosen")
    add("--tempo-change", type=_percent, default=COMFORT, metavar="PERCENT",
        help="maximum tempo change while two tracks play (default: 6)")
    add("--stretch", type=_percent, default=STRETCH, metavar="PERCENT",
        help="maximum deviation from a track's own tempo (default: 8)")
    add("--library", type=Path, default=None, metavar="FILE",
        help="library written by crowdstream analyze")  # fmt: skip
    return parser


def run_plan(argv: Sequence[str]) -> int:
    """Run `crowdstream plan`.

    Return the exit status: 0 on success, 1 if no set could be planned or written. argparse exits
    with 2 on a usage error.
    """
    options = build_parser().parse_args(list(argv))
    try:
        curve = find_curve(options.energy)
        with Library(options.library or default_path(), write=False) as library:
            return _plan(options, curve, library)
    except (CurveError, PlanError, LibraryError) as error:
        return _fail(str(error))
    except OSError as error:
        name = printable(str(error.filename or options.output))
        return _fail(f"{name}: cannot be written ({error.strerror})")


def _fail(reason: str) -> int:
    print(f"crowdstream: {reason}", file=sys.stderr)
    return 1


def _plan(options: argparse.Namespace, curve: Curve, library: Library) -> int:
    folders = [folder.expanduser() for folder in options.folders]
    for folder in folders:
        if not folder.exists():
            return _fail(f"{printable(folder)}: no such file or folder")
    candidates = of_library(library, Query(roots=tuple(map(str, folders))))
    if not candidates.cards and not candidates.left_out:
        shown = " ".join(printable(folder) for folder in folders)
        return _fail(f"{shown}: no analysed tracks here; run crowdstream analyze {shown} first")
    stretch = max(options.stretch, options.tempo_change)
    plan_options = PlanOptions(options.minutes, options.seed, curve, options.tempo_change, stretch)
    made = Planner(candidates, plan_options).plan()
    for note in (*_left_out(candidates), *made.notes):
        print(f"crowdstream: {printable(note)}", file=sys.stderr)
    words = "\n".join(explain(made.mix, made.others))
    if options.output is None:
        print(write_set(made.mix), end="")
        if options.explain:
            print(words, file=sys.stderr)
        return 0
    options.output.write_text(write_set(made.mix, options.output.parent.absolute()))
    draw(made, candidates, curve, options.output.with_suffix(".svg"))
    if options.explain:
        print(words)
    return 0


def _left_out(candidates: Candidates) -> list[str]:
    shown = list(candidates.left_out[:MAX_NOTES])
    more = len(candidates.left_out) - len(shown)
    return [*shown, f"and {more} more that cannot be played"] if more else shown


def draw(made: Plan, candidates: Candidates, curve: Curve, path: Path) -> None:
    """Write the SVG plot of a plan to `path`."""
    paths = {entry.path for entry in made.mix.entries}
    known = {track: candidates.features(track) for track in paths}
    energies = {track: candidates.energy(candidates.card(track)) for track in paths}
    path.write_text(plot_set(made.mix, known, energies, curve.energy))
