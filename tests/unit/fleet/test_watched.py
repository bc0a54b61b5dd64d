"""The state of a server: faults reported once, restarts, gaps, clocks, and the view of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rich.cells import cell_len

from crowdstream.fleet.commands import Outcome
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import Member
from crowdstream.fleet.view import draw_fleet, outcome_line
from crowdstream.fleet.watched import BAD, OK, WARN, Watched, describe_difference
from crowdstream.system.text import to_json
from crowdstream.top.fields import ASCII, UNICODE
from tests.support.fake_member import FakeMember, fake_members, until

Scene = Callable[[FakeMember, Fleet], Awaitable[None]]


def run(scene: Scene, ahead: float = 0.0) -> None:
    """Run a scene with a fleet of one fake server that is polled quickly."""

    async def all_of_it() -> None:
        async with (
            fake_members(ahead) as [fake],
            Fleet([fake.member("main")], every=0.02) as fleet,
        ):
            await until(lambda: fleet.servers[0].answers)
            await scene(fake, fleet)

    asyncio.run(all_of_it())


def test_a_healthy_server_shows_its_track_and_its_clock() -> None:
    async def scene(_fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        await until(lambda: one.offset is not None)
        assert one.health() == (OK, []) and one.version == "0.1.0 main abc"
        [track] = one.tracks()
        assert (track.deck, track.name, track.state) == ("A", "night drive", "playing")
        for width in (60, 100, 200):
            lines = [line.plain for line in draw_fleet(fleet, width, 24, UNICODE)]
            assert all(cell_len(line) <= width for line in lines)
            assert "main" in lines[1] and "night drive" in lines[1]
        assert "A > night drive -3:05" in draw_fleet(fleet, 200, 24, ASCII)[1].plain
        assert '"night drive"' in to_json(one.describe())

    run(scene)


def test_a_server_that_goes_and_returns_is_reported_once_each() -> None:
    async def scene(fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        fake.fails["/status"] = "only for --osc-allow"
        await until(lambda: one.failures >= 3)
        assert one.health() == (BAD, ["/status: only for --osc-allow"])
        assert "only for --osc-allow" in draw_fleet(fleet, 100, 24, ASCII)[1].plain
        fake.fails.clear()
        await until(lambda: one.answers)
        texts = [entry.text for entry in fleet.log]
        assert texts == [
            "answers", "does not answer: /status: only for --osc-allow", "answers again"
        ]
        assert fleet.faults == {"main": 1}

    run(scene)


def test_gaps_and_lost_devices_count_against_the_health() -> None:
    async def scene(fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        fake.status["missing_pages"] = 2
        await until(lambda: one.health()[0] == BAD)
        assert one.health()[1] == ["2 more missing pages"]
        fake.status.update(device_lost=1, quality=2)
        await until(lambda: len(one.health()[1]) == 3)
        assert one.health()[1][0] == "the sound device is gone"
        assert any("device is gone" in line.plain for line in draw_fleet(fleet, 99, 24, ASCII))

    run(scene)


def test_underruns_count_by_their_rate() -> None:
    now = 1000.0
    reports: list[tuple[str, str, str]] = []
    one = Watched(Member("main", "x"), lambda *entry: reports.append(entry), lambda: now)

    def poll(underruns: int) -> tuple[str, list[str]]:
        one.take_status({"frame": now, "sample_rate": 1.0, "underruns": underruns})
        return one.health()

    assert poll(7) == (OK, []), "what it counted before is not new"
    assert poll(8) == (WARN, ["1 underrun within 60 s"])
    now += 40.0
    assert poll(12) == (WARN, ["5 underruns within 60 s"])
    assert poll(13) == (BAD, ["6 underruns within 60 s"])
    now += 30.0
    assert poll(13) == (WARN, ["5 underruns within 60 s"]), "the first one is old"
    now += 60.0
    assert poll(13) == (OK, [])
    assert [(grade, text) for grade, _name, text in reports[1:]] == [
        (WARN, "1 underrun within 60 s"), (BAD, "6 underruns within 60 s"),
    ]  # fmt: skip


def test_a_restart_is_noticed() -> None:
    async def scene(fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        fake.status.update(frame=5, underruns=0)
        await until(lambda: one.restarts == 1)
        assert fleet.log[-1].text == "was restarted"

    run(scene)


def test_a_clock_that_is_years_off_is_a_warning() -> None:
    async def scene(_fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        await until(lambda: one.offset is not None)
        assert one.health() == (WARN, ["its clock is 3.0 years behind"])
        assert "-1096 d" in draw_fleet(fleet, 200, 24, ASCII)[1].plain

    run(scene, -3.0 * 31557600.0)


def test_an_earlier_version_without_the_clock_command_is_shown() -> None:
    async def scene() -> None:
        async with fake_members(0.0) as [fake]:
            fake.fails["/clock/time"] = "unknown address"
            async with Fleet([fake.member("old")]) as fleet:
                [one] = fleet.servers
                await until(lambda: one.health()[0] == WARN)
                assert "cannot be measured" in one.clock_trouble and one.offset is None

    asyncio.run(scene())


def test_absurd_values_are_shown_harmlessly() -> None:
    async def scene(fake: FakeMember, fleet: Fleet) -> None:
        [one] = fleet.servers
        fake.status.update({
            "deck.A.track": "\x1b[2J\nname" * 500, "deck.A.position": float("nan"), "bpm": "fast",
            "load_percent": float("inf"), "sample_rate": 0.0, "latency_ms": float("nan"),
        })  # fmt: skip
        await until(lambda: one.status.get("bpm") == "fast")
        for line in draw_fleet(fleet, 120, 24, UNICODE):
            assert line.plain.isprintable()
        assert "NaN" not in to_json(one.describe()) and one.output_delay() > 0.0

    run(scene)


def test_an_unknown_host_is_a_fault_of_that_server_alone() -> None:
    async def scene() -> None:
        async with fake_members(0.0) as [fake]:
            unknown = Member("gone", "no-such-host.invalid")
            async with Fleet([unknown, fake.member("main")], every=0.02) as fleet:
                await until(lambda: fleet.servers[1].answers and fleet.servers[0].failures)
                assert fleet.servers[0].health()[0] == BAD

    asyncio.run(scene())


def test_a_server_is_added_once_while_the_fleet_runs() -> None:
    async def scene() -> None:
        async with (
            fake_members(0.0, 0.0) as [first, second],
            Fleet([first.member("first")]) as fleet,
        ):
            assert fleet.add(second.member("second"))
            assert not fleet.add(second.member("another name"))
            assert not fleet.add(Member("second", "10.0.0.1"))
            await until(lambda: all(one.answers for one in fleet.servers))
            assert len(fleet.servers) == 2

    asyncio.run(scene())


def test_many_servers_fit_any_terminal() -> None:
    async def scene() -> None:
        fleet = Fleet([Member(f"server {number}", "x", 1000 + number) for number in range(40)])
        for height in range(1, 60):
            assert len(draw_fleet(fleet, 80, height, ASCII)) <= height
        assert any("more servers" in line.plain for line in draw_fleet(fleet, 80, 24, ASCII))

    asyncio.run(scene())


def test_differences_have_suitable_units() -> None:
    assert describe_difference(0.0123) == "12.3 ms ahead"
    assert describe_difference(-7200.0) == "2.0 hours behind"
    assert describe_difference(5 * 31557600.0) == "5.0 years ahead"


def test_outcomes_are_one_line() -> None:
    assert outcome_line(Outcome("a", True, "done"), ASCII).plain == "* a  done"


