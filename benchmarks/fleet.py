"""Measure how far apart the servers of a fleet act on a command that is sent to all of them.

    python benchmarks/fleet.py [--servers 8] [--starts 100] [--json FILE]

The servers run on this machine without a sound card and have its clock; the fleet program does not
know that, and measures the difference of each clock over the network, as it would between machines.
Each start is `/clock/reset`, after which a server reports the frame of beat 0 to a fraction of a
frame, and the frame that belongs to its time of day. With `--delay-ms`, `--jitter-ms` and `--loss`,
the packets to and from each server pass a relay that delays and loses them. A start during which a
server reports an underrun is not counted, but listed: the system has stopped its engine, and its
frames and its time of day no longer belong together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from crowdstream.fleet.commands import MAX_ERROR_MS, MIN_LEAD_SECONDS, send_together
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import FleetError, Member
from crowdstream.fleet.watched import Watched
from tests.support.fleet import members, reset_moment, servers
from tests.support.slow_network import SlowNetwork


async def measure(
    fleet_members: Sequence[Member],
    direct: Sequence[Member],
    starts: int,
    lead: float,
    max_error_ms: float,
) -> dict[str, object]:
    """Start all servers `starts` times; return the figures, times in milliseconds.

    `direct`: the same servers without a relay, to read the results.
    """
    spreads, offs, errors, faults, refused, interrupted = [], [], [], 0, 0, 0
    progress = common.Progress(starts)
    async with Fleet(fleet_members) as fleet, Fleet(direct) as observed:
        await fleet.contact(60.0)
        for _ in range(starts):
            progress.add(1, "starts")
            before = [await _underruns(one) for one in observed.servers]
            try:
                outcomes = await send_together(
                    fleet.servers, "/clock/reset", (), lead, max_error_ms
                )
            except FleetError:
                refused += 1
                continue
            if not all(one.ok for one in outcomes):
                faults += 1
                continue
            moments = [
                await _moment(one, outcome.values[0])
                for one, outcome in zip(observed.servers, outcomes, strict=True)
            ]
            if before != [await _underruns(one) for one in observed.servers]:
                interrupted += 1
                continue
            spreads.append(1000.0 * (max(moments) - min(moments)))
            offs += [
                1000.0 * abs(moment - outcome.values[0])
                for moment, outcome in zip(moments, outcomes, strict=True)
            ]
            errors += [1000.0 * outcome.values[1] for outcome in outcomes]
        block = fleet.servers[0].number("buffer_size") / fleet.servers[0].number("sample_rate")
    progress.close()
    found: dict[str, object] = {
        "servers": len(direct), "starts": len(spreads), "refused": refused, "faults": faults,
        "interrupted": interrupted,
        "block_ms": round(1000.0 * block, 2),
    }  # fmt: skip
    for name, values in (("spread", spreads), ("from_stamp", offs), ("stated_error", errors)):
        for percent in (50, 95, 100):
            key = f"{name}_{'max' if percent == 100 else f'p{percent}'}_ms"
            found[key] = round(common.percentile(values, percent), 3) if values else None
    return found


async def _moment(server: Watched, at: float) -> float:
    async with server.client() as client:
        return await reset_moment(client, at)


async def _underruns(server: Watched) -> int:
    async with server.client() as client:
        status = await client.status()
    return int(status["underruns"]) + int(status["underruns_engine"])


def main() -> int:
    """Run the benchmark; the exit status is 1 if a start was more than a block apart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=8)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--lead", type=float, default=MIN_LEAD_SECONDS, help="seconds ahead")
    parser.add_argument("--max-error-ms", type=float, default=MAX_ERROR_MS)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of each packet, one way")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="up to so much more")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets, 0 to 1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    common.print_heading("A common start of a fleet: spread over the servers, in milliseconds")
    slow = (options.delay_ms / 1000.0, options.jitter_ms / 1000.0, options.loss)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        running = stack.enter_context(servers(Path(folder), options.servers))
        direct = members(running)
        through = direct
        if any(slow):
            through = [
                replace(one, port=stack.enter_context(SlowNetwork(one.port, *slow, number)).port)
                for number, one in enumerate(direct)
            ]
        found = asyncio.run(
            measure(through, direct, options.starts, options.lead, options.max_error_ms)
        )
    print()
    for key, value in found.items():
        print(f"{key:22} {value}")
    common.write_json(options.json, found)
    spread = found["spread_max_ms"]
    return int(not isinstance(spread, float) or spread > float(str(found["block_ms"])))


if __name__ == "__main__":
    raise SystemExit(main())
