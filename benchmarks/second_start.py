"""From the command to the first sound, with kernels compiled by an earlier start.

    python benchmarks/second_start.py [--starts 5]

The clock starts before the process is created. Until the port is bound what is sent to it is
lost, so the server is asked for its version every 10 ms; its first answer means ready, and
`/play` of a 140 MB file follows at once. Sound is there when the master's peak meter in the
shared block is above 0: the first block that is not silent has been handed to the device. A
period and the device's own latency, both printed, come on top.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import Card, add_card_arguments, open_card
from benchmarks.live import LiveServer
from contrib.soundcard import SoundCardError

GOAL_SECONDS = 3.0
SOUND_SECONDS = 30.0
ASK_SECONDS = 0.01


def one_start(card: Card, frames: int, path: Path) -> dict[str, float]:
    """Start a server, play, end it; seconds to `ready` and to `sound`, and `latency`."""
    server = LiveServer(*card.flags(frames), env=card.env)
    with contextlib.ExitStack() as stack:
        server.spawn(stack)
        server.wait_ready(ASK_SECONDS)
        ready = time.monotonic()
        server.say("/play", "A", str(path))
        with server.desk() as desk:
            while float(desk.master["peak"]) <= 0.0:
                if time.monotonic() - ready > SOUND_SECONDS:
                    raise common.BenchmarkError(f"no sound within {SOUND_SECONDS:g} s")
                time.sleep(0.0005)
            sound = time.monotonic()
            latency = float(desk.clock["latency"])
    return {
        "ready": ready - server.started, "sound": sound - server.started, "latency": latency,
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Time from the command to the first sound.")
    made.add_argument("--starts", type=int, default=5)
    made.add_argument("--buffer-size", type=int, default=512)
    made.add_argument("--bytes", type=int, default=material.BIG_BYTES)
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when the goal is missed."""
    options = parser().parse_args(argv)
    common.print_heading("Second start: from the command to the first sound")
    bar = common.Progress(options.starts + 1)
    starts = []
    try:
        path = material.big_file(options.bytes)
        with open_card(options, options.buffer_size) as card:
            for number in range(options.starts + 1):
                start = one_start(card, options.buffer_size, path)
                if number:  # the first one may have had to compile
                    starts.append(start)
                bar.add(1, "starting")
    except (common.BenchmarkError, SoundCardError, OSError) as error:
        bar.close()
        print(f"second_start: {error}", file=sys.stderr)
        return 1
    bar.close()
    sound = [start["sound"] for start in starts]
    result: dict[str, Any] = {
        "starts": len(starts),
        "buffer_size": options.buffer_size,
        "median_ready_s": round(common.median([start["ready"] for start in starts]), 3),
        "median_sound_s": round(common.median(sound), 3),
        "max_sound_s": round(max(sound), 3),
        "latency_s": round(starts[0]["latency"], 4),
        "period_s": round(options.buffer_size / 44100, 4),
        "goal_s": GOAL_SECONDS,
        "reached": max(sound) <= GOAL_SECONDS,
    }
    print(f"card: {card.name}\n")
    for name, value in result.items():
        print(f"{name:16} {value}")
    common.write_json(options.json, [result])
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
