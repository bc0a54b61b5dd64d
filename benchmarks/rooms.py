"""Measure how far apart the masters of several rooms are.

    python benchmarks/rooms.py [--hours 1] [--real SECONDS] [--json FILE]

Simulated: the leader, the followers, their estimates of clocks and their steering are the program's
own; network, machines and sound cards are models in virtual time. Packets are up to 40 ms late
(20 ms on average) and 5 % are lost; the cards are 100 ppm fast and slow, and their callbacks are
late; the machines' clocks differ by years and drift by tens of ppm. The spread is the time between
the first and the last of the three masters.

Real: three servers in network namespaces on this machine, whose built-in clocks are 100 ppm fast
and slow; the spread is measured by cross-correlation of what each one plays. One room is killed and
started again. Needs Linux with user namespaces; run as root, or where these are permitted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from tests.support.in_namespace import run_in_namespace
from tests.support.simulated_rooms import World

SETTLE_SECONDS = 20.0
STEP_SECONDS = 30.0


def spread_figures(spreads: list[float]) -> dict[str, float]:
    """Percentiles of spreads in ms."""
    return {
        name: round(common.percentile(spreads, percent), 3)
        for name, percent in (("p50_ms", 50), ("p95_ms", 95), ("p99_ms", 99), ("max_ms", 100))
    }


def simulate(hours: float, seed: int) -> dict[str, Any]:
    """Let rooms play for hours of virtual time."""
    world = World(seed=seed)
    begin: list[float] = []
    world.run(SETTLE_SECONDS, lambda: begin.append(1000.0 * world.spread()))
    spreads: list[float] = []
    stated: list[float] = []

    def watch() -> None:
        spreads.append(1000.0 * world.spread())
        for room in world.rooms:
            if room.follower and room.follower.reading:
                stated.append(1000.0 * room.follower.reading.error)

    progress = common.Progress(hours * 3600.0)
    while world.now < SETTLE_SECONDS + hours * 3600.0:
        world.run(STEP_SECONDS, watch)
        progress.add(STEP_SECONDS, "simulated")
    progress.close()
    return {
        "hours": hours, "seed": seed, **spread_figures(spreads),
        "after_2_s_ms": round(begin[8], 3), "after_10_s_ms": round(begin[40], 3),
        "stated_error_p50_ms": round(common.percentile(stated, 50), 3),
        "relocks": sum(room.follower.steering.relocks for room in world.rooms if room.follower),
    }


def main() -> int:
    """Run the benchmark; the exit status is 1 if the 95th percentile exceeds 0.5 ms."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0, help="of virtual time; 0: none")
    parser.add_argument("--seeds", type=int, default=1, help="simulations, each with its own dice")
    parser.add_argument("--real", type=float, default=0.0, help="seconds with three servers")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    common.print_heading("Rooms in step: time between the first and the last of three masters")
    found: dict[str, Any] = {"machine": common.machine(), "simulated": [], "real": None}
    for seed in range(1, options.seeds + 1):
        if options.hours > 0.0:
            found["simulated"].append(simulate(options.hours, seed))
    if found["simulated"]:
        print(common.table(found["simulated"]))
    if options.real > 0.0:
        with tempfile.TemporaryDirectory() as folder:
            real = run_in_namespace(
                "tests.support.real_rooms", Path(folder), str(options.real)
            )
        found["real"] = {**real, **spread_figures(real["spread_ms"])}
        rows = {name: value for name, value in found["real"].items() if not name.endswith("d_ms")}
        for name in ("first_ms", "second_ms"):
            rows.pop(name, None)
        for name, value in rows.items():
            print(f"{name}: {value}")
    common.write_json(options.json, found)
    results = [*found["simulated"], *([found["real"]] if found["real"] else [])]
    return int(any(one["p95_ms"] > 0.5 for one in results))


if __name__ == "__main__":
    sys.exit(main())
