"""Cost of the running server: CPU time and memory of each process, idle and with 16 stems.

    python benchmarks/idle.py
    python benchmarks/idle.py --jack --buffer-size 256

The server runs with a page server, a standby and no client. First nothing plays, then four decks
play four stems each at rates other than 1. CPU time (user and system) is counted from
`/proc/PID/stat` over `--seconds`, after the server has settled; memory is the proportional set size
(PSS), which attributes each shared page in equal parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.live import ERRORS, live_server
from benchmarks.memory import STANDBY_SECONDS, pss_mb
from benchmarks.mix import RATES, play_decks, wait_loaded
from tests.support.osc_client import until
from tests.support.server import Running

Figures = dict[str, float]

GOALS = {"idle": 1.5, "playing": 3.5}  # percent of a core
GOAL_MB = 170.0  # all processes, nothing loaded


def cpu_percent(server: Running, seconds: float) -> Figures:
    """Measure for `seconds`; return percent of a core by process, and their `total`."""
    before = server.cpu_seconds()
    begin = time.monotonic()
    time.sleep(seconds)
    after = server.cpu_seconds()
    passed = time.monotonic() - begin
    if before.keys() != after.keys():
        raise common.BenchmarkError(f"{sorted(before)} became {sorted(after)} meanwhile")
    used = {role: 100.0 * (after[role] - before[role]) / passed for role in after}
    return {**used, "total": sum(used.values())}


def measure(options: argparse.Namespace) -> dict[str, Figures]:
    """Return `idle` and `playing` (percent of a core) and `memory` (MB) by process."""
    data = round(options.stem_seconds * material.RATE) * material.FRAME_BYTES
    folders = material.deck_folders(data)
    with (
        open_card(options, options.buffer_size) as card,
        live_server(*card.flags(options.buffer_size), "--http", env=card.env) as server,
    ):
        server.page()
        until(lambda: server.client.status()["standby"] != "none", STANDBY_SECONDS, "a standby")
        time.sleep(options.settle)
        found = {"idle": cpu_percent(server, options.seconds)}
        sizes = {role: pss_mb([process]) for role, process in server.processes().items()}
        found["memory"] = {**sizes, "total": sum(sizes.values())}
        play_decks(server, folders, RATES)
        wait_loaded(server)
        time.sleep(options.settle)
        found["playing"] = cpu_percent(server, options.seconds)
        playing = int(server.client.status()["voices"])
        if playing != len(folders):
            raise common.BenchmarkError(f"{playing} of {len(folders)} decks play")
    return found


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    made.add_argument("--settle", type=float, default=10.0, help="before each measurement")
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--buffer-size", type=int, default=1024)
    add_card_arguments(made)
    made.set_defaults(driver="null")
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a goal is missed."""
    options = parser().parse_args(argv)
    common.print_heading("Cost of the running server: percent of a core, and MB (PSS) when idle")
    try:
        found = measure(options)
    except ERRORS as error:
        print(f"idle: {error}", file=sys.stderr)
        return 1
    goals = {**GOALS, "memory": GOAL_MB}
    print(f"blocks of {options.buffer_size} frames, {options.seconds:g} s each\n")
    rows = []
    for role in found["playing"]:
        figures = {name: f"{each.get(role, 0.0):.2f}" for name, each in found.items()}
        rows.append({"process": role, **figures})
    print(common.table(rows))
    common.write_json(options.json, [found])
    missed = [name for name, goal in goals.items() if found[name]["total"] > goal]
    print("\n" + (f"goals missed: {', '.join(missed)}" if missed else "all goals reached"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
