"""Cost of `render` with everything switched on, as a share of the block's duration.

    python benchmarks/everything.py
    python benchmarks/everything.py --seconds 60 --json everything.json

Four synced decks, each with the four stems of a demo track, keylock, EQ, filter and two effects;
the look-ahead limiter is active, the tempo moves, and the master is tapped as for a recording. The
time of each block is that of `render` alone. The rows switch on one thing after another within one
run, so that they can be compared. The goal is 25 percent of the block at 256 frames: a Raspberry
Pi 4 is estimated to be four times slower than a core of the machine it was set on (an estimate
from published single-core benchmarks, not a measurement).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import common
from benchmarks.material import cache_folder
from crowdstream.demo.dsp import RATE
from crowdstream.demo.tracks import Track, write_tracks
from crowdstream.desk.constants import TAP_MASTER
from crowdstream.engine.precompiled import kernels
from crowdstream.offline.session import Session
from crowdstream.settings import Settings

GOAL_PERCENT = 25.0
BLOCK = 256
ARENA_BYTES = 700_000_000
SETTLE_SECONDS = 4.0  # for effects to fill their delay lines and loops to complete
# From the slowest to the fastest: no deck stays at its own tempo for long.
TEMPOS = (118.0, 131.0)
RIDE_BEATS = 16
EFFECTS = (("echo", "beats", 0.75), ("reverb", "decay", 3.0))
Commands = list[tuple[str, tuple[Any, ...]]]


def _each(address: str, *arguments: Any) -> Commands:
    return [(address.format(deck=deck), arguments) for deck in "ABCD"]


STEPS: list[tuple[str, Commands]] = [
    ("16 stems, synced", []),
    ("+ EQ and filter", [
        *_each("/deck/{deck}/eq/low", 0.8), *_each("/deck/{deck}/eq/high", 1.2),
        *_each("/deck/{deck}/filter", 0.2),
    ]),
    ("+ keylock", _each("/deck/{deck}/keylock", 1)),
    ("+ 2 effects a deck", [
        command
        for slot, (module, parameter, value) in enumerate(EFFECTS, 1)
        for command in _each("/deck/{deck}/fx/insert", slot, module, parameter, value)
    ]),
    ("+ limiter at work", [("/mix/level", (2.0,))]),
    ("+ master tapped", []),
]  # fmt: skip


class Mixer(Session):
    """A session that raises an error for a failed command."""

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Raise `BenchmarkError` for a failure."""
        if address == "/fail":
            raise common.BenchmarkError(" ".join(map(str, arguments)))


def play(mixer: Session, tracks: Sequence[Track]) -> None:
    """Load a track onto each deck and start them together, synced, on a beat."""
    for deck, track in zip("ABCD", tracks, strict=False):
        mixer.send(f"/deck/{deck}/load", str(track.folder))
    mixer.load()
    for deck, track in zip("ABCD", tracks, strict=False):
        mixer.send(f"/deck/{deck}/grid", track.bpm, 0.0)
        mixer.send(f"/deck/{deck}/sync", 1)
        mixer.send(f"/deck/{deck}/level", 0.5)
    for deck in "ABCD":
        mixer.send("/clock/next", 4.0, f"/deck/{deck}/play", 0.0, 1)
    for deck in "ABCD":
        # All parts play in the middle of a track.
        mixer.send("/clock/next", 8.0, f"/deck/{deck}/seek/fraction", 0.4)
    wait(mixer, 8.0)


def wait(mixer: Session, seconds: float) -> None:
    """Render this many seconds."""
    for _ in range(round(seconds * RATE / BLOCK)):
        mixer.render(BLOCK)
        mixer.load(4)


def ride(mixer: Session, number: int) -> None:
    """Ramp the tempo up or down."""
    mixer.send("/clock/tempo", TEMPOS[number % 2], float(RIDE_BEATS))


def measure(mixer: Session, seconds: float, rendered: Any = None) -> np.ndarray:
    """Render `seconds` of sound; return the time of each block in microseconds, `(blocks,)`.

    `rendered`: a hash object that is updated with the samples.
    """
    render = kernels().render_at
    desk = mixer.desk
    out = np.zeros((BLOCK, 2), np.float32)
    blocks = round(seconds * RATE / BLOCK)
    times = np.empty(blocks)
    ride_blocks = round(RIDE_BEATS * 60 / TEMPOS[0] * RATE / BLOCK)
    for number in range(blocks):
        if number % ride_blocks == 0:
            ride(mixer, number // ride_blocks)
        begin = time.perf_counter_ns()
        render(desk.address, out.ctypes.data, BLOCK)
        times[number] = (time.perf_counter_ns() - begin) / 1000.0
        if rendered is not None:
            rendered.update(out)
        mixer.time += BLOCK / RATE
        mixer.core.tick()
        mixer.load(4)
    playing = int(np.count_nonzero(desk.voices["state"] == 1))
    if playing < 4 or int(desk.ledger["missing_frames"]):
        raise common.BenchmarkError(f"{playing} of 4 tracks play, or pages were missing")
    return times


def row(what: str, times: np.ndarray) -> dict[str, Any]:
    """Return mean, 99th percentile and maximum, in percent of the block's duration."""
    lasts = BLOCK / RATE * 1e6
    return {
        "what": what,
        "mean %": round(100 * float(np.mean(times)) / lasts, 2),
        "p99 %": round(100 * float(np.percentile(times, 99)) / lasts, 2),
        "longest %": round(100 * float(np.max(times)) / lasts, 2),
        "mean us": round(float(np.mean(times)), 1),
    }


def run(seconds: float, tracks: Sequence[Track]) -> tuple[list[dict[str, Any]], str]:
    """Measure all rows, one after another, on one desk; return them and a hash of all samples.

    The SHA-256 depends on `seconds` and on nothing else, so it shows whether a change of the
    program changes a single bit of the sound. Raises `BenchmarkError`.
    """
    rows = []
    rendered = hashlib.sha256()
    progress = common.Progress(len(STEPS))
    with Mixer(Settings(), ARENA_BYTES, float(RATE), BLOCK) as mixer:
        play(mixer, tracks)
        for what, commands in STEPS:
            for address, arguments in commands:
                mixer.send(address, *arguments)
            if what == STEPS[-1][0]:
                mixer.desk.taps["on"][TAP_MASTER] = 1
            wait(mixer, SETTLE_SECONDS)
            rows.append(row(what, measure(mixer, seconds, rendered)))
            progress.add(1, what)
    progress.close()
    return rows, rendered.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of sound per row")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args(argv)
    common.print_heading("Everything on, blocks of 256 frames, in percent of a block's time")
    tracks = write_tracks(cache_folder() / "everything")
    try:
        rows, rendered = run(chosen.seconds, tracks)
    except common.BenchmarkError as error:
        print(f"everything: {error}", file=sys.stderr)
        return 1
    print(common.table(rows))
    p99 = float(rows[-1]["p99 %"])
    verdict = "reached" if p99 < GOAL_PERCENT else "not reached"
    print(f"goal: p99 under {GOAL_PERCENT:g} percent with everything on: {verdict} ({p99:g})")
    print(f"SHA-256 of the samples: {rendered}")
    common.write_json(chosen.json, {"sha256": rendered, "machine": common.machine(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
