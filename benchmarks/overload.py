"""Cost of each level of load shedding, and the deadlines that it saves.

    python benchmarks/overload.py
    python benchmarks/overload.py --seconds 60 --json overload.json

Four synced decks with four stems each, EQ, filter, keylock and two effects per deck, as in
`everything.py`, with a moving tempo. First each level is held in turn, many times, and the CPU time
of `render` is compared with that of full quality. Then a machine that slows down and recovers is
simulated: the CPU time of each block is multiplied by a factor that rises until full quality takes
130 percent of a block's duration on average, falls again, and stays low for a while. A block that
takes longer than its duration is a missed deadline. Both rows get the same factor at the same
frame; only one of them sheds load.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import common
from benchmarks.everything import ARENA_BYTES, BLOCK, RIDE_BEATS, STEPS, TEMPOS, Mixer, play, ride
from benchmarks.material import cache_folder
from crowdstream.demo.dsp import RATE
from crowdstream.demo.tracks import Track, write_tracks
from crowdstream.desk.load_shedding import BYPASSED_BY_LEVEL, LEVELS
from crowdstream.engine.precompiled import kernels
from crowdstream.settings import Settings

ROUNDS = 12  # measurements of each level, in turn: other load on the machine affects all alike
SETTLE_SECONDS = 3.0  # for keylock to switch over and delay lines to empty
LIGHT, HEAVY = 0.3, 1.3  # load at full quality: at both ends, and at its peak
RISE_AND_FALL = 0.6  # share of the time; the load then stays at LIGHT, and quality is restored
SWITCHED_ON = ("+ EQ and filter", "+ keylock", "+ 2 effects a deck")


def begin(tracks: Sequence[Track]) -> Mixer:
    """Return a session in which everything plays."""
    mixer = Mixer(Settings(), ARENA_BYTES, float(RATE), BLOCK)
    play(mixer, tracks)
    for what, commands in STEPS:
        if what in SWITCHED_ON:
            for address, arguments in commands:
                mixer.send(address, *arguments)
    blocks(mixer, SETTLE_SECONDS)
    return mixer


def blocks(
    mixer: Mixer, seconds: float, factor: Callable[[float], float] | None = None
) -> np.ndarray:
    """Render `seconds`; report the time of each block times `factor(seconds so far)` to the engine.

    Without `factor`, a constant time is reported. Return the reported nanoseconds, `(blocks,)`.
    """
    render, end_block = kernels().render_at, kernels().end_block
    address = mixer.desk.address
    out = np.zeros((BLOCK, 2), np.float32)
    times = np.empty(round(seconds * RATE / BLOCK))
    ride_blocks = round(RIDE_BEATS * 60 / TEMPOS[0] * RATE / BLOCK)
    for number in range(len(times)):
        block = mixer.desk.frame // BLOCK
        if block % ride_blocks == 0:
            ride(mixer, block // ride_blocks)
        start = time.thread_time_ns()
        render(address, out.ctypes.data, BLOCK)
        took = time.thread_time_ns() - start
        times[number] = took * (factor(number * BLOCK / RATE) if factor else 1.0)
        end_block(address, BLOCK, round(times[number]) if factor else 1000)
        mixer.time += BLOCK / RATE
        mixer.core.tick()
        mixer.load(4)
    return times


def levels(mixer: Mixer, seconds: float) -> tuple[list[dict[str, Any]], float]:
    """Return the cost of each level, and the mean load of full quality on this machine."""
    taken: list[list[np.ndarray]] = [[] for _ in range(LEVELS)]
    progress = common.Progress(ROUNDS * LEVELS)
    for _ in range(ROUNDS):
        for level in range(LEVELS):
            mixer.send("/quality", level)
            blocks(mixer, SETTLE_SECONDS)
            taken[level].append(blocks(mixer, seconds / ROUNDS))
            progress.add(1, f"level {level}")
    progress.close()
    # Use the faster half of each level's rounds: other load on the machine can only add time.
    quiet = [np.sort([np.mean(part) for part in parts])[: ROUNDS // 2].mean() for parts in taken]
    rows = []
    for level, parts in enumerate(taken):
        p99 = np.sort([np.percentile(part, 99) for part in parts])[: ROUNDS // 2].mean()
        if level == 0:
            full, full_p99 = quiet[0], p99
        rows.append({
            "level": level,
            "left out": "nothing" if level == 0 else f"+ {BYPASSED_BY_LEVEL[level]}",
            "mean us": round(quiet[level] / 1000, 1),
            "of full": round(quiet[level] / full, 3),
            "p99 of full": round(p99 / full_p99, 3),
        })  # fmt: skip
    return rows, float(quiet[0] * 1e-9 * RATE / BLOCK)


def overloaded(
    tracks: Sequence[Track], seconds: float, load: float, quality: str
) -> dict[str, Any]:
    """Count missed deadlines on a machine that slows down and recovers; `load`: at full quality."""

    def factor(at: float) -> float:
        height = max(0.0, 1.0 - abs(2.0 * at / (RISE_AND_FALL * seconds) - 1.0))
        return (LIGHT + (HEAVY - LIGHT) * height) / load

    with begin(tracks) as mixer:
        mixer.send("/quality", quality if quality == "auto" else 0)
        blocks(mixer, SETTLE_SECONDS)
        times = blocks(mixer, seconds, factor)
        lasts = BLOCK / RATE * 1e9
        late = int(np.count_nonzero(times > lasts))
        if late != int(mixer.desk.ledger["over_budget"]):
            raise common.BenchmarkError("the ledger and this benchmark count different deadlines")
        return {
            "quality": quality,
            "blocks": len(times),
            "deadlines missed": late,
            "percent": round(100.0 * late / len(times), 2),
            "times lowered": int(mixer.desk.quality["lowered"]),
            "level at the end": int(mixer.desk.quality["level"]),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of sound per row")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args(argv)
    common.print_heading("Levels of quality, blocks of 256 frames")
    tracks = write_tracks(cache_folder() / "everything")
    try:
        with begin(tracks) as mixer:
            costs, load = levels(mixer, chosen.seconds)
        print(common.table(costs))
        print(f"\nA machine that gets slower until full quality takes {HEAVY:.0%} of a block, and "
              f"recovers, {chosen.seconds:g} s")  # fmt: skip
        rows = [overloaded(tracks, chosen.seconds, load, quality) for quality in ("full", "auto")]
    except common.BenchmarkError as error:
        print(f"overload: {error}", file=sys.stderr)
        return 1
    print(common.table(rows))
    machine = common.machine()
    common.write_json(chosen.json, {"machine": machine, "levels": costs, "overloaded": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
