"""Time stretching: this project's keylock compared with other stretchers.

    python benchmarks/stretch.py [--tempo 1.06] [--json FILE] [--signalsmith-python PYTHON]

Measured for each: kick jitter, the deviation of each of 40 kicks from its expected time (rms and
maximum, less the median, so that a constant latency does not count); the signal-to-noise ratio of
sustained chords, energy within 5 Hz of the partials against all the rest (the first column, a C
major triad of sines, gives SoundTouch 21 dB and Rubber Band R3 15 dB); latency; CPU time in percent
of one core, for one stereo signal and for four (8 channels); and the jitter of the strong attacks
in drum loops of Debian's package sonic-pi-samples. Missing programs are reported as absent. All
process 1024 frames at a time, this project 256; its CPU time is that of the whole engine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Progress, median, print_heading, table, write_json
from benchmarks.stretchers import Absent, Stretcher
from benchmarks.stretchers.here import Here
from benchmarks.stretchers.material import (
    RATE,
    chord,
    jitter,
    kicks,
    loop_attacks,
    loops,
    snr,
    stereo,
)
from benchmarks.stretchers.rubberband import RubberBand
from benchmarks.stretchers.signalsmith import Signalsmith
from benchmarks.stretchers.soundtouch import SoundTouch

CHORDS: dict[str, tuple[tuple[float, ...], int]] = {
    "C major": ((261.626, 329.628, 391.995), 1),
    "A minor": ((220.0, 261.626, 329.628), 1),
    "C major, 6 partials": ((261.626, 329.628, 391.995), 6),
    "C minor 7": ((130.813, 155.563, 195.998, 233.082), 3),
}
LOOPS = ("loop_amen_full", "loop_garzul", "loop_mika", "loop_safari", "loop_tabla", "loop_compus")
SAMPLES = Path("/usr/share/sonic-pi/samples")
TURNS = 3  # measurements of CPU time; the median is reported


def _cpu(stretcher: Stretcher, samples: np.ndarray, tempo: float) -> float:
    # Percent of one core when the result is played in real time.
    used = [stretcher.stretch(samples, tempo, RATE).cpu_seconds for _ in range(TURNS)]
    return 100.0 * median(used) / (len(samples) / tempo / RATE)


def measure(stretcher: Stretcher, tempo: float, drums: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return all figures of one stretcher."""
    wave, places = kicks()
    stretched = stretcher.stretch(stereo(wave), tempo, RATE)
    beat = jitter(wave, places, stretched.sound[:, 0], tempo)
    result: dict[str, Any] = {
        "name": stretcher.name,
        "kick_jitter_rms_ms": beat.rms_ms,
        "kick_jitter_max_ms": beat.max_ms,
        "latency_ms": stretched.latency_ms,
        "chords_db": {},
        "loops": {},
    }
    for name, (notes, partials) in CHORDS.items():
        sound, hertz = chord(notes, partials)
        out = stretcher.stretch(stereo(sound), tempo, RATE).sound
        result["chords_db"][name] = snr(out[:, 0], hertz)
    music = stereo(wave) + 0.5 * stereo(np.resize(chord(*CHORDS["A minor"])[0], len(wave)))
    result["cpu_stereo"] = _cpu(stretcher, music, tempo)
    result["cpu_8_channels"] = _cpu(stretcher, np.tile(0.25 * music, (1, 4)), tempo)
    for name, loop in drums.items():
        out = stretcher.stretch(stereo(0.5 * loop), tempo, RATE).sound
        attacks = jitter(0.5 * loop, loop_attacks(loop), out[:, 0], tempo)
        result["loops"][name] = vars(attacks)
    return result


def _rows(results: list[dict[str, Any]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for result in results:
        if "absent" in result:
            continue
        rms = [loop["rms_ms"] for loop in result["loops"].values()]
        most = [loop["max_ms"] for loop in result["loops"].values()]
        rows.append(
            {
                "stretcher": result["name"],
                "kicks rms/max ms": (
                    f"{result['kick_jitter_rms_ms']:.2f} / {result['kick_jitter_max_ms']:.2f}"
                ),
                **{f"{name} dB": f"{db:.1f}" for name, db in result["chords_db"].items()},
                "latency ms": f"{result['latency_ms']:.0f}",
                "CPU % stereo/8 ch": f"{result['cpu_stereo']:.2f} / {result['cpu_8_channels']:.2f}",
                "loops rms/max ms": f"{median(rms):.2f} / {max(most):.2f}" if rms else "-",
            }
        )
    return rows


def main() -> int:
    """Measure all installed stretchers and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tempo", type=float, default=1.06, help="0.5 to 2 (1.06)")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder of sonic-pi-samples")
    parser.add_argument("--signalsmith-python", default=sys.executable, metavar="PYTHON",
                        help="an interpreter with python-stretch")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print_heading(f"Time stretching at x{options.tempo:g}")
    drums = loops(options.samples, LOOPS)
    if not drums:
        print(f"no drum loops in {options.samples} (on Debian: apt install sonic-pi-samples)")
    stretchers: list[Stretcher] = [
        Here(), SoundTouch(), RubberBand(2), RubberBand(3),
        Signalsmith(options.signalsmith_python),
    ]  # fmt: skip
    results: list[dict[str, Any]] = []
    progress = Progress(len(stretchers))
    for stretcher in stretchers:
        progress.add(0.0, stretcher.name)
        try:
            stretcher.check()
            results.append(measure(stretcher, options.tempo, drums))
        except Absent as absent:
            results.append({"name": stretcher.name, "absent": str(absent)})
        progress.add(1.0, stretcher.name)
    progress.close()
    print(table(_rows(results)))
    for result in results:
        if "absent" in result:
            print(f"{result['name']}: absent. {result['absent']}")
    write_json(options.json, {"tempo": options.tempo, "results": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
