"""Three servers in network namespaces that play in step, and what each sound card would play.

    unshare -rn python -m tests.support.real_rooms <folder> [seconds]

Each room has a namespace, a folder of music and a built-in clock that is wrong by up to 100 ppm;
it records what it plays and when that is heard. Packets between the rooms pass a relay that delays
and loses them: not every kernel has netem. A room is killed and started again. The results are
printed as one JSON object, for the system tests and `benchmarks/rooms.py`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from crowdstream.engine.drivers.internal_clock import (
    BLOCK_HEAD,
    ERROR_VARIABLE,
    RECORDING_VARIABLE,
)
from tests.support.broadcasts import write_music
from tests.support.osc_client import OscClient, until
from tests.support.server import PROJECT, launched

RATE = 44100
ROOMS_PORT = 57130
OSC_PORT = 57120
CARDS = (0.0, 100.0, -100.0)  # ppm
JITTER, LOSS = 0.04, 0.05  # s by which a packet is late at most: 20 ms on average, 20 ms around it
WINDOW, SEARCH = 1.0, 0.02  # s
STRANGE_PACKETS = 2000
FLAGS = (
    "--driver", "null", "--cache-mb", "64", "--standby", "off", "--sample-rate", str(RATE),
    "--buffer-size", "512", "--osc-host", "0.0.0.0", "--osc-allow", "10.80.0.0/16",
)  # fmt: skip


class Namespace:
    """A network namespace with an address of its own: `guest`; ours is `host`."""

    def __init__(self, number: int) -> None:
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "1000000"])
        pid = str(self._holder.pid)
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{pid}/ns/net") != own)
        self.inside = ["nsenter", "-t", pid, "-n"]
        self.host, self.guest = f"10.80.{number}.1", f"10.80.{number}.2"
        ours, theirs = f"room{number}", f"card{number}"
        for command in (
            ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", pid],
            ["ip", "addr", "add", f"{self.host}/24", "dev", ours],
            ["ip", "link", "set", ours, "up"],
            [*self.inside, "ip", "addr", "add", f"{self.guest}/24", "dev", theirs],
            [*self.inside, "ip", "link", "set", theirs, "up"],
            [*self.inside, "ip", "link", "set", "lo", "up"],
        ):
            subprocess.run(command, check=True)

    def close(self) -> None:
        """End the namespace."""
        self._holder.kill()
        self._holder.wait()


class Relay(threading.Thread):
    """Passes packets from a room to the leader and back, late, out of order, and not all."""

    def __init__(self, near: str, leader: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind((near, ROOMS_PORT))
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect((leader, ROOMS_PORT))
        self._dice = random.Random(seed)
        self._order = itertools.count()

    def run(self) -> None:
        """Pass packets until the program ends."""
        way: list[tuple[float, int, bool, bytes]] = []
        room: Any = None
        while True:
            wait = max(0.0, way[0][0] - time.monotonic()) if way else 1.0
            for one in select.select([self._near, self._far], [], [], wait)[0]:
                with contextlib.suppress(OSError):  # nobody listens there yet
                    packet, sender = one.recvfrom(65536)
                    room = sender if one is self._near else room
                    if self._dice.random() >= LOSS:
                        at = time.monotonic() + JITTER * self._dice.random()
                        heapq.heappush(way, (at, next(self._order), one is self._near, packet))
            while way and way[0][0] <= time.monotonic():
                _at, _number, outward, packet = heapq.heappop(way)
                with contextlib.suppress(OSError):
                    if outward:
                        self._far.send(packet)
                    elif room is not None:
                        self._near.sendto(packet, room)


class Room:
    """A server in a namespace. `recording`: what its card plays."""

    def __init__(self, folder: Path, number: int, leader: str | None) -> None:
        self.folder = folder / f"room{number}"
        self.folder.mkdir()
        self.number, self._key, self._leader = number, folder / "key", leader
        self.namespace = Namespace(number)
        self.recording = self.folder / "recording"
        self._stack = contextlib.ExitStack()
        self.started_at = 0.0
        self.log = self.folder / "server.log"

    def start(self) -> None:
        """Start the server; returns when it is ready."""
        role = "leader" if self._leader is None else self._leader
        options = (
            *FLAGS, "--port", str(OSC_PORT), "--rooms", role, "--rooms-key-file", str(self._key),
            "--rooms-folder", str(self.folder),
        )
        env = {
            ERROR_VARIABLE: str(CARDS[self.number - 1]), RECORDING_VARIABLE: str(self.recording),
        }
        program = (*self.namespace.inside, sys.executable, str(PROJECT / "audio_server.py"))
        self.started_at = time.monotonic()
        self.process, self.log = self._stack.enter_context(
            launched(self.folder, options, env, True, program)
        )
        until(lambda: "ready: " in self.log.read_text(errors="replace"), what="the server is ready")
        self.client = OscClient(OSC_PORT, host=self.namespace.guest)

    def kill(self) -> None:
        """Kill the server with all of its processes."""
        for pid in _descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()
        self._stack.close()

    def status(self) -> dict[str, Any]:
        """The status by name."""
        found: dict[str, Any] = self.client.status()
        return found

    def close(self) -> None:
        """End everything."""
        self._stack.close()
        self.namespace.close()


def _descendants(pid: int) -> list[int]:
    found = [one.pid for one in psutil.Process(pid).children(recursive=True)]
    return [pid, *found]


class Recording:
    """What a card has played: samples of the left channel by the time at which each was heard."""

    def __init__(self, path: Path, ppm: float) -> None:
        data = path.read_bytes()
        self.step = 1.0 / (RATE * (1.0 + ppm * 1e-6))
        times, parts, at = [], [], 0
        while at + BLOCK_HEAD.size <= len(data):
            ns, frames = BLOCK_HEAD.unpack_from(data, at)
            at += BLOCK_HEAD.size
            end = at + 8 * frames
            if end > len(data):
                break
            parts.append(np.frombuffer(data[at:end], np.float32).reshape(-1, 2)[:, 0])
            times.append(ns * 1e-9 + np.arange(frames) * self.step)
            at = end
        self.times = np.concatenate(times)
        self.samples = np.concatenate(parts)

    def between(self, begin: float, end: float) -> np.ndarray:
        """The sound from `begin` to `end`, at `RATE` by the true time; 0 where there is none."""
        wanted = np.arange(begin, end, 1.0 / RATE)
        found: np.ndarray = np.interp(wanted, self.times, self.samples, left=0.0, right=0.0)
        return found

    def first_sound(self, since: float) -> float:
        """Time of the first sound after `since`; infinity if there is none."""
        places = np.flatnonzero((self.times > since) & (np.abs(self.samples) > 1e-4))
        return float(self.times[places[0]]) if len(places) else float("inf")


def lateness(first: Recording, second: Recording, begin: float) -> tuple[float, float]:
    """By how many seconds the second is late, in a window from `begin` on; and how alike they are.

    From the peak of the cross-correlation, by a parabola to a fraction of a frame.
    """
    needle = first.between(begin, begin + WINDOW)
    around = second.between(begin - SEARCH, begin + WINDOW + SEARCH)
    size = 1 << (len(around) + len(needle)).bit_length()
    turned = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(needle, size)), size)
    found = turned[: len(around) - len(needle) + 1]
    peak = int(np.argmax(found))
    part = around[peak : peak + len(needle)]
    alike = float(found[peak] / max(1e-9, np.linalg.norm(part) * np.linalg.norm(needle)))
    between = 0.0
    if 0 < peak < len(found) - 1:
        a, b, c = found[peak - 1 : peak + 2]
        between = float(0.5 * (a - c) / (a - 2.0 * b + c))
    return (peak + between) / RATE - SEARCH, alike


def strangers(leader: str) -> None:
    """Send the leader packets that no room has made."""
    dice = random.Random(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(STRANGE_PACKETS):
            stranger.sendto(dice.randbytes(dice.randrange(1, 1400)), (leader, ROOMS_PORT))
            time.sleep(0.001)


@contextlib.contextmanager
def rooms(folder: Path) -> Iterator[list[Room]]:
    """Three rooms, the first of which leads; they have the same music under other paths."""
    (folder / "key").write_text("a secret that all rooms share")
    with contextlib.ExitStack() as stack:
        found: list[Room] = []
        for number in range(1, 4):
            leader = None if number == 1 else f"10.80.{number}.1"
            found.append(Room(folder, number, leader))
            stack.callback(found[-1].close)
        write_music(found[0].folder / "music.wav", 400.0, rate=RATE)
        for room in found[1:]:
            other = room.folder / f"elsewhere{room.number}.wav"
            other.write_bytes((found[0].folder / "music.wav").read_bytes())
            Relay(room.namespace.host, found[0].namespace.guest, room.number).start()
        for room in found:
            room.start()
        yield found


def main(arguments: Sequence[str]) -> int:
    """Play, kill a room, send strange packets, and print the results."""
    folder = Path(arguments[0])
    seconds = float(arguments[1]) if len(arguments) > 1 else 40.0
    with rooms(folder) as (leader, first, second):
        until(lambda: leader.status()["rooms.in_step"] == 2, what="both rooms are in step")
        leader.client.request("/deck/A/load", str(leader.folder / "music.wav"), answer="/done")
        leader.client.send("/deck/A/play", 0.0, 1)
        begin = time.monotonic() + 2.0
        time.sleep(2.0 + seconds)
        end = time.monotonic() - 0.5
        second.kill()
        time.sleep(2.0)
        second.start()
        ready_at = time.monotonic()
        until(lambda: second.status()["deck.A.state"] == "playing", what="the room has returned")
        time.sleep(8.0)
        strangers(leader.namespace.guest)
        time.sleep(2.0)
        final = time.monotonic() - 0.5
        states = [room.status() for room in (leader, first, second)]
        beats = leader.client.request("/clock/beat", answer="/clock/beat.reply")
    recordings = [
        Recording(room.recording, ppm)
        for room, ppm in zip((leader, first, second), CARDS, strict=True)
    ]
    found: dict[str, list[float]] = {"first_ms": [], "second_ms": [], "spread_ms": []}
    alike = []
    moment = begin
    while moment + WINDOW < end:
        late = [lateness(recordings[0], one, moment) for one in recordings[1:]]
        offsets = [0.0, *(1000.0 * seconds for seconds, _ in late)]
        alike += [value for _, value in late]
        found["first_ms"].append(offsets[1])
        found["second_ms"].append(offsets[2])
        found["spread_ms"].append(max(offsets) - min(offsets))
        moment += WINDOW
    returned = recordings[2].first_sound(second.started_at)
    after = [
        1000.0 * lateness(recordings[0], one, final - WINDOW)[0] for one in recordings[1:]
    ]
    names = ("state", "deviation_ms", "error_ms", "drift_ppm", "rejected", "repairs", "relocks")
    print(
        json.dumps(
            {
                **found, "alike": alike, "after_ms": after,
                "return_after_start_s": returned - second.started_at,
                "return_after_ready_s": returned - ready_at,
                "ready_s": ready_at - second.started_at, "beat": list(beats),
                "rooms": [
                    {name: state[f"rooms.{name}"] for name in names} for state in states
                ],
                "underruns": [state["underruns"] for state in states],
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
