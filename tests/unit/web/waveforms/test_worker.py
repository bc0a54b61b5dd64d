"""The waveform process as seen from the web process, with fake processes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from crowdstream.web.waveforms import worker
from crowdstream.web.waveforms.worker import Worker


class Process:
    """A fake process, which records what it receives."""

    pid = 2**22 + 1  # above the maximum of Linux

    def __init__(self) -> None:
        self.stdin, self.stdout = self, asyncio.StreamReader()
        self.received: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """Receive a line."""
        self.received.append(json.loads(data))

    def close(self) -> None:
        """Exit, as its standard input has closed."""
        self.stdout.feed_eof()

    async def wait(self) -> int:
        """Return its exit status."""
        return 0


def test_a_process_that_is_started_again_works_as_gently_as_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Process] = []

    async def start(*_command: str, **_options: Any) -> Process:
        made.append(Process())
        return made[-1]

    async def until(count: int) -> Process:
        while len(made) < count or not any("want" in one for one in made[-1].received):
            await asyncio.sleep(0)
        return made[-1]

    async def scene() -> None:
        one = Worker(lambda _message: None)
        one.want(["/a.wav"], [])
        first = await until(1)
        one.gentle(True)
        assert {"gentle": True} in first.received
        first.close()
        second = await until(2)
        assert {"gentle": True} in second.received
        await one.close()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(worker, "MAX_PAUSE", 0.0)
    asyncio.run(scene())
