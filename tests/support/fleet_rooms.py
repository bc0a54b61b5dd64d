"""Eight servers in network namespaces on one bridge, found by Zeroconf: a fleet of machines.

    unshare -rn python -m tests.support.fleet_rooms <folder>

Each namespace has an address and a host name of its own. The fleet runs beside the bridge and knows
no server beforehand. The results are printed as one JSON object, for `test_fleet_rooms.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowdstream.fleet.commands import send_now, send_together
from crowdstream.fleet.discovery import discover
from crowdstream.fleet.fleet import Fleet
from tests.support.environment import PROJECT
from tests.support.fake_member import until as reached
from tests.support.fleet import LIGHT, reset_moment
from tests.support.osc_client import until
from tests.support.server import Running, launched

COUNT = 8
BRIDGE, FLEET = "fleet0", "10.80.0.100"
SECONDS = 300.0  # for the search, on a busy machine
MAX_ERROR_MS = 250.0
FLAGS = (
    *LIGHT, "--osc-host", "0.0.0.0", "--osc-allow", f"{FLEET}/32", "--http", "--http-host",
    "0.0.0.0",
)  # fmt: skip


def run(*command: str) -> None:
    """Run a command. Raises `CalledProcessError`."""
    subprocess.run(command, check=True)


@contextlib.contextmanager
def namespace(number: int) -> Iterator[list[str]]:
    """Connect a namespace to the bridge; returns the words that run a command in it."""
    holder = subprocess.Popen(["unshare", "-n", "-u", "sleep", "1000000"])
    try:
        pid, own = str(holder.pid), os.readlink("/proc/self/ns/uts")
        until(lambda: os.readlink(f"/proc/{pid}/ns/uts") != own)
        inside = ["nsenter", "-t", pid, "-n", "-u"]
        outer, inner = f"out{number}", f"in{number}"
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", pid)
        run("ip", "link", "set", outer, "master", BRIDGE, "up")
        run(*inside, "ip", "addr", "add", f"10.80.0.{number}/24", "dev", inner)
        run(*inside, "ip", "link", "set", inner, "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "hostname", f"room{number}")
        yield inside
    finally:
        holder.kill()
        holder.wait()


async def use(starts: int) -> dict[str, Any]:
    """Find all servers, and send them commands."""
    result: dict[str, Any] = {"spreads_ms": [], "bounds_ms": []}
    async with Fleet([]) as fleet:
        search = await discover(fleet.add, [FLEET])
        try:
            await reached(
                lambda: len(fleet.servers) == COUNT and all(one.answers for one in fleet.servers),
                SECONDS,
            )
        finally:
            await search.close()
        result["found"] = sorted((one.member.name, one.member.host) for one in fleet.servers)
        chosen = fleet.select([fleet.servers[0].member.name])
        result["one"] = [one.ok for one in await send_now(chosen, "/clock/tempo", (126.0,))]
        for _ in range(starts):
            outcomes = await send_together(
                fleet.servers, "/clock/reset", (), max_error_ms=MAX_ERROR_MS
            )
            result["outcomes"] = [one.text for one in outcomes if not one.ok]
            moments = []
            for one, outcome in zip(fleet.servers, outcomes, strict=True):
                async with one.client() as client:
                    moments.append(await reset_moment(client, outcome.values[0]))
            block = fleet.servers[0].number("buffer_size") / fleet.servers[0].number("sample_rate")
            errors = [outcome.values[1] for outcome in outcomes]
            result["spreads_ms"].append(1e3 * (max(moments) - min(moments)))
            result["bounds_ms"].append(1e3 * (block + 2.0 * max(errors)))
    return result


def main(arguments: list[str]) -> int:
    """Run the servers, with their logs in the folder of the first argument; then `use` them."""
    folder, starts = Path(arguments[0]), int((arguments[1:] or ["1"])[0])
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
    run("ip", "addr", "add", f"{FLEET}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(1, COUNT + 1):
            own = folder / f"room{number}"
            own.mkdir()
            program = (
                *stack.enter_context(namespace(number)), sys.executable,
                str(PROJECT / "audio_server.py"),
            )  # fmt: skip
            running.append(stack.enter_context(launched(own, FLAGS, program=program)))
        for process, log in running:
            stack.callback(Running(process, log).client.close)
        result = asyncio.run(use(starts))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
