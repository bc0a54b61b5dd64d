"""Snapcast in a private network: one server, and two clients in network namespaces of their own.

    unshare -rn python -m tests.support.snapcast_rooms <folder> [seconds]

A CrowdStream server plays music and broadcasts it to `snapserver`. Each `snapclient` writes what
it plays to a pipe, in chunks; the time at which one begins is the time at which a sound card would
begin to play it. The results are printed as one JSON object, for the system tests and
`benchmarks/broadcast.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.broadcasts import correlation, write_music
from tests.support.osc_client import until
from tests.support.server import server

RATE = 48000  # of snapserver
WINDOW = 2.0  # s that are compared at a time
SEARCH = 0.5  # s before and behind, in which the other client's sound is looked for
SETTLE = 8.0  # s in which the clients find the server's time
FRAME_BYTES = 4
CHUNK = 2400  # frames that a client plays at once, possibly in several writes
FLAGS = ("--driver", "null", "--cache-mb", "64", "--standby", "off", "--sample-rate", str(RATE))

CONFIG = """[server]
datadir = {folder}
[http]
enabled = false
[tcp]
enabled = false
[stream]
source = tcp://127.0.0.1:{port}?name=Dance&mode=server&sampleformat=48000:16:2
source = pipe://{folder}/fifo?name=Pipe&sampleformat=48000:16:2&mode=create
buffer = 1000
[logging]
sink = file:{folder}/snapserver.log
"""


@contextlib.contextmanager
def snapserver(folder: Path) -> Iterator[int]:
    """Run snapserver for a `with` block; returns the port of its TCP source."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    config = folder / "snapserver.conf"
    config.write_text(CONFIG.format(folder=folder, port=port))
    command = ["snapserver", "-c", str(config), f"--server.datadir={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _accepts(port), what="snapserver accepts connections")
            yield port
        finally:
            process.kill()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 1704), 1):
        return True
    return False


class Room:
    """A network namespace with a `snapclient` in it."""

    def __init__(self, number: int) -> None:
        ours, theirs = f"room{number}", f"card{number}"
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "1000000"])
        pid = str(self._holder.pid)
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{pid}/ns/net") != own)
        inside = ["nsenter", "-t", pid, "-n"]
        host, guest = f"10.79.{number}.1", f"10.79.{number}.2"
        for command in (
            ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", pid],
            ["ip", "addr", "add", f"{host}/24", "dev", ours],
            ["ip", "link", "set", ours, "up"],
            [*inside, "ip", "addr", "add", f"{guest}/24", "dev", theirs],
            [*inside, "ip", "link", "set", theirs, "up"],
            [*inside, "ip", "link", "set", "lo", "up"],
        ):
            subprocess.run(command, check=True)
        self._client = subprocess.Popen(
            [*inside, "snapclient", "-h", host, "--hostID", f"room{number}", "--logsink", "null",
             "--player", "file:filename=stdout"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.times: list[tuple[float, int]] = []
        """Times at which chunks begin (monotonic), with the number of frames before each."""
        self._data = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._client.stdout is not None
        fd = self._client.stdout.fileno()
        while data := os.read(fd, 1 << 16):
            before = len(self._data) // FRAME_BYTES
            if before % CHUNK == 0:  # the rest of a chunk comes early
                self.times.append((time.monotonic(), before))
            self._data += data

    def frames(self) -> np.ndarray:
        """All frames so far, float32."""
        whole = len(self._data) // FRAME_BYTES * FRAME_BYTES
        return np.frombuffer(bytes(self._data[:whole]), "<i2").reshape(-1, 2) / np.float32(32768)

    @property
    def sounds(self) -> bool:
        """Whether the latest second is not silent."""
        return bool(np.abs(self.frames()[-RATE:]).max(initial=0.0) > 0.01)

    def await_seconds(self, seconds: float) -> None:
        """Wait until the client has played this much more."""
        end = len(self._data) + seconds * RATE * FRAME_BYTES
        until(lambda: len(self._data) >= end, seconds + 60.0)

    def offset(self, begin: float, end: float) -> float:
        """Time at which frame 0 would have been played, by the chunks between two times."""
        return float(np.median([t - n / RATE for t, n in self.times if begin <= t < end]))

    def frame_at(self, moment: float) -> int:
        """The first frame of a chunk that begins at or after a time."""
        return next(n for t, n in self.times if t >= moment)

    def close(self) -> None:
        """End client and namespace."""
        for process in (self._client, self._holder):
            process.kill()
            process.wait()


def distances(rooms: Sequence[Room], begin: float, end: float) -> list[float]:
    """By how many seconds the second room is late, in windows between two times."""
    first, second = rooms
    a, b = first.frames(), second.frames()
    found = []
    moment = begin
    while moment + WINDOW + 2 * SEARCH < end:
        frame = first.frame_at(moment)
        needle = a[frame : frame + round(WINDOW * RATE)]
        around = max(0, second.frame_at(moment) - round(SEARCH * RATE))
        hay = b[around : around + len(needle) + 2 * round(SEARCH * RATE)]
        level, at = correlation(needle, hay)
        if level > 0.9:
            limits = moment, moment + WINDOW
            one = first.offset(*limits) + frame / RATE
            other = second.offset(*limits) + (around + at) / RATE
            found.append(other - one)
        moment += WINDOW
    return found


def best_correlation(room: Room, begin: float, end: float, source: np.ndarray) -> float:
    """How well one window of a room agrees with the music: the first that does, or the best."""
    best = 0.0
    frames = room.frames()
    for moment in np.arange(begin, end - 1.0, WINDOW):
        frame = room.frame_at(moment)
        best = max(best, correlation(frames[frame : frame + RATE], source)[0])
        if best > 0.99:
            break
    return best


def main(arguments: list[str]) -> int:
    """Measure in the folder of the first argument."""
    folder, seconds = Path(arguments[0]), float((arguments[1:] or ["20"])[0])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    source = write_music(folder / "Night Train.wav", seconds + 60, rate=RATE)
    result: dict[str, Any] = {}
    with snapserver(folder) as port, server(folder, *FLAGS) as running:
        client = running.client
        client.request("/deck/A/load", str(folder / "Night Train.wav"), answer="/done", seconds=60)
        client.send("/deck/A/play")
        client.request("/broadcast/start", f"snapcast://127.0.0.1:{port}", answer="/done")
        until(lambda: client.status()["broadcasts_live"] == 1)
        rooms = [Room(1), Room(2)]
        try:
            until(lambda: all(room.sounds for room in rooms))
            for room in rooms:
                room.await_seconds(SETTLE)
            begin = time.monotonic()
            for room in rooms:
                room.await_seconds(seconds + 2 * SEARCH + WINDOW)
            end = time.monotonic()
            result["distances_ms"] = [1e3 * one for one in distances(rooms, begin, end)]
            result["correlation"] = best_correlation(rooms[0], begin, end, source)
            status = client.status()
            result["dropped"] = status["broadcast_dropped_s"]
            result["underruns"] = status["underruns"]
            # The same through a named pipe, which snapserver has made.
            client.request("/broadcast/start", f"pipe:{folder}/fifo", answer="/done")
            until(lambda: client.status()["broadcasts_live"] == 2)
        finally:
            for room in rooms:
                room.close()
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
