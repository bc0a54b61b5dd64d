"""How much memory the server takes besides the sound: 16 stems of a minute, playing.

    python benchmarks/memory.py

Counted is the proportional set size (PSS) of all its processes, which gives each page that
several share to them in equal parts; from the sum the stems' own PCM bytes are taken off.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks import common, material
from benchmarks.cards import add_card_arguments, open_card
from benchmarks.live import LiveServer
from benchmarks.mix import RATES, play_decks, wait_loaded
from contrib.soundcard import SoundCardError

GOAL_MB = 300.0
STANDBY_SECONDS = 60.0  # that a standby may take to be ready


def pss_bytes(server: LiveServer) -> dict[str, int]:
    """PSS of each process of the server."""
    server.find_processes()
    found = {"guardian": psutil.Process(server.pid), **server.processes}
    return {name: int(process.memory_full_info().pss) for name, process in found.items()}


def desk_bytes(server: LiveServer) -> int:
    """Memory that the shared block takes, whoever has it mapped."""
    with server.desk() as desk:
        return os.fstat(desk.fd).st_blocks * 512


def measure(server: LiveServer, folders: Sequence[Path], seconds: float) -> dict[str, Any]:
    """Play everything for a while; then the figures, in MB (10**6 bytes)."""
    # All of the server is there, so what is compared is the same processes.
    server.until(lambda now: now["standby"] != "none", STANDBY_SECONDS, "a standby")
    idle = sum(pss_bytes(server).values())
    play_decks(server, folders, RATES)
    wait_loaded(server)
    time.sleep(seconds)
    playing = int(server.status()["voices"])
    if playing != len(folders):
        raise common.BenchmarkError(f"{playing} of {len(folders)} decks play")
    sizes = [path.stat().st_size for folder in folders for path in folder.iterdir()]
    pcm = sum(sizes) - 44 * len(sizes)
    each = pss_bytes(server)
    total = sum(each.values())
    result: dict[str, Any] = {f"{name}_mb": round(size / 1e6, 1) for name, size in each.items()}
    result |= {
        "all_processes_mb": round(total / 1e6, 1),
        "stems": len(sizes),
        "pcm_mb": round(pcm / 1e6, 1),
        "besides_pcm_mb": round((total - pcm) / 1e6, 1),
        "before_loading_mb": round(idle / 1e6, 1),
        "shared_block_mb": round(desk_bytes(server) / 1e6, 1),
        "goal_mb": GOAL_MB,
        "reached": total - pcm <= GOAL_MB * 1e6,
    }
    return result


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Memory of the server, without the sound.")
    made.add_argument("--stem-seconds", type=float, default=60.0)
    made.add_argument("--seconds", type=float, default=5.0, help="to play before it is measured")
    made.add_argument("--buffer-size", type=int, default=512)
    made.add_argument("--json", type=Path, metavar="FILE")
    add_card_arguments(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when the goal is missed."""
    options = parser().parse_args(argv)
    common.print_heading("Memory besides the stems' samples: 16 stems loaded and playing")
    try:
        data = round(options.stem_seconds * material.RATE) * material.FRAME_BYTES
        folders = material.deck_folders(data)
        with (
            open_card(options, options.buffer_size) as card,
            LiveServer(*card.flags(options.buffer_size), env=card.env) as server,
        ):
            result = measure(server, folders, options.seconds)
    except (common.BenchmarkError, SoundCardError, OSError) as error:
        print(f"memory: {error}", file=sys.stderr)
        return 1
    print(f"card: {card.name}\n")
    for name, value in result.items():
        print(f"{name:18} {value}")
    common.write_json(options.json, [result])
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
