"""Play the same 16 stems live with this project and with comparable programs on one JACK server.

    python benchmarks/live_peers.py
    python benchmarks/live_peers.py --seconds 30 --python ~/venv/bin/python --json live_peers.json

The scene is that of `peers.py`: four decks of four stems at rate 1.06, a gain per stem, a 3-band
equaliser per deck, and a limiter. It is played on a JACK server with the dummy driver and real-time
priority (also for its clients), with several periods. Measured in the middle of the scene: CPU time
of all processes of a program, in percent of a core, and the periods that JACK reports as missed.
This project runs as it is used: with control, loader and a standby engine that plays along
silently. The programs play one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks import common
from benchmarks.live import ERRORS, live_server
from benchmarks.mix import wait_loaded
from benchmarks.renderers import csound, pyo, supercollider
from benchmarks.renderers.base import Interpreters, Renderer
from benchmarks.renderers.ours import deck_commands, link_stems
from benchmarks.scene import Scene, mix_scene
from contrib.soundcard import JackDummy

PERIODS = (64, 256, 1024)
SETTLE_SECONDS = 4.0  # from the beginning of the music to that of the measurement
START_SECONDS = 3.0  # for a program to connect to JACK
END_SECONDS = 10.0


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU time of processes, user and system. Raises `psutil.NoSuchProcess`."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(
    processes: Callable[[], Sequence[psutil.Process]], card: JackDummy, seconds: float
) -> dict[str, float]:
    """Measure for `seconds`: `cpu` in percent of a core, `missed` periods."""
    time.sleep(SETTLE_SECONDS)
    there = processes()
    log = card.log.read_bytes()
    before, begin = cpu_seconds(there), time.monotonic()
    time.sleep(seconds)
    used, passed = cpu_seconds(there) - before, time.monotonic() - begin
    news = card.log.read_bytes()[len(log) :]
    return {"cpu": 100.0 * used / passed, "missed": float(news.count(b"XRun"))}


@contextlib.contextmanager
def playing_peer(
    renderer: Renderer, scene: Scene, folder: Path, card: JackDummy
) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Play the scene with another program; yield a function that returns its processes."""
    command = renderer.live_command(scene, folder, card.frames)
    assert command is not None
    output = folder / "output.txt"
    with output.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **card.env}, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        time.sleep(START_SECONDS)
        renderer.begin_live(scene)
        if process.poll() is not None:
            said = output.read_text(errors="replace").strip()[-300:]
            raise common.BenchmarkError(f"{renderer.name} ended: {said}")
        top = psutil.Process(process.pid)
        yield lambda: [top, *top.children(recursive=True)]
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def playing_here(
    scene: Scene, folder: Path, card: JackDummy
) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Play the scene with this project; yield a function that returns its processes."""
    flags = ("--driver", "pyaudio", "--buffer-size", str(card.frames), "--no-http")
    with live_server(*flags, env=card.env) as server:
        client = server.client
        for letter, track in link_stems(scene, folder).items():
            client.request(f"/deck/{letter}/load", str(track), answer="/done")
        wait_loaded(server)
        for letter, deck in zip("ABCD", scene.decks, strict=False):
            for command in deck_commands(deck, scene):
                name, *values = command.split()
                client.send(f"/deck/{letter}/{name}", *map(float, values))
        client.request("/sync", 1, answer="/synced")
        yield lambda: list(server.processes().values())


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure everything; return one row per program and period."""
    interpreters = Interpreters(options.python)
    peers: list[Renderer] = [
        *supercollider.variants(), *csound.variants(), *pyo.variants(interpreters)
    ]  # fmt: skip
    scene = mix_scene(options.stem_seconds)
    rows: list[dict[str, Any]] = []
    here = "crowdstream"
    names = [here, *(one.name for one in peers if one.version() is not None)]
    missing = [f"{one.name}: {one.get}" for one in peers if one.version() is None]
    if missing:
        print(f"not installed: {'; '.join(missing)}")
    by_name = {one.name: one for one in peers}
    progress = common.Progress(float(len(names) * len(PERIODS)))
    for frames in PERIODS:
        for name in names:
            progress.add(0.0, f"{frames}: {name}")
            with (
                tempfile.TemporaryDirectory() as folder,
                JackDummy(frames=frames, realtime=True) as card,
                playing_here(scene, Path(folder), card)
                if name == here
                else playing_peer(by_name[name], scene, Path(folder), card) as processes,
            ):
                found = measure(processes, card, options.seconds)
            rows.append({"frames": frames, "program": name, **found})
            progress.add(1.0)
    progress.close()
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--python", action="append", default=[], metavar="INTERPRETER")
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = parser().parse_args(argv)
    common.print_heading("16 stems with EQ, played live on a JACK dummy with real-time priority")
    try:
        rows = run(options)
    except (*ERRORS, TimeoutError, psutil.Error) as error:
        print(f"live_peers: {error}", file=sys.stderr)
        return 1
    print(
        common.table([
            {**row, "cpu": f"{row['cpu']:.1f} %", "missed": f"{row['missed']:.0f}"} for row in rows
        ])
    )  # fmt: skip
    common.write_json(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
