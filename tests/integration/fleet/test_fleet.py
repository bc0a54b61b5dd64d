"""A fleet of eight real servers: a common start, a dead server, settings, and a stopped rollout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.fleet.commands import send_now, send_together
from crowdstream.fleet.distribute import distribute
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import Member
from crowdstream.fleet.staged_upgrade import check_upgrade, parse_stages, upgrade
from tests.support.environment import PROJECT, child_environment
from tests.support.fake_member import until
from tests.support.fleet import LIGHT, members, reset_moment, servers
from tests.support.server import Running, server
from tests.support.slow_network import SlowNetwork

COUNT = 8


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    with servers(tmp_path_factory.mktemp("fleet"), COUNT) as found:
        yield found


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `crowdstream fleet`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "crowdstream", "fleet", *arguments], cwd=PROJECT,
        env=child_environment(COLUMNS="160"), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_eight_servers_start_within_one_block(eight: list[Running]) -> None:
    async def scene() -> None:
        async with Fleet(members(eight)) as fleet:
            await fleet.contact(60.0)
            outcomes = await send_together(fleet.servers, "/clock/reset", (), max_error_ms=50.0)
            assert all(outcome.ok for outcome in outcomes), outcomes
            moments, errors = [], []
            for one, outcome in zip(fleet.servers, outcomes, strict=True):
                async with one.client() as client:
                    moments.append(await reset_moment(client, outcome.values[0]))
                assert one.offset is not None
                errors.append(one.offset.error)
            block = fleet.servers[0].number("buffer_size") / fleet.servers[0].number("sample_rate")
            # All servers have this machine's clock, so their own times can be compared.
            assert max(moments) - min(moments) < block + 2.0 * max(errors), (moments, errors)

    asyncio.run(scene())


def test_a_network_with_jitter_and_loss_delays_no_start(eight: list[Running]) -> None:
    direct = members(eight)[:4]

    async def scene(through: list[Member]) -> None:
        async with Fleet(through) as fleet, Fleet(direct) as observed:
            await fleet.contact(60.0)
            outcomes = await send_together(
                fleet.servers, "/clock/reset", (), 6.0, max_error_ms=200.0
            )
            assert all(outcome.ok for outcome in outcomes), outcomes
            rate = fleet.servers[0].number("sample_rate")
            for one, outcome in zip(observed.servers, outcomes, strict=True):
                async with one.client() as client:
                    moment = await reset_moment(client, outcome.values[0])
                at, error = outcome.values
                block = fleet.servers[0].number("buffer_size") / rate
                assert abs(moment - at) < block
                assert error < 0.1
            stamps = [outcome.values[0] for outcome in outcomes]
            errors = [outcome.values[1] for outcome in outcomes]
            # The clocks are the same, so the stamps differ only by the errors of the measurement.
            assert max(stamps) - min(stamps) <= 2.0 * max(errors) + 0.001

    with contextlib.ExitStack() as stack:
        relays = [
            stack.enter_context(SlowNetwork(one.port, 0.002, 0.02, 0.05, number))
            for number, one in enumerate(direct)
        ]
        asyncio.run(scene([
            replace(one, port=relay.port) for one, relay in zip(direct, relays, strict=True)
        ]))  # fmt: skip
        assert sum(relay.lost for relay in relays) > 0


def test_a_group_receives_a_command(eight: list[Running]) -> None:
    async def scene() -> None:
        async with Fleet(members(eight)) as fleet:
            await fleet.contact(60.0)
            outcomes = await send_now(fleet.select(["even"]), "/clock/tempo", (133.0,))
            assert [one.server for one in outcomes] == ["s0", "s2", "s4", "s6"]
            await until(lambda: fleet.servers[6].status["bpm_target"] == 133.0)
            assert fleet.servers[7].status["bpm_target"] != 133.0
            await send_now(fleet.select(["even"]), "/clock/tempo", (120.0,))

    asyncio.run(scene())


def test_the_program_shows_and_commands_all_servers(eight: list[Running]) -> None:
    places = [word for number, one in enumerate(eight)
              for word in ("--server", f"s{number}=127.0.0.1:{one.port}")]  # fmt: skip
    shown = program(*places, "--once")
    assert shown.returncode == 0, shown.stderr
    assert "servers 8  answer 8" in shown.stdout
    sent = program(*places, "s1", "s2", "--send", "/deck/A/level", "0.5")
    assert sent.returncode == 0 and sent.stdout.count("done") == 2
    refused = program(*places, "s1", "--send", "/deck/A/level", "50")
    assert refused.returncode == 1 and "out of range" in refused.stdout
    assert program(*places, "nobody", "--send", "/deck/A/stop").returncode == 2


def test_a_rollout_stops_when_the_first_server_fails(tmp_path: Path) -> None:
    with servers(tmp_path, 2) as (victim, other):
        # The new version of this test ends the server that it is installed on.
        kill = (sys.executable, "-c", "import os,sys; os.kill(int(sys.argv[1]), 15)", "{path}")
        found = [
            Member(name, "127.0.0.1", one.port, upgrade=kill)
            for name, one in (("first", victim), ("second", other))
        ]

        async def scene() -> None:
            async with Fleet(found, every=0.2) as fleet:
                await fleet.contact(60.0)
                path = str(victim.pid)
                check_upgrade(fleet.servers, path)
                said: list[str] = []
                first, second = await upgrade(
                    fleet.servers, path, parse_stages("1,100%", 2), 600.0, said.append
                )
                assert not first.ok and "does not answer" in first.text
                assert not second.ok and second.text.startswith("not upgraded, because of first")
                assert said[0] == "stage 1 of 2: first" and len(said) == 3
                assert fleet.servers[1].answers

        asyncio.run(scene())
        assert victim.process.wait(60) is not None and other.process.poll() is None


def test_settings_are_distributed_and_wrong_ones_are_taken_back(tmp_path: Path) -> None:
    target, source = tmp_path / "mounted.toml", tmp_path / "new.toml"
    target.write_text("limiter_ceiling = -1.0\n")
    with server(tmp_path, *LIGHT, "--config", str(target)) as running:
        found = [
            Member("main", "127.0.0.1", running.port, targets={"settings": str(target)}),
            Member("other", "127.0.0.1", 9),
        ]

        async def scene() -> None:
            async with Fleet(found) as fleet:
                await fleet.contact(60.0)
                source.write_text("limiter_ceiling = -2.5\n")
                main, other = await distribute(fleet.servers, "settings", source)
                assert main.ok and "limiter_ceiling" in main.text
                assert not other.ok and other.text.startswith("not offered")
                source.write_text("limiter_ceiling = 'loud'\n")
                [main] = await distribute(fleet.servers[:1], "settings", source)
                assert not main.ok and "the previous file was restored" in main.text

        asyncio.run(scene())
    assert target.read_text() == "limiter_ceiling = -2.5\n"
    assert sorted(os.listdir(tmp_path)) == ["mounted.toml", "new.toml", "server.log"]
