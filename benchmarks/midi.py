"""MIDI clock: jitter of the output, and lock time and error of the input.

    python benchmarks/midi.py [--seconds 30] [--skip-output]

Output: a server on the built-in clock sends MIDI clock over JACK's dummy driver to this process,
which compares each tick on arrival with the beat that is audible then, by the server's shared
memory. `median` is the delay; jitter and percentiles are deviations from it. The receiver's own
delays and JACK's period of 64 frames (1.5 ms) are part of them. Needs jackd and python-rtmidi.

Input: the loop that follows a clock, in simulated time. Ticks are late by a random time of up to
`jitter`, evenly distributed, as by a USB device. `lock`: time until it is locked; `tempo`: largest
error of the tempo from 4 s (8 s) after that on; `beat`: largest error of the beats, without the
mean delay.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from contrib.soundcard import JackDummy
from crowdstream.desk.block import Desk
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.midi.clock_in import ClockFollower
from crowdstream.midi.clock_out import TICK, TICKS
from crowdstream.timing.output_clock import OutputClock

TEMPOS = (60.0, 125.0, 174.0)
JITTERS = (0.0, 1.0, 3.0, 5.0)  # ms
SIMULATED_SECONDS = 60.0
FRAMES = 64
WARM_UP_SECONDS = 6.0  # until the estimate of the output's clock has settled


def follow(bpm: float, jitter: float, seed: int = 1) -> dict[str, Any]:
    """Return a row of the input's table; `jitter` in ms."""
    follower, source = ClockFollower(), random.Random(seed)
    step, lock = 60.0 / bpm / TICKS, None
    tempo: dict[int, float] = {4: 0.0, 8: 0.0}
    beats = []
    follower.start()
    for number in range(round(SIMULATED_SECONDS / step)):
        at = number * step
        follower.tick(at + source.uniform(0.0, jitter * 1e-3))
        if follower.locked and lock is None:
            lock = at
        if lock is None:
            continue
        for settled, worst in tempo.items():
            if at >= lock + settled:
                tempo[settled] = max(worst, abs(follower.bpm - bpm))
        beat = follower.beat(at)
        if at >= lock + 8.0 and beat is not None:
            beats.append((beat - at * bpm / 60.0) * 60.0 / bpm * 1e3 + 0.5 * jitter)
    return {
        "bpm": f"{bpm:g}", "jitter ms": f"{jitter:g}", "lock s": round(lock or -1.0, 2),
        "tempo after 4 s, bpm": round(tempo[4], 3), "after 8 s, bpm": round(tempo[8], 3),
        "beat ms": round(max(map(abs, beats)), 2),
    }  # fmt: skip


class Listener:
    """Compares each tick, on arrival, with the beat that the server's desk says is audible."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._clock = OutputClock(desk)
        self.errors: list[float] = []  # ms
        self.times: list[float] = []

    def __call__(self, event: tuple[list[int], float], _data: object) -> None:
        """Take a message."""
        now = time.monotonic()
        if event[0] != [TICK]:
            return
        self._clock.read()
        moment = read_snapshot(self._desk)
        seconds = (self._clock.audible_frame(now) - moment.frame) / self._desk.sample_rate
        place = TICKS * (moment.beat + seconds * moment.bpm / 60.0)
        self.errors.append((place - round(place)) * 60e3 / TICKS / moment.bpm)
        self.times.append(now)


def output(bpm: float, seconds: float) -> dict[str, Any]:
    """Return a row of the output's table."""
    import rtmidi

    from tests.support.server import server, until

    with JackDummy(frames=FRAMES) as card, tempfile.TemporaryDirectory() as folder:
        os.environ.update(card.env)
        flags = ("--driver", "null", "--midi-api", "jack", "--midi-clock", "listener")
        with (
            server(Path(folder), *flags, "--bpm", str(bpm), env=card.env) as running,
            running.desk() as desk,
        ):
            heard = Listener(desk)
            port = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="listener")
            port.ignore_types(timing=False)
            port.set_callback(heard)
            port.open_virtual_port("port")
            until(lambda: len(heard.times) > WARM_UP_SECONDS * bpm / 60.0 * TICKS)
            begin, used = len(heard.times), running.child_named("midi").cpu_times()
            wanted = begin + seconds * bpm / 60.0 * TICKS
            until(lambda: len(heard.times) > wanted, seconds + 120.0)
            now = running.child_named("midi").cpu_times()
            cpu = now.user + now.system - used.user - used.system
            port.cancel_callback()
            port.close_port()
            port.delete()
    errors, times = np.array(heard.errors[begin:]), np.array(heard.times[begin:])
    apart = np.abs(errors - np.median(errors))
    return {
        "bpm": f"{bpm:g}", "ticks": len(errors), "median ms": round(float(np.median(errors)), 3),
        "jitter std ms": round(float(errors.std()), 3),
        "95 % ms": round(float(np.percentile(apart, 95)), 3),
        "99 % ms": round(float(np.percentile(apart, 99)), 3),
        "max ms": round(float(apart.max()), 3),
        "CPU %": round(100.0 * cpu / (times[-1] - times[0]), 1),
    }  # fmt: skip


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="per tempo of the output")
    parser.add_argument("--skip-output", action="store_true", help="only the input")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args()
    common.print_heading("MIDI clock input, simulated")
    rows = {"input": [follow(bpm, jitter) for bpm in TEMPOS for jitter in JITTERS]}
    print(common.table(rows["input"]))
    if not chosen.skip_output:
        print("MIDI clock output, over JACK")
        rows["output"] = [output(bpm, chosen.seconds) for bpm in TEMPOS]
        print(common.table(rows["output"]))
    common.write_json(chosen.json, {"machine": common.machine(), **rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
