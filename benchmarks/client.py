"""The client library beside python-osc: latency of a round trip, and messages per second.

    python benchmarks/client.py [--trips 5000] [--messages 50000] [--json FILE]

Both talk to the same server on loopback, alternately in rounds, so that other load on the machine
affects both alike. A trip is a query with its reply, or a command whose failure would be known at
its end; for the latter, python-osc sends `/ping` or `/sync` behind the command and waits for the
reply. Messages per second are sent without waiting, and the server counts those that are lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pythonosc.udp_client import SimpleUDPClient

from benchmarks import common
from crowdstream.client import AsyncClient, Client
from tests.support.server import server

ROUNDS = 10
IN_FLIGHT = 100  # calls of the asyncio client that wait at the same time
BURST = 200  # messages between two pauses, so that the server's receive buffer does not overflow
Trip = Callable[[], object]


class PlainOsc:
    """python-osc with the waiting that a program needs."""

    def __init__(self, port: int) -> None:
        self.client = SimpleUDPClient("127.0.0.1", port)
        self._number = 0

    def query(self, address: str, reply: str) -> Any:
        """Send a query and return the values of its reply."""
        self.client.send_message(address, [])
        return self._wait(reply)

    def command(self, barrier: str, reply: str, address: str, *arguments: Any) -> None:
        """Send a command and a barrier, and wait for the barrier's reply."""
        self._number += 1
        self.client.send_message(address, list(arguments))
        self.client.send_message(barrier, [self._number])
        self._wait(reply)

    def _wait(self, reply: str) -> Any:
        while True:
            for message in self.client.get_messages(60):
                if message.address == reply:
                    return message.params
                if message.address == "/fail":
                    raise common.BenchmarkError(f"the server refused: {message.params}")

    def close(self) -> None:
        """Close the socket."""
        self.client._sock.close()


def trips_of(client: Client, plain: PlainOsc) -> dict[str, tuple[str, Trip]]:
    """Return the round trips to measure: their names, and what each does."""
    return {
        "query": ("client", client.clock_beat),
        "query, python-osc": (
            "python-osc", lambda: plain.query("/clock/beat", "/clock/beat.reply"),
        ),
        "command": ("client", lambda: client.deck_level("A", 0.5)),
        "command, python-osc with /ping": (
            "python-osc", lambda: plain.command("/ping", "/pong", "/deck/A/level", 0.5),
        ),
        "command, python-osc with /sync": (
            "python-osc", lambda: plain.command("/sync", "/synced", "/deck/A/level", 0.5),
        ),
    }  # fmt: skip


def measure_trips(trips: dict[str, tuple[str, Trip]], count: int) -> dict[str, dict[str, float]]:
    """Return median, 99th percentile and maximum (ms) of each kind of trip."""
    taken: dict[str, list[float]] = {name: [] for name in trips}
    for _ in range(ROUNDS):
        for name, (_library, trip) in trips.items():
            for _ in range(max(1, count // ROUNDS)):
                begin = time.perf_counter()
                trip()
                taken[name].append((time.perf_counter() - begin) * 1e3)
    return {
        name: {
            "p50_ms": round(float(np.percentile(times, 50)), 3),
            "p99_ms": round(float(np.percentile(times, 99)), 3),
            "max_ms": round(max(times), 3),
        }
        for name, times in taken.items()
    }


def measure_sending(
    client: Client, send: Callable[[float], object], barrier: Trip, count: int
) -> dict[str, int]:
    """Send `count` messages without waiting; return messages per second and lost messages.

    `barrier` waits until the server has read what was sent before, through the same socket.
    """
    before = _lost(client)
    used = 0.0
    for sent in range(0, count, BURST):
        begin = time.perf_counter()
        for number in range(sent, min(sent + BURST, count)):
            send(number % 100 / 100)
        used += time.perf_counter() - begin
        barrier()
    return {"per_second": round(count / used), "lost": _lost(client) - before}


def _lost(client: Client) -> int:
    # Messages that the server or the kernel have dropped so far.
    return int(client.status()["lost"])


async def measure_parallel(port: int, count: int) -> float:
    """Return the calls per second of the asyncio client, each with its result."""
    async with AsyncClient(port=port, timeout=60.0) as client:
        begin = time.perf_counter()
        for _ in range(count // IN_FLIGHT):
            await asyncio.gather(
                *(client.deck_level("A", number / IN_FLIGHT) for number in range(IN_FLIGHT))
            )
        return count // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - begin)


def run(trips: int, messages: int) -> dict[str, Any]:
    """Start a server and measure; return all results."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), "--driver", "null", "--standby", "off") as running,
        Client(port=running.port, timeout=60.0) as client,
    ):
        plain = PlainOsc(running.port)
        try:
            client.ping()
            result: dict[str, Any] = {"trips": measure_trips(trips_of(client, plain), trips)}
            result["sending"] = {
                "client": measure_sending(
                    client, lambda gain: client.send("/deck/A/level", gain), client.ping, messages
                ),
                "python-osc": measure_sending(
                    client, lambda gain: plain.client.send_message("/deck/A/level", gain),
                    lambda: plain.query("/clock/beat", "/clock/beat.reply"), messages,
                ),
            }
            result["parallel_calls_per_second"] = round(
                asyncio.run(measure_parallel(running.port, messages))
            )
            result["resent"] = client.connection.resent
        finally:
            plain.close()
        return result


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trips", type=int, default=5000)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(list(arguments))
    common.print_heading("Client library beside python-osc")
    result = run(options.trips, options.messages)
    print(f"\n{'round trip':34}{'median':>10}{'p99':>10}{'max':>10}   ms")
    for name, times in result["trips"].items():
        print(f"{name:34}{times['p50_ms']:10.3f}{times['p99_ms']:10.3f}{times['max_ms']:10.3f}")
    print(f"\n{'sent without waiting':34}{'a second':>10}{'lost':>10}")
    for name, found in result["sending"].items():
        print(f"{name:34}{found['per_second']:10}{found['lost']:10}")
    print(f"\nasyncio, {IN_FLIGHT} calls under way, each with its result: "
          f"{result['parallel_calls_per_second']} a second")
    print(f"packets sent again: {result['resent']}")
    common.write_json(options.json, {"machine": common.machine(), **result})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
