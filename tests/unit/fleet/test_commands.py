"""Commands to several servers: time tags by each server's clock, and refusals before a start."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from crowdstream.client import AsyncClient
from crowdstream.fleet.clock_offset import ClockUnusable, intersect, measure
from crowdstream.fleet.commands import MIN_LEAD_SECONDS, Outcome, send_now, send_together, typed
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import FleetError
from crowdstream.osc.codec import Double, build
from tests.support.fake_member import FakeMember, fake_members

YEARS = 4 * 365.25 * 86400.0
Scene = Callable[[list[FakeMember], Fleet], Awaitable[None]]


def run(scene: Scene, *ahead: float) -> None:
    """Run a scene with a fleet of fake servers, whose clocks differ by these seconds."""

    async def all_of_it() -> None:
        async with fake_members(*ahead) as fakes:
            members = [fake.member(f"s{number}") for number, fake in enumerate(fakes)]
            async with Fleet(members) as fleet:
                await fleet.contact(30.0)
                await scene(fakes, fleet)

    asyncio.run(all_of_it())


def test_the_intersection_bounds_the_offset() -> None:
    assert intersect([(1.0, 3.0), (2.0, 5.0), (0.0, 2.5)]) == (2.25, 0.25)
    with pytest.raises(ClockUnusable, match="was set"):
        intersect([(1.0, 2.0), (3.0, 4.0)])


def test_a_clock_is_measured_within_its_error() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        async with fleet.servers[0].client() as client:
            offset = await measure(client)
        truth = time.time() + fakes[0].ahead - time.monotonic()
        assert abs(offset.seconds - truth) <= offset.error + 1e-4  # the clocks are read in turn
        assert offset.difference(1000.0, 1000.0 - truth + 12.0) == pytest.approx(12.0, abs=0.5)

    run(scene, 12.0)


@pytest.mark.parametrize("ahead", [1e11, -1e11, float("nan")])
def test_a_clock_beyond_the_time_tags_is_unusable(ahead: float) -> None:
    async def scene(_fakes: list[FakeMember], fleet: Fleet) -> None:
        async with fleet.servers[0].client() as client:
            with pytest.raises(ClockUnusable):
                await measure(client)
        assert fleet.servers[0].clock_trouble
        with pytest.raises(FleetError, match="nothing was sent: s0: its"):
            await send_together(fleet.servers, "/deck/A/play", ())

    run(scene, ahead)


def test_clocks_that_differ_by_years_start_together() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        outcomes = await send_together(fleet.servers, "/deck/A/play", (), MIN_LEAD_SECONDS)
        assert all(outcome.ok for outcome in outcomes)
        tags = []
        for fake, outcome in zip(fakes, outcomes, strict=True):
            [(tag, address, _arguments)] = fake.received
            assert address == "/deck/A/play" and tag is not None
            tags.append((tag - fake.ahead, outcome.values[1]))
        for moment, error in tags:
            assert abs(moment - tags[0][0]) <= error + tags[0][1] + 1e-4
        assert "years ahead" in outcomes[1].text
        assert any("years behind" in entry.text for entry in fleet.log)

    run(scene, 0.0, YEARS, -YEARS)


def test_a_lost_command_is_sent_again_and_a_lost_reply_is_not() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[0].lost_packets, fakes[1].lost_replies = 2, 1
        outcomes = await send_together(fleet.servers, "/deck/A/play", (), 3.0)
        assert all(outcome.ok for outcome in outcomes), outcomes
        assert [len(fake.received) for fake in fakes] == [1, 1]
        assert fakes[0].lost_packets == fakes[1].lost_replies == 0

    run(scene, YEARS, 0.0)


def test_a_command_that_is_lost_again_and_again_is_an_error_of_that_server() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[0].lost_packets = 100
        lost, good = await send_together(fleet.servers, "/deck/A/play", (), 1.5)
        assert not lost.ok and "/deck/A/play" in lost.text
        assert good.ok and not fakes[0].received

    run(scene, 0.0, 0.0)


def test_a_longer_latency_starts_earlier() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[1].status["latency_ms"] = 120.0
        await send_together(fleet.servers, "/deck/A/play", (), MIN_LEAD_SECONDS)
        (first, *_), (second, *_) = fakes[0].received[0], fakes[1].received[0]
        assert first is not None and second is not None
        errors = [one.offset.error for one in fleet.servers if one.offset]
        assert first - second == pytest.approx(0.1, abs=sum(errors) + 1e-4)

    run(scene, 0.0, 0.0)


def test_a_gap_is_reported_although_a_start_is_the_first_to_see_it() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[0].status["missing_pages"] = 3
        await send_together(fleet.servers, "/deck/A/play", (), MIN_LEAD_SECONDS)
        assert fleet.servers[0].gap == "3 more missing pages"
        assert fleet.log[-1].text == "3 more missing pages"

    run(scene, 0.0)


def test_nothing_is_sent_if_one_clock_is_too_uncertain() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[1].delay = 0.05
        with pytest.raises(FleetError, match=r"sent: s1: its clock is known to .* only"):
            await send_together(fleet.servers, "/deck/A/play", (), 1.0, max_error_ms=10.0)
        assert not fakes[0].received and not fakes[1].received

    run(scene, 0.0, 0.0)


def test_a_command_that_cannot_be_scheduled_is_refused() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        with pytest.raises(FleetError, match="cannot be scheduled"):
            await send_together(fleet.servers, "/clock/meter", (3,))
        with pytest.raises(FleetError, match=r"0\.5 to 3600 s"):
            await send_together(fleet.servers, "/deck/A/play", (), 0.1)
        assert not fakes[0].received

    run(scene, 0.0)


def test_each_server_has_an_outcome_of_its_own() -> None:
    async def scene(fakes: list[FakeMember], fleet: Fleet) -> None:
        fakes[1].fails["/deck/A/level"] = "gain: too loud"
        good, bad = await send_now(fleet.servers, "/deck/A/level", (0.5,))
        assert good == Outcome("s0", True, "done", ())
        assert not bad.ok and "too loud" in bad.text
        assert [entry[1:] for entry in fakes[0].received] == [("/deck/A/level", (0.5,))]

    run(scene, 0.0, 0.0)


def test_forged_replies_are_not_accepted() -> None:
    forged = Double(1e9)

    async def scene() -> None:
        async with fake_members(0.0) as [fake], AsyncClient(port=fake.port) as client:
            fake.silent = True  # the genuine reply comes later than the forged ones
            task = asyncio.ensure_future(measure(client, 1))
            await asyncio.sleep(0)
            sender = client._endpoint._socket.getsockname()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for number in range(100):  # from another address
                    stranger.sendto(build("/clock/time.reply", (number, forged, 1)), sender)
            fake.send(build("/clock/time.reply", (-1, forged, 1)), sender)  # another number
            fake.silent = False
            assert (await task).server_time(time.monotonic()) == pytest.approx(time.time(), abs=60)

    asyncio.run(scene())


def test_words_become_the_arguments_that_the_command_expects() -> None:
    assert typed("/deck/A/level", ["0.5", "2"]) == (0.5, 2)
    assert typed("/deck/A/load", ["1984.wav"]) == ("1984.wav",)
    assert typed("/deck/A/load", ["1984"]) == ("1984",)
    assert typed("/dj/folders", ["1", "2"]) == ("1", "2")
    assert typed("/unknown", ["a", "1", "1.5"]) == ("a", 1, 1.5)
