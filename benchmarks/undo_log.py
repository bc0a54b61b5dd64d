"""Cost of the engine's undo log.

    python benchmarks/undo_log.py [--seconds 10]

The mix of `everything.py`, with all parts on, is rendered with and without the copies that
`crowdstream/engine/undo_log.py` makes at the beginning of each turn, alternately for a second each,
so that both run under the same conditions. The figures are medians of the blocks' times.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from benchmarks.everything import ARENA_BYTES, BLOCK, STEPS, Mixer, measure, play
from benchmarks.material import cache_folder
from crowdstream.demo.tracks import write_tracks
from crowdstream.settings import Settings


def run(seconds: int, tracks: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a row for each step of the mix. Raise `BenchmarkError`."""
    rows = []
    with Mixer(Settings(), ARENA_BYTES, 44100.0, BLOCK) as mixer:
        play(mixer, tracks)
        for what, commands in STEPS:
            for address, arguments in commands:
                mixer.send(address, *arguments)
            times: dict[int, list[np.ndarray]] = {0: [], 1: []}
            for turn in range(2 * seconds):
                mixer.desk.undo_log["off"] = turn % 2
                times[turn % 2].append(measure(mixer, 1.0))
            kept, plain = (float(np.median(np.concatenate(times[off]))) for off in (0, 1))
            words = int(mixer.desk.undo_log["words"])
            rows.append({
                "what": what, "without": round(plain, 1), "with": round(kept, 1),
                "ratio": round(kept / plain, 3), "KiB copied": round(words / 256, 1),
            })  # fmt: skip
    return rows


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="seconds of sound per figure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args()
    common.print_heading(f"Copies of what a turn changes; blocks of {BLOCK} frames, microseconds")
    rows = run(chosen.seconds, write_tracks(cache_folder() / "everything"))
    print(common.table(rows))
    common.write_json(chosen.json, {"machine": common.machine(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
