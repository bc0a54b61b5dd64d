"""The client library against a real server: replies, subscriptions, lost packets, a restart."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from crowdstream.client import AsyncClient, Client, CommandFailed, CommandLate, ServerUnavailable
from tests.support.offline_server import level, write
from tests.support.server import Running, SharedServer, free_port, launched, server, until

DRIVER = ("--driver", "null", "--standby", "off", "--cache-mb", "64")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *DRIVER) as one:
        yield one


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(port=running.port, timeout=60.0) as one:
        yield one


class LossyLine:
    """A UDP relay to a server that loses four packets of ten in both directions."""

    def __init__(self, port: int) -> None:
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect(("127.0.0.1", port))
        self.port = self._near.getsockname()[1]
        self.lost = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        self._thread.join()
        self._near.close()
        self._far.close()

    def _run(self) -> None:
        sender, dice = None, random.Random(1)
        while not self._ending.is_set():
            for one in select.select([self._near, self._far], [], [], 0.02)[0]:
                packet, origin = one.recvfrom(65536)
                sender = origin if one is self._near else sender
                if dice.random() < 0.4:
                    self.lost += 1
                elif one is self._near:
                    self._far.send(packet)
                elif sender:
                    self._near.sendto(packet, sender)


def test_queries_return_typed_values(client: Client) -> None:
    assert client.version().name == "crowdstream"
    assert client.status()["driver"] == "null"
    assert client.clock_beat().bpm > 0
    assert client.events(1)[0].level in ("info", "warning", "error")
    assert client.waiting() == [] and client.record_status().files == 0
    assert client.dj_status() == (False, {})
    assert {module for module, *_ in client.fx_modules()} >= {"echo", "reverb"}
    assert client.ping() < 60.0


def test_commands_load_play_fail_and_come_late(client: Client, tmp_path: Path) -> None:
    track = write(tmp_path / "track.wav", level(4.0))
    assert client.deck_load("A", str(track)) == (100,)
    with pytest.raises(CommandFailed, match="no such file") as found:
        client.deck_load("B", str(tmp_path / "missing.wav"))
    assert found.value.address == "/deck/B/load"
    with pytest.raises(CommandLate):
        client.deck_play("A", at=time.time() - 1.0)
    with client.bundle() as together:
        together.deck_level("A", 0.5)
        together.deck_stem("A", 1, 0.25)
    status = client.status()
    assert status["deck.A.state"] == "playing"
    with pytest.raises(CommandFailed), client.bundle() as together:
        together.deck_level("A", 9.0)


def test_a_failure_of_a_scheduled_command_is_raised_by_check(client: Client) -> None:
    client.deck_stop("B", at=time.time() + 0.7)
    client.send("/deck/A/level", 9.0)
    until(lambda: client.waiting() == [])
    with pytest.raises(CommandFailed) as found:
        client.check()
    others = [getattr(one, "address", "") for one in found.value.others]
    assert sorted([found.value.address, *others]) == ["/deck/A/level", "/deck/B/stop"]
    client.check()


def test_subscriptions_yield_what_happens(client: Client) -> None:
    with client.watch_changes() as changes, client.watch_beats() as beats:
        client.deck_level("C", 0.5)
        assert changes.get(60.0) == ("/deck/C/level", (0.5,))
        client.clock_reset()
        first, second = beats.get(60.0), beats.get(60.0)
        assert second.frame > first.frame and second.time > first.time
    with client.watch_feedback("/deck/D/level") as values:
        assert values.get(60.0).address == "/deck/D/level"
    with client.watch_events() as found, client.watch_meters(20.0):
        client.dance_total_movement(0.5)
        with pytest.raises(TimeoutError):
            found.get(0.0)


@pytest.mark.parametrize("calls", [4])
def test_idempotent_commands_survive_lost_packets(running: Running, calls: int) -> None:
    with LossyLine(running.port) as line, Client(port=line.port, timeout=60.0) as client:
        for number in range(calls):
            client.deck_level("A", number / calls)
            assert client.status()["deck.A.track"] is not None
        assert line.lost and client.connection.resent
        with pytest.raises(CommandFailed, match="out of range"):
            client.deck_level("A", 9.0)


def test_asyncio_calls_run_side_by_side(running: Running) -> None:
    async def main() -> None:
        async with AsyncClient(port=running.port, timeout=60.0) as client:
            async with client.watch_changes() as changes:
                results = await asyncio.gather(
                    *(client.deck_level("A", number / 50) for number in range(300)),
                    return_exceptions=True,
                )
                failed = [number for number, one in enumerate(results) if one != ()]
                assert failed == list(range(201, 300)), "gains above 4"
                assert (await changes.get()).address == "/deck/A/level"
            async with client.bundle(at_beat=1e6) as together:
                together.deck_level("B", 0.5)
            assert [one.address for one in await client.waiting()] == ["/deck/B/level"]
            await client.cancel()
            await client.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.0):
                    await client.ping()
            assert await client.ping() < 60.0

    asyncio.run(main())


def test_no_server_is_reported_soon() -> None:
    with Client(port=free_port(), timeout=0.3) as client, pytest.raises(ServerUnavailable):
        client.deck_play("A")


def test_calls_and_subscriptions_survive_a_restart(tmp_path: Path) -> None:
    first = tmp_path / "1"
    first.mkdir()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(server(first, *DRIVER))
        client = stack.enter_context(Client(port=running.port, timeout=120.0))
        changes = stack.enter_context(client.watch_changes())
        client.deck_level("A", 0.5)
        assert changes.get(60.0).address == "/deck/A/level"
        running.process.terminate()
        running.process.wait()
        # The same port; the option that comes last counts.
        again = ("--port", str(running.port), *DRIVER)
        stack.enter_context(launched(tmp_path, again))
        client.deck_level("B", 0.5)  # waits until the server is back
        while not changes.restarts:
            client.wait(time.monotonic() + 0.1)
        client.sync()
        changes.feed.items.clear()
        client.deck_level("C", 0.25)
        assert changes.get(60.0) == ("/deck/C/level", (0.25,))
