"""Cost of `render`: by stems, by silent stems, and by block size. No device, no files.

    python benchmarks/cost.py
    python benchmarks/cost.py --json cost.json --plot cost.png

Tracks of four stems (16-bit stereo) play in a loop at rate 1.06, with the equaliser of every deck
on. Each cost is the median time of `render` over the rendered blocks, in nanoseconds per frame of
the mix and in percent of the block's duration, which is the budget.

Each table is a function in `TABLES`; a new table is another function of that form.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import common, material
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.desk.ramps import VOICE_STEM, voice_ramp
from crowdstream.desk.rings import push_commands
from crowdstream.engine.render import render
from crowdstream.engine.schedule.ledger import begin_block
from crowdstream.offline.session import Session
from crowdstream.settings import Settings

STEMS = (1, 4, 16, 64)
SOUNDING = (64, 48, 32, 16, 0)  # of 64 loaded stems
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048)
USUAL_STEMS, USUAL_BLOCK = 16, 256
STEMS_OF_A_TRACK = len(material.STEMS)
RATE = 1.06
BANDS = {"low": 0.7, "mid": 0.9, "high": 0.8}  # none is flat, so that the filters run
VOLUME = 0.3
ARENA_BYTES = 160_000_000  # 64 stems of 10 s take 113 MB
STEM_SECONDS = 10.0
SILENCE = 1e-5  # peak; the filters' remaining state is below this
SETTLE_SECONDS = 0.5  # for ramps to end and filters to warm up
MIN_BLOCKS = 20
BUFFERS_OF_A_DECK = 1000
FIRST_BUFFER = 100


@dataclass(frozen=True)
class Load:
    """The load to render: playing stems, how many of them are audible, and frames per block."""

    stems: int
    sounding: int
    block: int


@dataclass(frozen=True)
class Cost:
    """Median and 99th percentile of the time per block, in ns."""

    load: Load
    median_ns: float
    p99_ns: float
    sample_rate: float

    @property
    def frame_ns(self) -> float:
        """Nanoseconds per frame."""
        return self.median_ns / self.load.block

    @property
    def percent(self) -> float:
        """Percent of the block's duration."""
        return 100.0 * self.frame_ns * 1e-9 * self.sample_rate


@dataclass(frozen=True)
class Table:
    """A finished table: rows to print and write, and one curve of the plot."""

    name: str
    title: str
    rows: list[dict[str, float]]
    x: str  # column for the plot's x axis
    logarithmic: bool
    remark: str = ""


class Mixer(Session):
    """A mixer that records failed commands."""

    def __init__(self, *arguments: Any) -> None:
        self.failures: list[str] = []
        super().__init__(*arguments)

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Record failures."""
        if address == "/fail":
            self.failures.append(" ".join(map(str, arguments)))


@contextmanager
def playing(load: Load, stem_seconds: float) -> Iterator[Session]:
    """Yield a mixer that plays `load`, with all data in memory and all ramps ended."""
    data = round(stem_seconds * material.RATE) * material.FRAME_BYTES
    folders = material.deck_folders(data)
    tracks = max(1, load.stems // STEMS_OF_A_TRACK)
    with Mixer(Settings(), ARENA_BYTES, float(material.RATE), load.block) as mixer:
        for deck, (band, gain) in itertools.product("ABCD", BANDS.items()):
            mixer.send(f"/deck/{deck}/eq/{band}", gain, 0.0)
        for track in range(tracks):
            # Distribute the tracks over the decks, so that all EQs have the same load.
            buffer = FIRST_BUFFER + BUFFERS_OF_A_DECK * (track % 4) + track // 4
            folder = folders[track % 4]
            path = folder if load.stems > 1 else folder / f"{material.STEMS[0]}.wav"
            mixer.send("/load_buffer", buffer, str(path))
        mixer.load()
        for track in range(tracks):
            buffer = FIRST_BUFFER + BUFFERS_OF_A_DECK * (track % 4) + track // 4
            mixer.send("/play_stem", buffer, RATE, VOLUME, 1)
        if mixer.failures:
            raise common.BenchmarkError("; ".join(mixer.failures))
        mixer.render(load.block)
        _silence(mixer, load, tracks)
        for _ in range(round(SETTLE_SECONDS * material.RATE / load.block)):
            mixer.render(load.block)
        yield mixer


def _silence(mixer: Session, load: Load, tracks: int) -> None:
    # Silence the same stems of every track. Only a deck's first track has an OSC command for this,
    # so the ramps of all voices are set directly.
    silent = range(load.sounding // tracks, load.stems // tracks)
    for slot, stem in itertools.product(np.flatnonzero(mixer.desk.voices["state"]), silent):
        command = np.zeros(1, COMMAND)
        command["op"] = OP_RAMP
        command["index"] = voice_ramp(int(slot), VOICE_STEM + stem)
        push_commands(mixer.desk, command)


def measure(load: Load, seconds: float, stem_seconds: float = STEM_SECONDS) -> Cost:
    """Render `seconds` of sound and time each block.

    Raise `BenchmarkError` unless all tracks play throughout, from memory.
    """
    out = np.zeros((load.block, 2), np.float32)
    count = max(MIN_BLOCKS, round(seconds * material.RATE / load.block))
    times = np.empty(count)
    with playing(load, stem_seconds) as mixer:
        desk = mixer.desk
        for number in range(count):
            begin = time.perf_counter_ns()
            begin_block(desk.address, load.block, begin, False)
            begin = time.perf_counter_ns()
            render(desk, out)
            times[number] = time.perf_counter_ns() - begin
        voices = int(np.count_nonzero(desk.voices["state"]))
        missing = int(desk.ledger["missing_frames"])
    if voices != max(1, load.stems // STEMS_OF_A_TRACK) or missing:
        raise common.BenchmarkError(f"{voices} tracks play, {missing} frames were not in memory")
    loudest = float(np.max(np.abs(out)))
    if (loudest > SILENCE) != (load.sounding > 0):
        raise common.BenchmarkError(f"{load.sounding} stems sound and the peak is {loudest:g}")
    return Cost(
        load, float(np.median(times)), float(np.percentile(times, 99)), float(material.RATE)
    )


def _row(cost: Cost, **first: float) -> dict[str, float]:
    return first | {
        "ns_per_frame": round(cost.frame_ns, 1),
        "percent_of_budget": round(cost.percent, 3),
        "p99_us_per_block": round(cost.p99_ns / 1000.0, 1),
    }


def by_stems(run: Callable[[Load], Cost]) -> Table:
    """Cost by number of stems, all audible."""
    costs = [run(Load(stems, stems, USUAL_BLOCK)) for stems in STEMS]
    rows = [
        _row(cost, stems=cost.load.stems)
        | {"ns_per_frame_and_stem": round(cost.frame_ns / cost.load.stems, 2)}
        for cost in costs
    ]
    return Table(
        "stems", f"All stems sounding, four to a track, blocks of {USUAL_BLOCK}", rows, "stems",
        logarithmic=False, remark=linearity(costs),
    )  # fmt: skip


def linearity(costs: Sequence[Cost]) -> str:
    """Describe the costs' deviation from a straight line over the stems."""
    stems = np.array([cost.load.stems for cost in costs], float)
    nanoseconds = np.array([cost.frame_ns for cost in costs])
    slope, base = np.polyfit(stems, nanoseconds, 1)
    worst = float(np.max(np.abs(nanoseconds / (base + slope * stems) - 1.0)))
    return (
        f"a frame takes {base:.0f} ns and {slope:.2f} ns for each stem; "
        f"no row is further than {worst:.0%} from that line"
    )


def by_silence(run: Callable[[Load], Cost]) -> Table:
    """Cost of 64 playing stems by number of audible ones; the others have a gain of 0."""
    costs = [run(Load(max(SOUNDING), sounding, USUAL_BLOCK)) for sounding in SOUNDING]
    rows = [_row(cost, sounding=cost.load.sounding) for cost in costs]
    full, silent = costs[0].frame_ns, costs[-1].frame_ns
    return Table(
        "silence", f"{max(SOUNDING)} stems playing, the others at gain 0, blocks of {USUAL_BLOCK}",
        rows, "sounding", logarithmic=False,
        remark=f"all silent costs {silent / full:.0%} of all sounding",
    )  # fmt: skip


def by_block(run: Callable[[Load], Cost]) -> Table:
    """Cost of the same mix by block size."""
    costs = [run(Load(USUAL_STEMS, USUAL_STEMS, block)) for block in BLOCKS]
    rows = [_row(cost, block=cost.load.block) for cost in costs]
    return Table(
        "block", f"{USUAL_STEMS} stems in 4 tracks, by the block's frames", rows, "block",
        logarithmic=True,
    )  # fmt: skip


TABLES: tuple[Callable[[Callable[[Load], Cost]], Table], ...] = (by_stems, by_silence, by_block)
MEASUREMENTS = len(STEMS) + len(SOUNDING) + len(BLOCKS)


def plotter() -> Any:
    """Return matplotlib's pyplot without a display. Raise `BenchmarkError` without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise common.BenchmarkError(
            f"--plot needs matplotlib ({error}): pip install matplotlib, or leave --plot out"
        ) from None
    return pyplot


def plot(pyplot: Any, tables: Sequence[Table], path: Path) -> None:
    """Plot the tables side by side into a PNG file."""
    figure, axes = pyplot.subplots(1, len(tables), figsize=(5 * len(tables), 4), squeeze=False)
    for table, axis in zip(tables, axes[0], strict=True):
        x = [row[table.x] for row in table.rows]
        axis.plot(x, [row["ns_per_frame"] for row in table.rows], "o-")
        axis.set_title(table.title, fontsize=8)
        axis.set_xlabel(table.x)
        axis.set_ylabel("ns per frame")
        axis.set_ylim(bottom=0)
        if table.logarithmic:
            axis.set_xscale("log", base=2)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Cost of render by stems and block size.")
    made.add_argument("--seconds", type=float, default=10.0, help="seconds of sound per row")
    made.add_argument("--json", type=Path, metavar="FILE")
    made.add_argument("--plot", type=Path, metavar="FILE.png")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if something did not play."""
    options = parser().parse_args(argv)
    common.print_heading("Cost of render")
    bar = common.Progress(MEASUREMENTS)

    def run(load: Load) -> Cost:
        cost = measure(load, options.seconds)
        bar.add(1.0, f"{load.sounding} of {load.stems} stems, blocks of {load.block}")
        return cost

    try:
        pyplot = plotter() if options.plot else None  # fail before the measurement, not after it
        try:
            tables = [make(run) for make in TABLES]
        finally:
            bar.close()
        for table in tables:
            print(f"\n{table.title}\n{common.table(table.rows)}")
            if table.remark:
                print(table.remark)
        common.write_json(
            options.json,
            {"machine": common.machine()}
            | {table.name: {"title": table.title, "remark": table.remark, "rows": table.rows}
               for table in tables},
        )  # fmt: skip
        if pyplot:
            plot(pyplot, tables, options.plot)
    except (common.BenchmarkError, OSError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
