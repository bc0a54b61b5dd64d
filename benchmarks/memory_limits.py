"""Whether the server keeps to its memory: thousands of random loads, seeks, loops and evictions.

    python benchmarks/memory_limits.py

On a small budget, four decks are given short and long files, folders of stems and a file of six
hours; they play, jump, loop, get hot cues, effects, keylock, and are unloaded again, at random
(seeded). All along, the proportional set size (PSS) of all processes together is looked at. It
may not exceed the budget by more than 300 MB, and at the end, with everything unloaded, pages,
descriptors, threads and processes must be what they were at the beginning.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common, material
from benchmarks.live import LiveServer
from crowdstream.engine.effects import MODULES
from tests.support.wav_header import wav_header

PAUSE = 0.005  # s between messages: tracks are to be read, not only to be asked for
OVER_MB = 300.0  # that all processes together may take besides the budget
LOOK_EVERY = 100  # messages
WAIT_EVERY = 10  # messages, after which the server is asked whether it has done them
DECKS = "ABCD"
BUFFERS = 6  # of each deck that are used: with what is in them, the budget is full
HOURS = 6


def six_hours(folder: Path) -> Path:
    """A WAV with a 64-bit head (RF64), 24 bits, 5.7 GB of which nothing is on the disk."""
    size = HOURS * 3600 * material.RATE * 6
    form = struct.pack("<HHIIHH", 1, 2, material.RATE, material.RATE * 6, 6, 24)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 72, size, size // 6, 0)
    head = b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + b"fmt " + struct.pack("<I", 16) + form
    head += b"data" + b"\xff" * 4
    path = folder / "six_hours.wav"
    path.write_bytes(head)
    os.truncate(path, len(head) + size)
    return path


def short_files(folder: Path) -> list[Path]:
    """Files and folders of seconds to minutes."""
    made: list[Path] = []
    for number, seconds in enumerate((1, 5, 20, 90, 400)):
        data = material.pattern(number).tobytes()
        wanted = seconds * material.RATE * material.FRAME_BYTES
        path = folder / f"{seconds}s.wav"
        with path.open("wb") as file:
            file.write(wav_header(wanted))
            for left in range(wanted, 0, -len(data)):
                file.write(data[:left])
        made.append(path)
    stems = folder / "stems"
    stems.mkdir()
    for name in material.STEMS:
        os.link(made[2], stems / f"{name}.wav")
    return [*made, stems]


class Player:
    """Random messages, the same for the same seed."""

    def __init__(self, server: LiveServer, paths: Sequence[Path], seed: int) -> None:
        self._server = server
        self._paths = paths
        self._dice = random.Random(seed)
        self.sent: Counter[str] = Counter()

    def step(self) -> None:
        """One message."""
        dice = self._dice
        deck = f"/deck/{dice.choice(DECKS)}"
        buffer = 100 + 1000 * dice.randrange(4) + dice.randrange(BUFFERS)
        path = str(dice.choice(self._paths))
        kinds: list[tuple[float, str, tuple[Any, ...]]] = [
            (1, "load", (path, dice.random())),
            (3, "/load_buffer", (buffer, path)),
            (10, "/play_stem", (buffer, 1.0, 0.5, 1, dice.random())),
            (10, "play", (0.0, dice.randint(0, 1))),
            (35, "seek/fraction", (dice.random(),)),
            (10, "loop", (2.0 ** dice.randint(-3, 6),)),
            (3, "loop/exit", ()),
            (5, "hotcue/set", (dice.randint(1, 8),)),
            (5, "hotcue", (dice.randint(1, 8),)),
            (5, "rate", (dice.uniform(0.5, 2.0),)),
            (0.3, "unload", ()),
            (3, "fx/insert", (dice.randint(1, 4), dice.choice(sorted(MODULES)))),
            (3, "fx/remove", (dice.randint(1, 4),)),
            (1, "keylock", (dice.randint(0, 1),)),
        ]
        [(_, name, arguments)] = dice.choices(kinds, [kind[0] for kind in kinds])
        self.sent[name] += 1
        self._server.say(name if name[0] == "/" else f"{deck}/{name}", *arguments)


def processes(server: LiveServer) -> list[psutil.Process]:
    """All processes of the server."""
    root = psutil.Process(server.pid)
    return [root, *root.children(recursive=True)]


def pss_mb(server: LiveServer) -> float:
    """PSS of all processes together, in MB (10**6 bytes)."""
    return sum(int(process.memory_full_info().pss) for process in processes(server)) / 1e6


def inventory(server: LiveServer) -> dict[str, int]:
    """What must be the same at the end."""
    status = server.status_anyway()
    all_of_them = processes(server)
    return {
        "processes": len(all_of_them),
        "descriptors": sum(process.num_fds() for process in all_of_them),
        "threads": sum(process.num_threads() for process in all_of_them),
        "pages_used_mb": round(status["pages_used_mb"]),
        "pages_reserved_mb": round(status["pages_reserved_mb"]),
    }


def empty(server: LiveServer) -> None:
    """Unload everything, effects included."""
    for deck in DECKS:
        for slot in range(1, 5):
            server.say(f"/deck/{deck}/fx/remove", slot)
    server.say("/mixer_cleanup")
    deadline = time.monotonic() + 60.0
    while server.status_anyway()["pages_used_mb"] > 0.0:
        if time.monotonic() > deadline:
            raise common.BenchmarkError("pages are left that belong to no track")
        time.sleep(0.3)


def warm_up(server: LiveServer, folder: Path, path: Path) -> None:
    """Use everything once that starts with its first use: recorder, taps, keylock, effects."""
    for deck in DECKS:
        server.say(f"/deck/{deck}/load", str(path))
        server.say(f"/deck/{deck}/play", 0.0, 1)
        server.say(f"/deck/{deck}/keylock", 1)
        for slot, name in enumerate(sorted(MODULES)[:4], 1):
            server.say(f"/deck/{deck}/fx/insert", slot, name)
    for number, name in enumerate(sorted(MODULES)[4:]):
        chain = ("/bus/1", "/bus/2", "/mix")[number // 4 % 3]
        server.say(f"{chain}/fx/insert", number % 4 + 1, name)
    server.say("/record/start", str(folder / "all.wav"), "master", "cue", *DECKS)
    time.sleep(5.0)
    server.say("/record/stop")
    time.sleep(1.0)


def play(
    server: LiveServer, folder: Path, messages: int, budget: int, seed: int
) -> dict[str, Any]:
    """All of it; the figures."""
    short = short_files(folder)
    server.page()  # it is among what is counted
    result: dict[str, Any] = {"budget_mb": budget, "at_start_mb": round(pss_mb(server), 1)}
    warm_up(server, folder, short[2])
    result["everything_used_mb"] = round(pss_mb(server), 1)
    empty(server)
    time.sleep(1.0)
    begin = inventory(server)
    player = Player(server, [*short, six_hours(folder)], seed)
    most = used = 0.0
    for number in range(1, messages + 1):
        player.step()
        time.sleep(PAUSE)
        if number % WAIT_EVERY == 0:
            server.status_anyway()
        if number % LOOK_EVERY == 0:
            most = max(most, pss_mb(server))
            used = max(used, server.status_anyway()["pages_used_mb"])
    status = server.status_anyway()
    time.sleep(1.0)
    empty(server)
    time.sleep(1.0)
    end = inventory(server)
    result |= {
        "messages": messages,
        **{name.strip("/").replace("/", "_"): count for name, count in sorted(player.sent.items())},
        "most_mb": round(most, 1),
        "pages_most_mb": round(used, 1),
        "over_budget_mb": round(most - budget, 1),
        "allowed_over_mb": OVER_MB,
        "at_end_mb": round(pss_mb(server), 1),
        "pages_evicted": status["pages_evicted"],
        "pages_hit_rate": round(status["pages_hit_rate"], 3),
        "begin": begin,
        "end": end,
        "kept": most - budget <= OVER_MB and begin == end,
    }
    return result


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Whether the server keeps to its memory.")
    made.add_argument("--messages", type=int, default=10_000)
    made.add_argument("--memory", type=int, default=256, metavar="MB")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when a limit is not kept."""
    options = parser().parse_args(argv)
    common.print_heading("Memory under random loads, seeks, loops and evictions")
    flags = (
        "--driver", "null", "--http", "--buffer-size", "512", "--memory", str(options.memory),
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as name, LiveServer(*flags) as server:
            result = play(server, Path(name), options.messages, options.memory, options.seed)
    except (common.BenchmarkError, OSError) as error:
        print(f"memory_limits: {error}", file=sys.stderr)
        return 1
    print()
    for key, value in result.items():
        print(f"{key:20} {value}")
    common.write_json(options.json, [result])
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
