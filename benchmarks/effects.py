"""Cost of each effect module: a desk with n instances of it, all active and processing sound.

    python -m benchmarks.effects

Prints, for each module, the render time in microseconds per instance and block of 256 frames, as
the difference from the same desk without effects, and the cost of a swap.
"""

from __future__ import annotations

import time

import numpy as np

from crowdstream.control.decks.effects import prepare_instance
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import CHAINS, INPUTS
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.effects import EFFECTS, ROW_ON
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.opcodes import OP_EFFECT, OP_RAMP
from crowdstream.desk.ramps import RAMP_PATCH, RAMP_PREFADER, effect_ramp
from crowdstream.desk.rings import push_commands
from crowdstream.effects import MODULES
from crowdstream.engine.render import render

BLOCK = 256
ROUNDS = 40
BLOCKS = 50  # per round
PER_CHAIN = 4


def make(desk: Desk, instance: int, name: str) -> None:
    """Prepare an instance of the named module and switch it on."""
    prepare_instance(desk, instance, list(MODULES).index(name), MODULES[name])
    desk.ramps[effect_ramp(instance, ROW_ON)] = (1.0, 0.0, 1.0, 0)


def put(desk: Desk, instance: int, chain: int, after: int, leaving: int = -1) -> None:
    """Queue a command for the engine to link a prepared instance into a chain."""
    record = np.zeros(1, COMMAND)
    record["op"], record["target"], record["index"] = OP_EFFECT, chain, instance
    record["start"], record["end"] = after, leaving
    assert push_commands(desk, record)


def put_effects(desk: Desk, name: str, count: int) -> None:
    """Insert `count` instances of a module, at most `EFFECTS`, into a desk without effects.

    They fill the chains of decks, buses, master and inputs one after another, four in each. Every
    deck is routed to every bus, so that all instances process sound.
    """
    InputWriter.configure(desk, INPUTS)
    records = np.zeros(RAMP_PREFADER - RAMP_PATCH, COMMAND)
    records["op"], records["x"], records["y"] = OP_RAMP, 1.0, 0.0
    for source in range(4):
        for bus in range(2):
            records["index"][2 * source + bus] = RAMP_PATCH + 4 * source + bus
    assert push_commands(desk, records[:8])
    for instance in range(min(count, EFFECTS)):
        chain = instance // PER_CHAIN % CHAINS
        make(desk, instance, name)
        put(desk, instance, chain, instance - 1 if instance % PER_CHAIN else -1)


def _block_seconds(desk: Desk) -> float:
    # CPU time per block: the best round, as other load on the machine can only add to it.
    out = np.zeros((BLOCK, 2), np.float32)
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(BLOCKS):
            render(desk, out)
        rounds.append((time.process_time() - begin) / BLOCKS)
    return min(rounds)


def _swap_seconds(name: str) -> float:
    # Additional cost of a block in which one instance replaces another: the median.
    desk = Desk.create(0)
    out = np.zeros((1, 2), np.float32)
    costs: list[float] = []
    for instance in range(EFFECTS):
        make(desk, instance, name)
    put(desk, 0, 0, -1)
    for _ in range(100):
        render(desk, out)
    for turn in range(1, EFFECTS):
        plain = time.perf_counter()
        render(desk, out)
        plain = time.perf_counter() - plain
        put(desk, turn, 0, -1, turn - 1)
        swapped = time.perf_counter()
        render(desk, out)
        costs.append(time.perf_counter() - swapped - plain)
    desk.close()
    return float(np.median(costs))


def main() -> None:
    """Measure and print."""
    empty = Desk.create(0)
    InputWriter.configure(empty, INPUTS)
    nothing = _block_seconds(empty)
    empty.close()
    print(f"no effects: {nothing * 1e6:.1f} µs a block of {BLOCK} frames")
    for name in MODULES:
        desk = Desk.create(0)
        put_effects(desk, name, CHAINS * PER_CHAIN)
        cost = (_block_seconds(desk) - nothing) / (CHAINS * PER_CHAIN)
        desk.close()
        print(f"{name:12} {cost * 1e6:6.2f} µs, a swap {_swap_seconds(name) * 1e6:5.1f} µs")


if __name__ == "__main__":
    main()
