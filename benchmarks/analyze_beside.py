"""Does analysing tracks disturb a playing server on the same machine?

    python benchmarks/analyze_beside.py [--seconds 20] [--turns 2] [--jobs N]

Sixteen stems play. Stretches alone alternate with stretches beside `crowdstream analyze`, which
keeps every core busy, so that other load on the machine affects both alike. In the last stretch,
as many programs compute at ordinary priority: the effect of an analysis that did not give way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.live import ERRORS, live_server
from benchmarks.mix import RATES, Window, play_decks, wait_loaded
from tests.support.environment import PROJECT
from tests.support.server import Running

SETTLE_SECONDS = 3.0  # until all workers are computing
SPIN = "while True: pass"


class Analysing:
    """Runs `crowdstream analyze --background --again` repeatedly during a `with` block."""

    def __init__(self, folders: Sequence[Path], jobs: int) -> None:
        self._stop = threading.Event()
        self._folder = tempfile.TemporaryDirectory()
        library = Path(self._folder.name) / "library.db"
        self._command = [
            sys.executable, "-P", "-m", "crowdstream", "analyze", "--background", "--again",
            "--quiet", "--jobs", str(jobs), "--library", str(library), *map(str, folders),
        ]  # fmt: skip
        self.runs = 0
        self.failed = ""
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Analysing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join()
        self._folder.cleanup()

    def _run(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        while not self._stop.is_set() and not self.failed:
            self._process = subprocess.Popen(
                self._command, env=environment, stderr=subprocess.PIPE, text=True
            )
            _, output = self._process.communicate()
            if not self._stop.is_set():
                self.runs += 1
                self.failed = output if self._process.returncode else ""


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Run this many busy programs at ordinary priority."""
    programs = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def row(name: str, reading: dict[str, Any]) -> dict[str, Any]:
    """Return one stretch as a row of the table."""
    return {
        "stretch": name,
        "render_p50_ms": round(reading["render_p50_ms"], 4),
        "render_p99_ms": round(reading["render_p99_ms"], 4),
        "render_max_ms": round(reading["render_max_ms"], 3),
        "interval_max_ms": round(reading["interval_max_ms"], 3),
        "over_budget": reading["over_budget"],
        "missed": reading["underruns"],
    }


def measure(
    server: Running, folders: Sequence[Path], options: argparse.Namespace, bar: common.Progress
) -> list[dict[str, Any]]:
    """Measure all stretches; return their rows."""
    rows = []
    window = Window(server)
    for turn in range(1, options.turns + 1):
        window.begin()
        bar.wait(options.seconds, f"alone ({turn})")
        rows.append(row("alone", window.end()))
        with Analysing(folders, options.jobs) as analysing:
            bar.wait(SETTLE_SECONDS, "the analysis begins")
            window.begin()
            bar.wait(options.seconds, f"beside the analysis ({turn})")
            rows.append(row("beside the analysis", window.end()))
        if analysing.failed:
            raise common.BenchmarkError(f"the analysis failed: {analysing.failed.strip()}")
    with spinning(options.jobs):
        bar.wait(SETTLE_SECONDS, "ordinary programs begin")
        window.begin()
        bar.wait(options.seconds, "beside ordinary programs")
        rows.append(row("beside ordinary programs", window.end()))
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Does analysing disturb a playing server?")
    made.add_argument("--seconds", type=float, default=20.0, help="length of each stretch")
    made.add_argument("--turns", type=int, default=2)
    made.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--buffer-size", type=int, default=256)
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if more deadlines are missed beside the analysis than alone."""
    options = parser().parse_args(argv)
    common.print_heading("Analysing tracks while 16 stems play")
    stretches = (2 * options.turns + 1) * options.seconds
    bar = common.Progress(stretches + (options.turns + 1) * SETTLE_SECONDS)
    try:
        data = round(options.stem_seconds * material.RATE) * material.FRAME_BYTES
        folders = material.deck_folders(data)
        with open_card(options, options.buffer_size) as card, live_server(
            *card.flags(options.buffer_size), "--no-http", env=card.env
        ) as server:
            play_decks(server, folders, RATES)
            wait_loaded(server)
            rows = measure(server, folders, options, bar)
    except ERRORS as error:
        bar.close()
        print(f"analyze_beside: {error}", file=sys.stderr)
        return 1
    bar.close()
    print(f"card: {card.name}; {options.jobs} tracks at a time\n")
    print(common.table(rows))
    common.write_json(options.json, {"machine": common.machine(), "rows": rows})

    def missed(name: str) -> int:
        return sum(int(one["missed"]) for one in rows if one["stretch"] == name)

    alone, beside = missed("alone"), missed("beside the analysis")
    verdict = "met" if beside <= alone else "missed"
    counts = f"{alone} alone, {beside} beside it"
    print(f"\ngoal: no deadline is missed because of it: {verdict} ({counts})")
    return 0 if beside <= alone else 1


if __name__ == "__main__":
    sys.exit(main())
