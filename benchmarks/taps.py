"""Cost of taps for the engine: the master's, the decks', and all of them.

    python benchmarks/taps.py [--frames 256] [--blocks 4000]

The same scene (4 decks of 4 stems at rate 1.06, EQ on) is on several desks, which are rendered in
turn, block by block, so that other load on the machine affects all alike. Compared is the median
of the differences from the desk without taps, block by block. A ring is far larger than the CPU
caches: its memory is written cold, as in a server.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    DECKS,
    PAGE_BYTES,
    STEMS,
    TAP_DECK,
    TAP_MASTER,
    TAPS,
)
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_RAMP, OP_START
from crowdstream.desk.pages import Arena
from crowdstream.desk.ramps import eq_ramp
from crowdstream.desk.rings import push_commands
from crowdstream.desk.taps import LISTENERS, request_tap
from crowdstream.engine.render import render_at

GOAL_MS = 0.01  # per block, for the master's tap
LOOP_FRAMES = 1 << 18
STEMS_A_DECK = 4
WARM_BLOCKS = 50
DECK_TAPS = tuple(range(TAP_DECK, TAP_DECK + DECKS))
SETS = {
    "no tap": (),
    "master": (TAP_MASTER,),
    "master and decks": (TAP_MASTER, *DECK_TAPS),
    "all": tuple(range(TAPS)),
}


def scene(taps: Sequence[int]) -> Desk:
    """Return a desk that plays, with these taps on."""
    pages = DECKS * STEMS_A_DECK * (LOOP_FRAMES * 4 // PAGE_BYTES + 1)
    desk = Desk.create(pages * PAGE_BYTES)
    arena = Arena(desk)
    generator = np.random.default_rng(1)
    batch = np.zeros(2 * DECKS, COMMAND)
    for deck in range(DECKS):
        for stem in range(STEMS_A_DECK):
            source = STEMS_A_DECK * deck + stem
            samples = generator.integers(-2000, 2000, (LOOP_FRAMES, 2)).astype(np.int16)
            size = arena.describe(source, LOOP_FRAMES, 2, True)
            for page in range(-(-LOOP_FRAMES // size)):
                place = arena.take()
                assert place is not None
                arena.publish(source, page, place, samples[page * size : (page + 1) * size])
        start = batch[deck]
        start["op"], start["target"], start["index"] = OP_START, deck, STEMS_A_DECK
        start["flags"] = deck << 1 | 1
        start["x"], start["y"], start["grid"] = 1.06, 0.5, -1
        start["loop_out"] = start["end"] = LOOP_FRAMES
        start["sources"][:STEMS_A_DECK] = range(STEMS_A_DECK * deck, STEMS_A_DECK * (deck + 1))
        start["gains"] = np.ones(STEMS)
        turn = batch[DECKS + deck]
        turn["op"], turn["index"], turn["x"], turn["y"] = OP_RAMP, eq_ramp(deck, 0), 0.7, 1.0
    assert push_commands(desk, batch)
    for tap in taps:
        request_tap(desk, tap, LISTENERS)
    return desk


def measure(frames: int, blocks: int) -> dict[str, np.ndarray]:
    """Return the nanoseconds of each block for each of `SETS`."""
    desks = {name: scene(taps) for name, taps in SETS.items()}
    out = np.zeros((frames, 2), np.float32)
    place = int(out.ctypes.data)
    times = {name: np.zeros(blocks, np.int64) for name in SETS}
    progress = common.Progress(blocks)
    for block in range(-WARM_BLOCKS, blocks):
        for name, desk in desks.items():
            begin = time.perf_counter_ns()
            render_at(desk.address, place, frames)
            end = time.perf_counter_ns()
            if block >= 0:
                times[name][block] = end - begin
        if block >= 0:
            progress.add(1, "rendering")
    progress.close()
    for desk in desks.values():
        desk.close()
    return times


def rows(measured: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the time per block, and the taps' part of it, for each of `SETS`."""
    plain = measured["no tap"]
    found = []
    for name, times in measured.items():
        extra = float(np.median(times - plain))
        found.append(
            {
                "taps": name,
                "number": len(SETS[name]),
                "block_ms": round(float(np.median(times)) / 1e6, 5),
                "taps_ms": round(extra / 1e6, 5),
                "share": f"{extra / float(np.median(plain)):.1%}",
            }
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if the master's tap costs more than `GOAL_MS`."""
    parser = argparse.ArgumentParser(description="Cost of taps for the engine.")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=4000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    common.print_heading(f"Taps, {options.frames} frames a block")
    found = rows(measure(options.frames, options.blocks))
    print(common.table(found))
    met = found[1]["taps_ms"] <= GOAL_MS
    verdict = "met" if met else "missed"
    print(f"goal: the master's tap takes at most {GOAL_MS} ms a block: {verdict}")
    common.write_json(options.json, {"machine": common.machine(), "rows": found})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
