"""An open benchmark for automatic DJs: mix the same tracks with several programs, and score them.

    python -m benchmarks.autodj select FOLDER --corpus CORPUS ... [--source NAME ...] [--count 4]
    python -m benchmarks.autodj mix FOLDER [--only NAME ...]
    python -m benchmarks.autodj score FOLDER [--recording NAME=FILE ...] [--json FILE] [--out FILE]

`select` chooses tracks and writes FOLDER/tracks.json; `mix` writes FOLDER/NAME.wav with each
program that is installed; `score` scores these recordings, or the given ones, and prints the table.
See docs/development/automatic-djs.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks.autodj.contest import make_contest
from benchmarks.autodj.mixers import all_mixers
from benchmarks.autodj.report import not_first, plays_of, table_of, transitions_of
from benchmarks.autodj.score import Score, score
from benchmarks.autodj.search import SHIFTS
from benchmarks.autodj.sources import read_sources
from benchmarks.common import BenchmarkError, machine, machine_text, write_json

OWN = "crowdstream"
TITLE = "Automatic DJs, scored by alignment of their recordings with the tracks"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.autodj", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = made.add_subparsers(dest="command", required=True)
    select = commands.add_parser("select", help="choose tracks of labelled corpora")
    select.add_argument("--corpus", type=Path, action="append", required=True,
                        help="folder in the format of benchmarks/corpus.py")  # fmt: skip
    select.add_argument("--source", action="append", default=[], metavar="NAME",
                        help="a source of music in the corpora; default: all")  # fmt: skip
    select.add_argument("--count", type=int, default=4, help="tracks of each source")
    mix = commands.add_parser("mix", help="mix the tracks with each installed program")
    mix.add_argument("--only", action="append", default=[], metavar="NAME")
    mix.add_argument("--seed", type=int, default=1, help="of this project's plan")
    mix.add_argument("--display", type=int, default=77, help="number of a virtual screen")
    mix.add_argument("--nice", type=int, default=0,
                     help="of programs that play in real time (root: below 0)")  # fmt: skip
    judge = commands.add_parser("score", help="score recordings")
    judge.add_argument("--recording", action="append", default=[], metavar="NAME=FILE",
                       help="default: FOLDER/NAME.wav of all programs")  # fmt: skip
    judge.add_argument("--shift", type=float, action="append", default=list(SHIFTS),
                       metavar="SEMITONES", help="a transposition to search as well")  # fmt: skip
    judge.add_argument("--json", type=Path, metavar="FILE")
    judge.add_argument("--out", type=Path, metavar="FILE", help="also write the report here")
    for command in (select, mix, judge):
        command.add_argument("folder", type=Path)
    return made


def mix_all(folder: Path, only: Sequence[str], seed: int, display: int, nice: int) -> bool:
    """Mix with each program; return whether all that are installed succeeded."""
    tracks = [source.path for source in read_sources(folder)]
    good = True
    for mixer in all_mixers(display, nice, seed):
        if only and mixer.name not in only:
            continue
        version = mixer.version()
        if version is None:
            print(f"{mixer.name}: absent ({mixer.get})")
            continue
        work = folder / f"{mixer.name}-work"
        work.mkdir(exist_ok=True)
        begin = time.monotonic()
        try:
            mixer.mix(tracks, work, folder / f"{mixer.name}.wav")
        except BenchmarkError as error:
            print(f"{mixer.name} {version} failed: {error}")
            good = False
            continue
        note = f"{mixer.name} {version}: {mixer.does}; {time.monotonic() - begin:.0f} s"
        (folder / f"{mixer.name}.txt").write_text(f"{note}\n", encoding="utf-8")
        print(note)
    return good


def recordings_of(folder: Path, named: Sequence[str]) -> dict[str, Path]:
    """Return the recordings to score, by the name of their program. Raises `BenchmarkError`."""
    if named:
        found = {}
        for each in named:
            name, equals, path = each.partition("=")
            if not equals:
                raise BenchmarkError(f"--recording must be NAME=FILE, not {each}")
            found[name] = Path(path)
    else:
        every = {mixer.name: folder / f"{mixer.name}.wav" for mixer in all_mixers()}
        found = {name: path for name, path in every.items() if path.exists()}
    if not found:
        raise BenchmarkError(f"no recordings in {folder}: run mix first")
    return found


def report(scores: dict[str, Score], folder: Path) -> str:
    """Return the report: the table, what this project is not first in, and all transitions."""
    lines = ["", table_of(scores), ""]
    for name in scores:  # how it was made, if `mix` has made it
        note = folder / f"{name}.txt"
        lines += note.read_text(encoding="utf-8").splitlines() if note.exists() else []
    if OWN in scores and len(scores) > 1:
        behind = not_first(scores, OWN)
        lines.append(f"{OWN} is first in every column" if not behind
                     else f"{OWN} is not first: " + "; ".join(behind))  # fmt: skip
    for name, result in scores.items():
        lines += ["", name, "", *plays_of(result), "", transitions_of(result)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 1 if a program or a recording failed."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(words)
    try:
        if options.command == "select":
            made = make_contest(options.folder, options.corpus, options.source, options.count)
            print("\n".join(source.name for source in made))
            return 0
        if options.command == "mix":
            # So that the programs that were started end, too.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            done = mix_all(
                options.folder, options.only, options.seed, options.display, options.nice
            )
            return 0 if done else 1
        sources = read_sources(options.folder)
        heading = [TITLE, f"command: python -m benchmarks.autodj {' '.join(words)}",
                   f"machine: {machine_text()}"]  # fmt: skip
        shifts = tuple(dict.fromkeys(options.shift))
        scores = {name: score(path, sources, shifts=shifts)
                  for name, path in recordings_of(options.folder, options.recording).items()}
    except (BenchmarkError, soundfile.LibsndfileError) as error:
        print(error, file=sys.stderr)
        return 1
    text = "\n".join(heading) + "\n" + report(scores, options.folder)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    write_json(options.json, {"machine": machine(),
                              "programs": {name: result.to_dict()
                                           for name, result in scores.items()}})  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
