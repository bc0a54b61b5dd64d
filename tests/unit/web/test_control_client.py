"""The web process's end of the connection to control, over pipes in this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from crowdstream.web import control_client
from crowdstream.web.control_client import Answer, Busy, ControlClient


class Control:
    """Control's end: reads the commands, and carries them out when the test requests it."""

    def __init__(self) -> None:
        self._from_web, self.fd_out = os.pipe()
        self.fd_in, self._to_web = os.pipe()
        os.set_blocking(self._from_web, False)
        self._rest = b""

    def heartbeats(self) -> int:
        """Return the number of heartbeats that have arrived, and nothing else."""
        try:
            lines = os.read(self._from_web, 1 << 20).splitlines()
        except BlockingIOError:
            return 0
        assert {*lines} == {b'{"alive": true}'}
        return len(lines)

    def numbers(self) -> list[int]:
        """Return the numbers of the batches that have arrived."""
        try:
            self._rest += os.read(self._from_web, 1 << 20)
        except BlockingIOError:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line)["do"][0] for line in lines]

    def send(self, *messages: dict[str, Any]) -> None:
        """Send messages to the web process."""
        os.write(self._to_web, b"".join(json.dumps(one).encode() + b"\n" for one in messages))

    def close(self) -> None:
        """Close both pipes."""
        for fd in (self._from_web, self.fd_out, self.fd_in, self._to_web):
            os.close(fd)


def run(test: Callable[[ControlClient, Control], Awaitable[None]]) -> None:
    """Run a test in an event loop."""

    async def work() -> None:
        control = Control()
        client = ControlClient(lambda _kind, _value: None, control.fd_in, control.fd_out)
        try:
            await test(client, control)
        finally:
            asyncio.get_running_loop().remove_reader(control.fd_in)
            asyncio.get_running_loop().remove_writer(control.fd_out)
            control.close()

    asyncio.run(work())


async def carried_out(
    client: ControlClient, control: Control, later: Callable[[Answer], None]
) -> int:
    """Run a command of a page, which control carries out at once; return its number."""
    running = asyncio.create_task(client.do_all([["/deck/A/level", 0.5]], later))
    numbers: list[int] = []
    while not numbers and not running.done():
        await asyncio.sleep(0)
        numbers = control.numbers()
    if not numbers:
        await running  # refused
    control.send({"end": numbers[0]})
    assert await running == []
    return numbers[0]


def test_a_page_that_moves_faders_for_minutes_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_client, "MAX_FOLLOWED", 16)

    async def test(client: ControlClient, control: Control) -> None:
        late: list[Answer] = []
        for _ in range(100):
            number = await carried_out(client, control, late.append)
        control.send({"answer": [number, "/done", "/deck/A/load"]})
        while not late:
            await asyncio.sleep(0)
        assert late == [["/done", "/deck/A/load"]]

    run(test)


def test_commands_are_refused_while_control_carries_out_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_client, "MAX_FOLLOWED", 16)

    async def test(client: ControlClient, control: Control) -> None:
        running = [asyncio.create_task(client.do("/version")) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await client.do("/version")
        numbers = control.numbers()
        control.send(*({"end": number} for number in numbers))
        assert await asyncio.gather(*running) == [[]] * 16

    run(test)


def test_heartbeats_show_that_the_event_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "HEARTBEAT_SECONDS", 0.01)

    async def work(client: ControlClient, control: Control) -> None:
        beating = asyncio.create_task(client.send_heartbeats())
        count = 0
        while count < 3:
            count += control.heartbeats()
            await asyncio.sleep(0.01)
        beating.cancel()

    run(work)
