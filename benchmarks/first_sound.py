"""From `/cue` + `/start_group` of a file that is not in memory to its first sounding frame.

    python benchmarks/first_sound.py [--trials 50]

The clock starts before the two messages are sent. The first frame is found in the shared
block: once the voice plays at rate 1, the frame it began at is the engine's frame less what
the voice has played. That frame is handed to the device in the callback that renders it, and
sounds when the block before it has been played out: one period later. Times are given to
that moment, and also to the callback alone.

A 140 MB file and one of three hours are each started `--trials` times with the file in the
kernel's page cache (warm) and as often after it was dropped from there (cold).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.live import LiveServer
from contrib.soundcard import SoundCardError
from crowdstream.desk.block import Desk
from crowdstream.desk.codes import FREE, PLAYING

GOAL_MS = 30.0
START_SECONDS = 8.0  # a start that takes longer has failed
LOOK_SECONDS = 0.0002


@dataclass(frozen=True)
class Sample:
    """One start: ms from sending to the callback of its first frame, and to its sounding."""

    rendered_ms: float
    sounding_ms: float


def _reading(desk: Desk) -> tuple[int, int, int] | None:
    # (first frame of the voice, callback time, callback frame), all of one moment; None
    # while nothing plays or the engine is just at work.
    clock = desk.clock
    epoch, stamp = int(clock["epoch"]), int(clock["stamp"])
    playing = desk.voices[desk.voices["state"] == PLAYING]
    if len(playing) != 1:
        return None
    voice = playing[0]
    first = int(clock["frame"]) - int(voice["play"])
    found = first, int(clock["callback_ns"]), int(clock["callback_frame"])
    busy = stamp % 2 or epoch != int(clock["epoch"]) or stamp != int(clock["stamp"])
    # Rendering is over when the frame stands one block after the callback's first.
    block = int(desk.header["block_frames"])
    return None if busy or int(clock["frame"]) != found[2] + block else found


def one_start(server: LiveServer, desk: Desk, path: Path) -> Sample:
    """Cue and start the file on deck A; raises `BenchmarkError` if it does not sound."""
    begin_ns = time.monotonic_ns()
    server.say("/cue", "A", str(path))
    server.say("/start_group", 0.0, "A")
    deadline = begin_ns + int(START_SECONDS * 1e9)
    found = None
    while found is None:
        time.sleep(LOOK_SECONDS)
        found = _reading(desk)
        if time.monotonic_ns() > deadline:
            raise common.BenchmarkError(f"{path.name} did not start within {START_SECONDS:g} s")
    first, callback_ns, callback_frame = found
    period = int(desk.header["block_frames"])
    since = (callback_ns - begin_ns) / 1e6
    return place(first, callback_frame, since, period, desk.sample_rate)


def place(
    first: int, callback_frame: int, callback_ms: float, period: int, sample_rate: float
) -> Sample:
    """When a voice's first frame was rendered and sounds.

    `callback_frame`: first frame of a later callback or the same, which came `callback_ms`
    after sending; blocks have `period` frames.
    """
    # The block that held the first frame was asked for a whole number of periods before.
    blocks = max(0, -(-(callback_frame - first) // period))
    block = callback_frame - blocks * period
    rendered = callback_ms - blocks * period / sample_rate * 1e3
    return Sample(rendered, rendered + (period + first - block) / sample_rate * 1e3)


def clear(server: LiveServer, desk: Desk) -> None:
    """Unload deck A and wait until nothing of it is left."""
    server.hear("/done", START_SECONDS)
    server.ask("/deck/A/unload", "/done")
    deadline = time.monotonic() + START_SECONDS
    while bool((desk.voices["state"] != FREE).any()):
        if time.monotonic() > deadline:
            raise common.BenchmarkError("deck A does not stop")
        time.sleep(0.005)


def read_through(path: Path) -> None:
    """Have the file's beginning in the page cache: what is read first of it."""
    with path.open("rb") as file:
        file.read(1 << 20)


def series(
    server: LiveServer, path: Path, trials: int, cold: bool, bar: common.Progress
) -> list[Sample]:
    """So many starts of one file, each of a track that has just been unloaded."""
    samples = []
    with server.desk() as desk:
        for number in range(trials + 1):
            if cold:
                material.forget_cached(path)
            else:
                read_through(path)
            # Starts fall anywhere within a period and within the server's own ticks.
            time.sleep(0.05 + (number * 0.6180339887 % 1.0) * 0.05)
            sample = one_start(server, desk, path)
            clear(server, desk)
            if number:  # the first one reads code, too
                samples.append(sample)
            bar.add(1, f"{path.name} {'cold' if cold else 'warm'}")
    return samples


def summary(path: Path, frames: int, cold: bool, samples: Sequence[Sample]) -> dict[str, Any]:
    """The figures of one series, as they go into the JSON list."""
    sounding = [sample.sounding_ms for sample in samples]
    return {
        "file": path.name,
        "megabytes": round(path.stat().st_size / 1e6),
        "buffer_size": frames,
        "page_cache": "cold" if cold else "warm",
        "trials": len(samples),
        "median_ms": round(common.median(sounding), 2),
        "p90_ms": round(common.percentile(sounding, 90), 2),
        "max_ms": round(max(sounding), 2),
        "median_rendered_ms": round(common.median([s.rendered_ms for s in samples]), 2),
        "goal_ms": GOAL_MS,
        "reached": common.median(sounding) <= GOAL_MS,
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Time to the first sound of a file.")
    made.add_argument("--trials", type=int, default=50)
    made.add_argument("--sizes", type=int, nargs="+", default=[512], metavar="FRAMES")
    made.add_argument("--memory", type=int, help="MB; a file that does not fit is streamed")
    made.add_argument("--bytes", type=int, default=material.BIG_BYTES)
    made.add_argument("--long-seconds", type=int, default=material.LONG_SECONDS)
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when a median misses the goal."""
    options = parser().parse_args(argv)
    common.print_heading("First sound: /cue + /start_group of a file that is not in memory")
    results = []
    bar = common.Progress(4 * len(options.sizes) * (options.trials + 1))
    memory = [] if options.memory is None else ["--memory", str(options.memory)]
    gc.disable()
    try:
        files = [material.big_file(options.bytes), material.long_file(options.long_seconds)]
        for frames in options.sizes:
            with (
                open_card(options, frames) as card,
                LiveServer(*card.flags(frames), *memory, env=card.env) as server,
            ):
                for path in files:
                    for cold in (False, True):
                        samples = series(server, path, options.trials, cold, bar)
                        results.append(summary(path, frames, cold, samples))
    except (common.BenchmarkError, SoundCardError, OSError) as error:
        bar.close()
        print(f"first_sound: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(f"card: {card.name}\n")
    print(common.table(results))
    common.write_json(options.json, results)
    return 0 if all(result["reached"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
