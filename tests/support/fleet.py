"""Eight real servers for tests and benchmarks of the fleet, and the frame on which each started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from crowdstream.client import AsyncClient
from crowdstream.fleet.members import Member
from tests.support.server import WAIT_SECONDS, Running, server

LIGHT = ("--driver", "null", "--standby", "off", "--cache-mb", "16")
NEAR_SECONDS = 0.2  # less than the time between two resets


@contextlib.contextmanager
def servers(folder: Path, count: int, *options: str) -> Iterator[list[Running]]:
    """Run servers on free ports of loopback, each with its log in a folder of its own."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            own = folder / str(number)
            own.mkdir()
            found.append(stack.enter_context(server(own, *LIGHT, *options)))
        yield found


def members(running: Sequence[Running]) -> list[Member]:
    """Return the members `s0`, `s1` ... of a fleet of these servers; even ones in group `even`."""
    return [
        Member(f"s{number}", "127.0.0.1", one.port, frozenset(() if number % 2 else ("even",)))
        for number, one in enumerate(running)
    ]


async def reset_moment(client: AsyncClient, at: float) -> float:
    """Return the Unix time at which a server's clock was last reset, by its own time of day.

    From the frame of its beat 0, and from the frame that it states for a time of day; exact to a
    frame. The tempo must not have changed since. It waits for a reset at about `at`: the engine of
    a machine under load may not have rendered that frame yet. Raises `TimeoutError`.
    """
    rate = float((await client.status())["sample_rate"])
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            beat = await client.clock_beat()
            _number, wall, frame = await client.call("/clock/time", 1)
            zero = beat.frame - beat.beat * 60.0 / beat.bpm * rate
            moment = float(wall - (frame - zero) / rate)
            if moment > at - NEAR_SECONDS:
                return moment
            await asyncio.sleep(0.02)
