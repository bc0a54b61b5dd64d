"""Render one mix to a file with this project and with every comparable program installed here.

    python benchmarks/peers.py
    python benchmarks/peers.py --runs 5 --python ~/venv/bin/python --json peers.json

The scene is four decks of four stems of one minute, all at rate 1.06, a gain per stem, a 3-band
equaliser per deck, a crossfade from A and B to C and D, and a limiter. Times are CPU seconds of the
whole process tree, including start-up and loading of compiled code; "start-up" is the time of the
same command for stems of a tenth of a second. "x real time" is the duration of the result divided
by the CPU seconds: the speed of one core. "summed" programs add up the stems of a deck before they
convert the rate of the sum; a program without a summed variant has no filter that would accept the
sum. THD+N is that of a sine through the same command's rate conversion.

pedalboard and pyo are searched in any Python interpreter: name others than this one with --python
or $CROWDSTREAM_BENCH_PYTHONS.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, usage
from benchmarks.renderers import all_renderers, ours
from benchmarks.renderers.base import Interpreters, Renderer
from benchmarks.scene import Scene, mix_scene, sine_scene
from tests.support.thd_n import NoTone, thd_n_of_file

GOAL_SPEED = 100.0  # times real time, per core
GOAL_THD_N = -100.0  # dB
SINES = (1000.0, 10000.0)
LENGTH_TOLERANCE = 0.001  # share of the result that may be missing at its end
START_SECONDS = 0.1  # stems this short cost only the start-up


@dataclass
class Measured:
    """The measurements of one program; lists are empty without a measurement."""

    renderer: Renderer
    version: str | None
    failed: str = ""
    peak_bytes: int = 0
    cpu: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    thd_n: list[float] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether there are measurements."""
        return self.version is not None and not self.failed

    def speed(self, seconds: float) -> float:
        """Return the speed of one core in times real time, for a result of `seconds`."""
        return seconds / common.median(self.cpu)


def measure_quality(renderer: Renderer, folder: Path) -> list[float]:
    """Return THD+N in dB for each of `SINES` through the program's rate conversion."""
    found = []
    for hertz in SINES:
        scene = sine_scene(hertz)
        out = folder / "sine.wav"
        usage.run(renderer.command(scene, folder, out), folder)
        found.append(thd_n_of_file(out, hertz * scene.rate))
    return found


def check_length(out: Path, scene: Scene) -> None:
    """Raise `BenchmarkError` if a program rendered only part of the scene."""
    frames = soundfile.info(out).frames
    if frames < (1.0 - LENGTH_TOLERANCE) * scene.frames:
        raise common.BenchmarkError(f"only {frames} of {scene.frames} frames were rendered")


def measure(
    renderers: Sequence[Renderer], scene: Scene, runs: int, bar: common.Progress
) -> list[Measured]:
    """Measure every program; `bar` advances for each run and by two for the rest.

    The programs are run in turn, so that a machine that slows down affects all of them.
    """
    short = mix_scene(START_SECONDS)
    every = [Measured(renderer, renderer.version()) for renderer in renderers]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "out.wav"
        for turn in range(-1, runs):
            for each in every:
                if not each.measured:
                    bar.add(1.0)
                    continue
                try:
                    if turn < 0:  # also fills the caches of kernels and disk
                        each.peak_bytes = usage.peak_bytes(
                            each.renderer.command(scene, folder, out), folder
                        )
                        check_length(out, scene)
                        each.thd_n = measure_quality(each.renderer, folder)
                    else:
                        used = usage.run(each.renderer.command(scene, folder, out), folder)
                        each.cpu.append(used.cpu)
                        each.wall.append(used.wall)
                        start_up = usage.run(each.renderer.command(short, folder, out), folder)
                        each.start.append(start_up.cpu)
                except (common.BenchmarkError, NoTone, OSError) as error:
                    each.failed = str(error)
                bar.add(1.0, each.renderer.name)
                out.unlink(missing_ok=True)
    return every


def figures(each: Measured, scene: Scene) -> dict[str, Any]:
    """Return one program's results for the JSON file."""
    renderer = each.renderer
    result: dict[str, Any] = {
        "program": renderer.name,
        "version": each.version,
        "installed": each.version is not None,
        "failed": each.failed,
        "summed": renderer.summed,
        "does": renderer.does,
        "leaves_out": renderer.leaves_out,
    }
    if each.measured:
        result |= {
            "cpu_seconds": common.median(each.cpu),
            "cpu_seconds_runs": each.cpu,
            "start_seconds": common.median(each.start),
            "wall_seconds": common.median(each.wall),
            "times_real_time": each.speed(scene.seconds),
            "peak_mb": each.peak_bytes / 1e6,
            **{
                f"thd_n_{hertz:g}_db": value for hertz, value in zip(SINES, each.thd_n, strict=True)
            },
        }
    return result


def rows(every: Sequence[Measured], scene: Scene) -> list[dict[str, object]]:
    """Return the rows of the table, the fastest program first."""
    there = sorted(
        (each for each in every if each.measured), key=lambda each: common.median(each.cpu)
    )
    return [
        {
            "program": each.renderer.name,
            "version": each.version,
            "CPU s": f"{common.median(each.cpu):.2f}",
            "of it start-up": f"{common.median(each.start):.2f}",
            "x real time": f"{each.speed(scene.seconds):.0f}",
            "memory MB": f"{each.peak_bytes / 1e6:.0f}",
            **{
                f"THD+N {hertz:g} Hz": f"{value:.0f} dB"
                for hertz, value in zip(SINES, each.thd_n, strict=True)
            },
        }
        for each in there
    ]


def missed(every: Sequence[Measured], scene: Scene) -> list[str]:
    """Return the goals that this project misses."""
    own = next(each for each in every if each.renderer.name == ours.NAME)
    if not own.measured:
        return [f"{ours.NAME} did not render the scene: {own.failed}"]
    speed = own.speed(scene.seconds)
    missed_goals = []
    if speed < GOAL_SPEED:
        missed_goals.append(f"{speed:.0f} times real time, the goal is {GOAL_SPEED:g}")
    for hertz, value in zip(SINES, own.thd_n, strict=True):
        if value > GOAL_THD_N:
            missed_goals.append(
                f"THD+N {value:.1f} dB at {hertz:g} Hz, the goal is {GOAL_THD_N:g} dB"
            )
    for each in every:
        if each is not own and each.measured and each.speed(scene.seconds) >= speed:
            missed_goals.append(f"{each.renderer.name} is as fast or faster")
    return missed_goals


def chosen(renderers: Sequence[Renderer], names: Sequence[str]) -> list[Renderer]:
    """Return this project and the programs whose names contain one of `names`, or all programs."""
    found = [each for each in renderers if not names or any(name in each.name for name in names)]
    own = [each for each in renderers if each.name == ours.NAME]
    return [*own, *(each for each in found if each not in own)]


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="One mix, rendered by this project and others.")
    made.add_argument("--runs", type=int, default=5, help="number of runs; the median counts")
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--only", action="append", default=[], metavar="NAME",
                      help="only programs whose name contains NAME; may be repeated")  # fmt: skip
    made.add_argument("--python", action="append", default=[], metavar="PATH",
                      help="interpreter to search for pedalboard, pyo and scipy")  # fmt: skip
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a goal is missed."""
    options = parser().parse_args(argv)
    if options.runs < 1:
        parser().error("--runs must be 1 or more")
    common.print_heading("One mix rendered to a file: four decks of four stems at rate 1.06")
    scene = mix_scene(options.stem_seconds)
    renderers = chosen(all_renderers(Interpreters(options.python)), options.only)
    bar = common.Progress((options.runs + 1) * len(renderers))
    every = measure(renderers, scene, options.runs, bar)
    bar.close()
    print(f"median of {options.runs} runs, {scene.seconds:.1f} s of sound\n")
    if table := rows(every, scene):
        print(common.table(table))
    print()
    for each in every:
        left_out = f"; leaves out {each.renderer.leaves_out}" if each.renderer.leaves_out else ""
        if each.version is None:
            print(f"{each.renderer.name}: absent ({each.renderer.get})")
        elif each.failed:
            print(f"{each.renderer.name}: failed: {each.failed}")
        else:
            print(f"{each.renderer.name}: {each.renderer.does}{left_out}")
    short_of = missed(every, scene)
    print("\ngoal reached" if not short_of else "\ngoal missed: " + "; ".join(short_of))
    common.write_json(
        options.json,
        {
            "machine": common.machine(),
            "seconds": scene.seconds,
            "runs": options.runs,
            "programs": [figures(each, scene) for each in every],
            "missed": short_of,
        },
    )
    return 1 if short_of else 0


if __name__ == "__main__":
    sys.exit(main())
