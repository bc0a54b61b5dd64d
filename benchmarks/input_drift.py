"""A live input on another clock: gaps, clicks, distortion and pitch while the clocks drift.

    python benchmarks/input_drift.py [--minutes 60]

A device at 48 kHz captures a tone of 1 kHz; the mix runs at 44.1 kHz on a clock of its own. The
engine that plays live renders it, in simulated time: an hour takes seconds. Each row is one
difference of the clocks and one jitter: blocks of both sides are handled late, by a random time of
up to this many milliseconds, evenly distributed.

- gaps: times the input ran out of frames, or began again.
- steps: samples further from their neighbours than the tone itself, after the fade-in.
- THD+N: what is left of the tone without its best fit over a second, whose pitch is constant; so
  it contains the movement of the pitch. The median and the worst, after the first minute.
- pitch: deviation of the tone from its true frequency, per second: the most in the first minute,
  and after it.
- distance: the most that the frames in the ring differed from their target after the first minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from tests.support.live_input import LiveInput

RATE = 44100.0
HERTZ = 1000.0
LEVEL = 0.5
CASES = [(200.0, 0.0), (-200.0, 0.0), (200.0, 1.0), (-200.0, 1.0), (200.0, 3.0)]  # ppm, ms
FIT_EVERY = 10  # seconds between two fits after the first minute; clicks are counted everywhere


def tone(times: np.ndarray) -> np.ndarray:
    """The captured signal: a sine of `HERTZ`."""
    wave: np.ndarray = LEVEL * np.sin(2.0 * np.pi * HERTZ * times)
    return wave


def second_of(out: np.ndarray) -> tuple[float, float]:
    """Return THD+N in dB and the frequency in Hz of a second of the tone."""
    frames = np.arange(len(out))
    turned = out * np.exp(-2j * np.pi * HERTZ * frames / RATE)
    part = len(out) // 4
    window = np.hanning(part)
    ends = [np.sum(side * window) for side in (turned[:part], turned[-part:])]
    angle = float(np.angle(ends[1] * np.conj(ends[0])))
    hertz = HERTZ + angle * RATE / (2.0 * np.pi * (len(out) - part))
    phases = 2.0 * np.pi * hertz * frames / RATE
    basis = np.stack([np.sin(phases), np.cos(phases), np.ones(len(out))], 1)
    rest = out - basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
    return float(10.0 * np.log10((rest @ rest) / (out @ out) + 1e-30)), hertz


def seconds_of(one: LiveInput, seconds: int) -> Iterator[np.ndarray]:
    """Yield the output second by second, as float64."""
    for _ in range(seconds):
        yield one.play(1.0).astype(np.float64)


def measure(ppm: float, jitter: float, minutes: int) -> dict[str, Any]:
    """Return a row of the table; `jitter` in ms."""
    begin = time.process_time()
    one = LiveInput(tone, ppm, jitter=jitter * 1e-3)
    while not one.state["locked"]:
        one.play(0.1)
    one.play(0.1)  # the fade-in
    steepest = 1.02 * LEVEL * 2.0 * np.pi * HERTZ / RATE
    steps, last = 0, None
    noise: dict[int, float] = {}
    pitch: dict[int, float] = {}
    distance = 0.0
    for number, out in enumerate(seconds_of(one, 60 * minutes)):
        joined = out if last is None else np.concatenate([[last], out])
        steps += int(np.count_nonzero(np.abs(np.diff(joined)) > steepest))
        last = out[-1]
        if number < 60 or number % FIT_EVERY == 0:
            noise[number], hertz = second_of(out)
            pitch[number] = abs(1e6 * (hertz / HERTZ - 1.0))
        if number >= 60:
            distance = max(distance, abs(float(one.state["behind"] - one.state["target"])))
    later = [second for second in noise if second >= 60]
    row = {
        "ppm": f"{ppm:g}", "jitter ms": f"{jitter:g}", "gaps": int(one.state["gaps"]),
        "steps": steps, "THD+N dB": round(float(np.median([noise[at] for at in later])), 1),
        "worst dB": round(max(noise[at] for at in later), 1),
        "pitch, 1st min ppm": round(max(pitch[at] for at in range(60)), 1),
        "then ppm": round(max(pitch[at] for at in later), 1),
        "learnt ppm": round(1e6 * float(one.state["drift"]), 1),
        "distance ms": round(distance / 48.0, 3),
        "latency ms": round(float(one.state["target"]) / 48.0, 1),
        "CPU s": round(time.process_time() - begin, 1),
    }
    one.close()
    return row


def main() -> int:
    """Run the benchmark; return the exit status: 1 if there was a gap or a step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=60, help="simulated time per row, over 1")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args()
    if chosen.minutes < 2:
        parser.error("--minutes: at least 2")
    common.print_heading(
        f"A live input for {chosen.minutes} min: a device at 48 kHz in blocks of 480 frames, the "
        "mix at 44.1 kHz in blocks of 512"
    )
    progress = common.Progress(len(CASES))
    rows = []
    for ppm, jitter in CASES:
        rows.append(measure(ppm, jitter, chosen.minutes))
        progress.add(1, f"{ppm:g} ppm, {jitter:g} ms")
    progress.close()
    print(common.table(rows))
    common.write_json(chosen.json, {"machine": common.machine(), "rows": rows})
    return int(any(row["gaps"] or row["steps"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
