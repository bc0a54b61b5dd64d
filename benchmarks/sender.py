"""Send OSC messages at a constant rate from a separate process.

A sender in the measuring process would share its interpreter lock.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from benchmarks.common import BenchmarkError
from benchmarks.material import forget_cached
from crowdstream.osc.socket import build
from tests.support.environment import PROJECT

DISTINCT = 2000  # prepared packets, which are sent repeatedly
STEP_SECONDS = 0.001
FIRST_SPARE = 110  # first buffer for the extra files
SPARES = 2


def mixing_messages(count: int, seed: int = 1) -> list[bytes]:
    """Return packets of a busy sequencer: levels, EQ, filters, stems, tempo."""
    dice = random.Random(seed)

    def level() -> float:
        return dice.uniform(0.5, 1.0)

    def one() -> bytes:
        deck, band = dice.choice("ABCD"), dice.choice(("low", "mid", "high"))
        choices: list[tuple[str, tuple[Any, ...]]] = [
            ("/deck_levels", (level(), level(), level(), level())),
            ("/crossfade_levels", (level(), level())),
            ("/deck_eq", (deck, band, dice.uniform(10.0, 45.0))),
            ("/deck_filter", (deck, band, level())),
            ("/stem_volume", (dice.choice((100, 1100, 2100, 3100)), level())),
            (f"/deck/{deck}/stem/{dice.randint(1, 4)}", (level(),)),
            ("/set_tempo", (dice.uniform(119.0, 121.0),)),
            ("/dance/total_movement", (dice.random(),)),
        ]
        return build(*dice.choice(choices))

    return [one() for _ in range(count)]


def wrong_messages(count: int, seed: int = 2) -> list[bytes]:
    """Return packets that must fail: each has to be answered and counted."""
    dice = random.Random(seed)
    kinds = [
        build("/no/such/address", (1,)),
        build("/deck_levels", ("loud",)),
        build("/deck_eq", ("E", "low", 10.0)),
        build("/stem_volume", (100, float("nan"))),
        build("/stop_stem", (7,)),
        b"not OSC at all",
        b"/cut\0\0\0\0,f\0\0" + struct.pack(">H", 1),
    ]
    return [dice.choice(kinds) for _ in range(count)]


def _run(request: dict[str, Any]) -> dict[str, Any]:
    # Until the time is over or standard input is closed.
    packets = mixing_messages(DISTINCT)
    if request["wrong"]:
        packets += wrong_messages(DISTINCT // 20)
        random.Random(3).shuffle(packets)
    rate, seconds = float(request["rate"]), float(request["seconds"])
    path, load_every = request["load"], float(request["load_every"])
    target = ("127.0.0.1", int(request["port"]))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sent = loads = loaded = 0
    begin = time.monotonic()
    worst = 0.0
    while (now := time.monotonic() - begin) < seconds:
        due = min(int(now * rate), round(seconds * rate))
        worst = max(worst, (due - sent) / rate if rate else 0.0)
        while sent < due:
            sock.sendto(packets[sent % len(packets)], target)
            sent += 1
        if path and now >= loads * load_every:
            forget_cached(Path(path))
            buffer = FIRST_SPARE + loads % SPARES
            sock.sendto(build("/load_buffer", (buffer, path)), target)
            loads += 1
        loaded += _answered(sock)
        if select.select([0], [], [], 0)[0]:
            break
        time.sleep(STEP_SECONDS)
    else:
        # The remaining ones, which the time limit has cut off.
        while sent < round(seconds * rate):
            sock.sendto(packets[sent % len(packets)], target)
            sent += 1
    took = time.monotonic() - begin
    return {
        "sent": sent + loads, "seconds": took, "loads": loads, "loaded": loaded,
        "worst_pause_ms": worst * 1e3,
    }  # fmt: skip


def _answered(sock: socket.socket) -> int:
    # Empty the socket; return how many files the server reports as loaded.
    done = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(1000):
            done += sock.recv(65536, socket.MSG_DONTWAIT).startswith(b"/done\0")
    return done


class Sender:
    """A sending process. `rate`: messages per second; `seconds`: time until it ends.

    `load`: a file to load every `load_every` seconds, from the disk each time; `wrong`: one
    message in twenty is invalid.
    """

    def __init__(
        self, port: int, rate: float, seconds: float, load: Path | None = None,
        load_every: float = 5.0, wrong: bool = False,
    ) -> None:  # fmt: skip
        request = {
            "port": port, "rate": rate, "seconds": seconds, "wrong": wrong,
            "load": str(load) if load else "", "load_every": load_every,
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sender", json.dumps(request)],
            cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def wait_begun(self) -> None:
        """Wait until the first message is about to be sent."""
        assert self._process.stdout
        if not self._process.stdout.readline():
            raise BenchmarkError("the sender did not start")

    def result(self) -> dict[str, Any]:
        """End it; return `sent`, `seconds`, `loads`, `loaded` and `worst_pause_ms`."""
        out, _ = self._process.communicate("")
        done: dict[str, Any] = json.loads(out)
        return done

    def finished(self) -> bool:
        """Return whether everything has been sent."""
        return self._process.poll() is not None


def main(arguments: list[str]) -> int:
    """Run the process. `arguments`: the request as JSON."""
    request = json.loads(arguments[0])
    print("begun", flush=True)
    print(json.dumps(_run(request)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
