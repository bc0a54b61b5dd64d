"""Fuzzes targets for a given time: `./run-tests.sh --fuzz SECONDS [target ...]`.

atheris guides the search by the branches that an input reaches. Without an atheris wheel, and for
targets that run in a child process, inputs are mutated at random and kept if they reach new lines.
An input that causes a fault is written to the target's corpus, so that the tests replay it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.registry import NAMES, OUTSIDE, Target, file_name, load
from tests.support.scratch_files import PLACE, PREFIX, base

SECONDS = 60.0  # for each target, by default
MAX_FAULTS = 20  # per target and run: more would mostly be repetitions
MEMORY_MB = 2048
CHOICES = frozenset({"bundles", "commands", "rings"})  # targets that read their bytes as choices


def _keep(target: Target, data: bytes, error: Exception) -> None:
    target.folder.mkdir(parents=True, exist_ok=True)
    path = target.folder / f"fault-{file_name(data)}"
    new = not path.exists()
    path.write_bytes(data)
    if new:
        print(f"FAULT in {target.name}, kept as {path}", flush=True)
        traceback.print_exception(error, limit=-6)


def _begin(target: Target, work: Path) -> list[bytes]:
    found = sorted(work.glob("*")) if work.is_dir() else []
    return [*target.seeds(), *target.corpus().values(), *(path.read_bytes() for path in found)]


def fuzz_without_atheris(name: str, seconds: float, seed: int, work: Path) -> int:
    """Mutate inputs at random; return the exit status, 1 if a fault was found."""
    from tests.fuzz.mutate import search

    target = load(name)
    if name in OUTSIDE:
        from tests.fuzz.targets.audio import DECODER

        DECODER.lines = True
    faults: set[str] = set()

    def on_fault(data: bytes, error: Exception) -> None:
        kind = "".join(traceback.format_exception(error, limit=-2))[-400:]
        if kind not in faults and len(faults) < MAX_FAULTS:
            faults.add(kind)
            _keep(target, data, error)

    def on_new(data: bytes) -> None:
        work.mkdir(parents=True, exist_ok=True)
        (work / file_name(data)).write_bytes(data)

    begin = time.monotonic()
    count, lines = search(target, _begin(target, work), seconds, seed, on_new, on_fault)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    more = {"outcomes": DECODER.outcomes} if name in OUTSIDE else {}
    _report(
        target=name, engine="changed at random", executions=count,
        seconds=round(time.monotonic() - begin, 1), faults=len(faults), lines=lines,
        peak_mb=peak, **more,
    )  # fmt: skip
    return int(bool(faults))


def fuzz_with_atheris(name: str, seconds: float, seed: int, work: Path) -> int:
    """Let atheris search. This ends the process, with a nonzero status for a fault."""
    import atheris

    with atheris.instrument_imports(include=modules_of(name), enable_loader_override=False):
        target = load(name)
    work.mkdir(parents=True, exist_ok=True)
    for data in _begin(target, work):
        (work / file_name(data)).write_bytes(data)

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except Exception as error:
            _keep(target, data, error)
            raise

    atheris.Setup(
        ["fuzz", str(work), f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}",
         f"-max_len={target.longest}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=60",
         f"-artifact_prefix={work.parent / name}-", "-print_final_stats=1",
         # Where bytes are choices, short inputs do almost nothing.
         f"-len_control={0 if name in CHOICES else 100}"],
        once,
    )  # fmt: skip
    atheris.Fuzz()
    return 0


def modules_of(name: str) -> list[str]:
    """The modules whose coverage guides a target; a child imports them, not this process."""
    script = f"from tests.fuzz.registry import load; print(*load({name!r}).modules)"
    listed = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


_PROGRESS = re.compile(r"^#(\d+)\t\S+ +(?:cov: (\d+) ft: (\d+) )?")
_SILENCED = re.compile(r"^(INFO|WARNING|stat::|Done|#####|\"|$)")


def _follow(command: list[str], name: str) -> int:
    """Run atheris in a child process and print a line of results; return its exit status."""
    begin = time.monotonic()
    count = branches = features = "0"
    peak = 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as child:
        assert child.stderr
        for line in child.stderr:
            if found := _PROGRESS.match(line):
                count = found[1]
                branches, features = found[2] or branches, found[3] or features
            elif line.startswith("stat::peak_rss_mb"):
                peak = int(line.split()[1])
            elif line.startswith("stat::number_of_executed_units"):
                count = line.split()[1]
            elif not _SILENCED.match(line):
                print(line, end="", file=sys.stderr, flush=True)
    _report(
        target=name, engine="atheris", executions=int(count),
        seconds=round(time.monotonic() - begin, 1), faults=int(child.returncode != 0),
        branches=int(branches), features=int(features), peak_mb=peak,
    )  # fmt: skip
    return child.returncode


def keep(names: list[str], work: Path) -> int:
    """Add the found inputs that reach new lines to the corpora; return 0."""
    from tests.fuzz.mutate import needed

    for name in names:
        target = load(name)
        if name in OUTSIDE:
            from tests.fuzz.targets.audio import DECODER

            DECODER.lines = True
        found = [path.read_bytes() for path in (work / name).glob("*")]
        known = target.corpus().values()
        for data in needed(target, [*known, *found]):
            if data not in known:
                target.folder.mkdir(parents=True, exist_ok=True)
                (target.folder / file_name(data)).write_bytes(data)
        _report(target=name, found=len(found), kept=len(target.corpus()))
    return 0


def _report(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def main() -> int:
    """Fuzz one target after another, each in its own process."""
    parser = argparse.ArgumentParser(prog="run-tests.sh --fuzz", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS, help="for each target")
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(NAMES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(".fuzz"), help="folder of found inputs")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument(
        "--keep", action="store_true",
        help="do not search: add found inputs that reach new lines to the corpora",
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for name in given.targets:
        if name not in NAMES:
            parser.error(f"{name} is not a target; the targets are: {', '.join(NAMES)}")
    # Log lines of failed commands would fill the screen.
    logging.disable(logging.WARNING)
    plain = given.plain or importlib.util.find_spec("atheris") is None
    if given.here:
        [name] = given.targets
        how = fuzz_without_atheris if plain or name in OUTSIDE else fuzz_with_atheris
        return how(name, given.seconds, given.seed, given.work / name)
    if given.keep:
        return keep(given.targets or list(NAMES), given.work)
    if plain and not given.plain:
        print("atheris is not installed: inputs are mutated at random", flush=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=base()) as place:
        os.environ[PLACE] = place
        return _fuzz_all(given, plain)


def _fuzz_all(given: argparse.Namespace, plain: bool) -> int:
    status = 0
    for name in given.targets or NAMES:
        options = ["--seed", str(given.seed), "--work", str(given.work)]
        if plain:
            options.append("--plain")
        command = [sys.executable, "-P", "-m", "tests.fuzz.run", str(given.seconds), name, "--here"]
        command += options
        if plain or name in OUTSIDE:
            code = subprocess.run(command, check=False).returncode
        else:
            code = _follow(command, name)
        status |= int(code != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
