"""Pages and listeners without a browser, in a separate process that reads all it is sent.

A page behaves like a visible one: it shows the health panel and requests the time every few
seconds; on every fifth page somebody moves a fader. A listener takes the master as 16-bit PCM and
acknowledges it. Their CPU time is not part of the server's load, so they run at a low priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.common import BenchmarkError
from crowdstream.web.streaming.encoding import HEAD
from tests.support.environment import PROJECT

NICENESS = 10
PAGES_PER_MIXER = 5  # one page in this many is used for mixing
MOVE_SECONDS = 0.25  # mean time between two moves of a fader
PING_SECONDS = 5.0
REPORT_SECONDS = 0.2
CONNECT_SECONDS = 30.0  # time for all clients to connect


class Audience:
    """The clients, and what they have received since `begin`."""

    def __init__(self, address: str, pages: int, listeners: int) -> None:
        self._address = address
        self._tasks = [asyncio.create_task(self._page(number)) for number in range(pages)]
        self._tasks += [asyncio.create_task(self._listener()) for _ in range(listeners)]
        self._connected = asyncio.Semaphore(0)
        self._count: Counter[str] = Counter()
        self._begun = time.monotonic()
        self.begin()

    async def connect_all(self) -> None:
        """Wait until each client has received something. Raise `BenchmarkError`."""
        connected = asyncio.create_task(self._all_connected())
        await asyncio.wait(
            [connected, *self._tasks], timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not connected.done():
            connected.cancel()
            raise BenchmarkError("not all pages and listeners could connect to the server")

    async def _all_connected(self) -> None:
        for _ in self._tasks:
            await self._connected.acquire()

    def begin(self) -> None:
        """Reset the counters."""
        self._count.clear()
        self._begun = time.monotonic()

    async def close(self) -> dict[str, Any]:
        """Disconnect all clients; return what they received per second, and the failures."""
        seconds = time.monotonic() - self._begun
        count = dict(self._count)
        lost = sum(task.done() for task in self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        rates = {f"{name}_per_second": value / seconds for name, value in count.items()}
        holes = count.get("holes", 0)
        return {**rates, "holes": holes, "narrowed": count.get("narrowed", 0), "lost": lost}

    async def _page(self, number: int) -> None:
        async with connect(f"ws://{self._address}/live", compression=None) as socket:
            await socket.send(json.dumps({"see": ["health"]}))
            activity = asyncio.create_task(
                self._mix(socket) if number % PAGES_PER_MIXER == 0 else _ping(socket)
            )
            try:
                first = True
                async for text in socket:
                    self._count["page_messages"] += 1
                    self._count["page_bytes"] += len(text)
                    if first:
                        self._connected.release()
                        first = False
            finally:
                activity.cancel()

    async def _mix(self, socket: ClientConnection) -> None:
        # A person at the faders and the equaliser.
        number = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(MOVE_SECONDS * random.uniform(0.5, 1.5))
                number += 1
                deck = random.choice("ABCD")
                what = random.choice(("level", "eq/low", "eq/high", "filter"))
                value = random.uniform(-0.3, 0.3) if what == "filter" else random.uniform(0.4, 0.6)
                command = [number, f"/deck/{deck}/{what}", value]
                await socket.send(json.dumps({"do": command}))
                self._count["commands"] += 1

    async def _listener(self) -> None:
        address = f"ws://{self._address}/listen?bus=master&format=pcm16"
        async with connect(address, compression=None, max_queue=None) as socket:
            have, acknowledged_at = -1, 0.0
            async for data in socket:
                if isinstance(data, str):
                    self._count["narrowed"] += "why" in json.loads(data)
                    continue
                _form, _channels, frames, own, rate, frame, _at = HEAD.unpack_from(data)
                self._count["sound_messages"] += 1
                self._count["sound_bytes"] += len(data)
                if have < 0:
                    self._connected.release()
                elif frame != have:
                    self._count["holes"] += 1
                have = frame + frames * rate // own
                if time.monotonic() > acknowledged_at + REPORT_SECONDS:
                    acknowledged_at = time.monotonic()
                    await socket.send(json.dumps({"have": have}))


async def _ping(socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.send(json.dumps({"ping": time.monotonic()}))
            await asyncio.sleep(PING_SECONDS * random.uniform(0.5, 1.5))


class AudienceProcess:
    """The audience's process, for the duration of a `with` block. Raises `BenchmarkError`."""

    def __init__(self, address: str, pages: int, listeners: int) -> None:
        request = {"address": address, "pages": pages, "listeners": listeners}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.audience", json.dumps(request)],
            cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if line != "here":
            self.__exit__()
            raise BenchmarkError(line or "the pages and listeners did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def begin(self) -> None:
        """Reset the counters."""
        assert self._process.stdin
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """End the process; return its results, see `Audience.leave`."""
        out, _ = self._process.communicate("end\n")
        try:
            done: dict[str, Any] = json.loads(out)
        except ValueError:
            raise BenchmarkError("the pages and listeners have ended early") from None
        return done


async def _run(request: dict[str, Any]) -> dict[str, Any]:
    audience = Audience(**request)
    try:
        await audience.connect_all()
    except BenchmarkError as error:
        print(error, flush=True)
        return await audience.close()
    print("here", flush=True)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline() == b"begin\n":
        audience.begin()
    return await audience.close()


def main(arguments: Sequence[str]) -> int:
    """Run the process. `arguments`: the request as JSON."""
    os.nice(NICENESS)
    print(json.dumps(asyncio.run(_run(json.loads(arguments[0])))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
