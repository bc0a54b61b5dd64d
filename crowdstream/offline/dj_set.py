"""Conversion of the DJ's sets (docs/reference/set-files.md) to the renderer's commands."""

from __future__ import annotations

from pathlib import Path

from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.plot import plot_set
from crowdstream.dj.setfile.model import Set as DjSet
from crowdstream.dj.setfile.reader import parse_set
from crowdstream.dj.setfile.reader import read_set as read_file
from crowdstream.dj.setfile.timed_commands import all_commands
from crowdstream.offline.cues import Checker, Cue, Set, moment
from crowdstream.osc.codec import build, parse
from crowdstream.system.text import printable


def read_dj_set(data: bytes, path: Path) -> Set:
    """Return the set in a TOML file. Raises `SetError` with the line number."""
    return cues_of(parse_set(data, path), path)


def cues_of(mix: DjSet, path: Path) -> Set:
    """Return the commands of a set. `path` is its file, for messages."""
    checker = Checker(path.parent)
    cues: list[Cue] = []
    for move in all_commands(mix):
        entry = mix.entries[move.index]
        place = f"{printable(path)}, line {entry.line}"
        # As in an OSC message, where floats have 32 bits.
        values = parse(build(move.address, move.args))[0][1].params
        cues.append(checker.cue(moment(move.beat, True, place), move.address, values, place))
    return Set(tuple(cues))


def write_plot(path: Path, out: Path, why: bool) -> None:
    """Plot the set at `path` as the SVG `out`; with `why`, explain it. Raises `OSError`."""
    mix = read_file(path)
    out.write_text(plot_set(mix, {}, {}))
    if why:
        print("\n".join(explain(mix)))
