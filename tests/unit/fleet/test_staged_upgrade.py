"""Upgrades in stages: the order, the stop at the first fault, and what is refused before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from crowdstream.fleet import staged_upgrade, watched
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import FleetError, Member
from crowdstream.fleet.programs import Result
from crowdstream.fleet.staged_upgrade import check_upgrade, command_of, parse_stages, upgrade
from crowdstream.fleet.watched import MAX_UNDERRUNS, WARN
from tests.support.fake_member import FakeMember, fake_members, until

Scene = Callable[[list[FakeMember], Fleet], Awaitable[None]]


def run(scene: Scene, count: int) -> None:
    """Run a scene with a fleet of healthy fake servers."""

    async def all_of_it() -> None:
        async with fake_members(*[0.0] * count) as fakes:
            members = [fake.member(f"s{number}") for number, fake in enumerate(fakes)]
            async with Fleet(members, every=0.02) as fleet:
                await until(lambda: all(one.answers for one in fleet.servers))
                await scene(fakes, fleet)

    asyncio.run(all_of_it())


@pytest.mark.parametrize(("text", "count", "stages"), [
    ("1,25%,100%", 8, [1, 2, 8]), ("1,25%,100%", 1, [1]), ("1,25%,100%", 2, [1, 2]),
    ("2", 5, [2, 5]), ("50 %", 3, None), ("0", 3, None), ("3,1", 4, None), ("101%", 4, None),
    ("x", 4, None), ("", 4, None), ("1" + ",2" * 30, 4, None), ("100%", 0, []),
])  # fmt: skip
def test_stages(text: str, count: int, stages: list[int] | None) -> None:
    if stages is None:
        with pytest.raises(FleetError, match="--stages"):
            parse_stages(text, count)
    else:
        assert parse_stages(text, count) == stages


def test_all_stages_are_carried_out_while_the_fleet_is_healthy() -> None:
    async def scene(_fakes: list[FakeMember], fleet: Fleet) -> None:
        ran: list[str] = []

        async def runs(words: Sequence[str]) -> Result:
            ran.append(words[words.index("--port") + 1])
            return Result(0, "the new version plays")

        outcomes = await upgrade(fleet.servers, "/opt/new", [1, 2, 4], 0.05, run=runs)
        assert all(one.ok for one in outcomes)
        assert ran == [str(one.member.port) for one in fleet.servers]

    run(scene, 4)


@pytest.mark.parametrize(("counter", "count", "reason"), [
    ("underruns_engine", 1, "1 more gaps of the engine"),
    ("missing_pages", 3, "3 more missing pages"),
    ("underruns", MAX_UNDERRUNS + 1, "6 underruns within 60 s"),
])  # fmt: skip
def test_a_gap_on_the_first_server_stops_the_rollout(
    counter: str, count: int, reason: str
) -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        ran: list[Sequence[str]] = []

        async def runs(words: Sequence[str]) -> Result:
            ran.append(words)
            fakes[0].status[counter] += count
            return Result(0, "")

        said: list[str] = []
        first, second, third = await upgrade(
            fleet.servers, "/opt/new", [1, 3], 600.0, said.append, runs
        )
        assert len(ran) == 1 and not first.ok and first.text == reason
        assert second.text == third.text == f"not upgraded, because of s0: {reason}"
        assert said[-1] == f"stopped: s0: {reason}"

    run(scene, 3)


def test_single_underruns_do_not_stop_a_rollout() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        async def runs(words: Sequence[str]) -> Result:
            for fake, one in zip(fakes, fleet.servers, strict=True):
                if str(fake.port) in words:
                    fake.status["underruns"] += MAX_UNDERRUNS
                    await until(lambda one=one: one.recent_underruns().all)
            return Result(0, "")

        outcomes = await upgrade(fleet.servers, "/opt/new", [1, 3], 0.2, run=runs)
        assert all(one.ok for one in outcomes), outcomes
        assert all(one.health()[0] == WARN for one in fleet.servers)

    run(scene, 3)


@pytest.mark.parametrize(
    ("before", "after", "ok"), [(0, 6, False), (10, 30, True), (10, 31, False)]
)
def test_underruns_of_a_busy_machine_are_compared_with_those_before(
    before: int, after: int, ok: bool
) -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[0].status.update(underruns_late_callback=before)  # within its first minute
        await until(lambda: fleet.servers[0].usual_machine_underruns() == before)

        async def runs(_words: Sequence[str]) -> Result:
            fakes[0].status["underruns"] += after
            fakes[0].status["underruns_late_callback"] += after
            return Result(0, "")

        [first] = await upgrade(fleet.servers, "/opt/new", [1], 0.3, run=runs)
        assert first.ok == ok, first
        if not ok:
            assert first.text.endswith(f"within 60 s, and {before}.0 in a minute before")

    run(scene, 1)


def test_a_server_that_is_restarted_by_its_upgrade_has_time_to_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched, "REPLY_SECONDS", 0.1)
    monkeypatch.setattr(staged_upgrade, "AWAY_SECONDS", 2.0)

    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        await until(lambda: fleet.servers[0].offset)

        async def runs(_words: Sequence[str]) -> Result:
            fakes[0].silent = True
            await until(lambda: fleet.servers[0].failures >= 7)  # its polls have become rare
            asyncio.get_running_loop().call_later(0.8, setattr, fakes[0], "silent", False)
            return Result(0, "")

        (first,) = await upgrade(fleet.servers, "/opt/new", [1], 3.0, run=runs)
        assert first.ok, first.text

    run(scene, 1)


def test_an_upgraded_server_that_stays_away_stops_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched, "REPLY_SECONDS", 0.1)
    monkeypatch.setattr(staged_upgrade, "AWAY_SECONDS", 1.0)

    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        await until(lambda: fleet.servers[0].offset)

        async def runs(_words: Sequence[str]) -> Result:
            fakes[0].silent = True
            return Result(0, "")

        first, second = await upgrade(fleet.servers, "/opt/new", [1, 2], 60.0, run=runs)
        assert "does not answer" in first.text and not second.ok

    run(scene, 2)


def test_a_failed_command_stops_the_rollout() -> None:
    async def scene(_fakes: list[FakeMember], fleet: Fleet) -> None:
        async def runs(_words: Sequence[str]) -> Result:
            return Result(1, "the new version has failed; the previous one plays on")

        first, second = await upgrade(fleet.servers, "/opt/new", [1, 2], 600.0, run=runs)
        assert first.text.startswith("failed (1): the new version") and not second.ok

    run(scene, 2)


def test_a_server_that_is_ill_before_its_stage_stops_the_rollout() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        async def runs(_words: Sequence[str]) -> Result:
            fakes[1].status["device_lost"] = 1
            await until(lambda: fleet.servers[1].number("device_lost"))
            return Result(0, "")

        first, second = await upgrade(fleet.servers, "/opt/new", [1, 2], 0.0, run=runs)
        assert first.ok and second.text.endswith("s1: the sound device is gone")

    run(scene, 2)


def test_what_cannot_be_upgraded_is_refused_before_anything_changes() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        check_upgrade(fleet.servers, "/opt/new")
        fleet.add(Member("far", "10.77.0.9"))
        with pytest.raises(FleetError, match="far: not offered, because the fleet's file has no"):
            check_upgrade(fleet.servers, "/opt/new")
        with pytest.raises(FleetError, match="must be a path"):
            check_upgrade(fleet.servers[:1], "--now")
        with pytest.raises(FleetError, match="no server"):
            check_upgrade([], "/opt/new")
        fakes[0].status["device_lost"] = 1
        await until(lambda: fleet.servers[0].number("device_lost"))
        with pytest.raises(FleetError, match="s0: the sound device is gone"):
            check_upgrade(fleet.servers[:1], "/opt/new")

    run(scene, 1)


def test_only_loopback_has_a_command_without_configuration() -> None:
    assert command_of(Member("a", "10.0.0.1"), "/new") == []
    assert command_of(Member("a", "localhost", 9), "/new")[-4:] == ["--port", "9", "--", "/new"]
