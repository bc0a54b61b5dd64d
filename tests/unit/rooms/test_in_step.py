"""Rooms in virtual time: jitter, loss, drift, deaths and strangers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from crowdstream.rooms.packets import DATA, PROBE, Seal, make_open, read_key
from tests.support.simulated_rooms import ABOUT, Network, World


def spreads(world: World, seconds: float) -> np.ndarray:
    """The spread of all masters, in ms, four times a second."""
    found: list[float] = []
    world.run(seconds, lambda: found.append(1000.0 * world.spread()))
    return np.array(found)


@pytest.mark.parametrize("cards", [(0.0, 100.0, -100.0), (100.0, -100.0, 0.0)])
def test_masters_stay_within_half_a_millisecond(cards: tuple[float, ...]) -> None:
    world = World(cards)
    spreads(world, 20.0)
    found = spreads(world, 40.0)
    assert np.percentile(found, 95) < 0.5
    assert all(room.follower and room.follower.steering.relocks == 0 for room in world.rooms)
    for room, ppm in zip(world.rooms, cards[1:], strict=True):
        assert room.card.rate * 1e6 == pytest.approx(cards[0] - ppm, abs=25.0)


def test_a_room_is_near_within_two_seconds() -> None:
    world = World()
    world.run(2.0)
    assert 1000.0 * world.spread() < 2.5
    assert [event for event, _ in world.rooms[0].events] == ["connected", "shift"]


def test_messages_arrive_with_the_rooms_shift() -> None:
    world = World()
    world.run(2.0)
    for number in range(50):
        world.leader.queue({"n": number})
        world.run(0.05)
    world.run(0.5)
    for room in world.rooms:
        assert room.follower is not None
        assert room.messages == [({"n": n}, room.follower.steering.shift) for n in range(50)]


def test_a_message_arrives_within_the_lead() -> None:
    world = World()
    world.run(2.0)
    late = 0
    for number in range(200):
        world.leader.queue({"n": number})
        world.run(0.14)
        late += sum(room.messages[-1:] != [({"n": number}, room.messages[-1][1])]
                    for room in world.rooms)
    assert late <= 1


def test_a_killed_room_returns() -> None:
    world = World()
    world.run(15.0)
    room = world.rooms[0]
    room.kill()
    world.run(10.0)
    assert [event for event, _ in world.events if event == "left"] == ["left"]
    room.start()
    world.run(2.0)
    assert 1000.0 * world.spread() < 2.5
    assert len(world.leader.rooms) == 2


def test_a_room_that_is_back_at_once_is_not_counted_twice_for_long() -> None:
    world = World()
    world.run(3.0)
    world.rooms[0].kill()
    world.rooms[0].start()
    world.run(4.0)
    assert len(world.leader.rooms) == 2


def test_a_room_that_was_restarted_is_not_reported_as_lost() -> None:
    world = World()
    world.run(3.0)
    world.rooms[0].kill()
    world.run(1.0)
    world.rooms[0].start()
    world.run(1.0)
    assert len(world.leader.rooms) == 2
    world.run(5.0)
    assert [event for event, _ in world.events] == ["joined"] * 3
    assert len(world.leader.rooms) == 2


def test_rooms_play_on_without_their_leader_and_find_it_again() -> None:
    world = World()
    world.run(30.0)
    rates = [room.card.rate for room in world.rooms]
    network, world.network = world.network, Network(loss=1.0)
    world.run(10.0)
    assert 1000.0 * world.spread() < 1.0  # by what was known of the clocks
    assert [room.card.rate for room in world.rooms] == pytest.approx(rates, abs=30e-6)
    assert all([event for event, _ in room.events].count("lost") == 1 for room in world.rooms)
    world.network = network
    world.start_leader()
    world.run(10.0)
    assert all(room.follower and room.follower.joined for room in world.rooms)
    assert 1000.0 * world.spread() < 1.0


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_room_that_returns_receives_the_messages_in_order(seed: int) -> None:
    world = World(seed=seed)
    world.run(3.0)
    network, world.network = world.network, Network(loss=1.0)
    world.run(4.0)
    world.network = network
    for number in range(400):
        world.leader.queue({"n": number})
        world.run(0.005)
    for room in world.rooms:
        found = [message["n"] for message, _ in room.messages]
        assert len(found) > 50
        assert found == sorted(found)


def test_no_message_is_delivered_by_the_shift_of_a_former_leader() -> None:
    found = 0
    for number in range(40):
        world = World((0.0, 50.0), Network(loss=0.0), seed=number)
        (room,) = world.rooms
        world.run(3.0)
        world.card.place -= 500_000.0  # its server was restarted, and counts from 0
        world.start_leader()
        while not world.leader.rooms:
            world.run(0.005)
        world.run(0.15 + 0.005 * number)  # about until the room knows the clock
        world.leader.queue({})
        world.run(1.0)
        assert room.follower is not None
        ((_message, shift),) = room.messages
        found += shift != room.follower.steering.shift
    assert not found


def test_rooms_that_are_found_by_a_new_leader_do_not_count_as_strangers() -> None:
    world = World()
    world.run(3.0)
    world.start_leader()
    world.run(6.0)
    assert len(world.leader.rooms) == 2 and world.leader.forged == 0
    world.leader.receive(bytes((PROBE,)) + bytes(100), "stranger", world.machine.monotonic())
    assert world.leader.forged == 1


def test_an_interruption_of_a_card_is_made_up_for() -> None:
    world = World()
    world.run(20.0)
    world.rooms[0].card.interrupt(0.3)
    world.run(10.0)
    room = world.rooms[0]
    assert room.follower is not None and room.follower.steering.relocks >= 1
    assert 1000.0 * world.spread() < 1.5


def test_the_packets_of_strangers_change_nothing() -> None:
    plain, attacked = World(seed=5), World(seed=5)
    strange = random.Random(6)
    foreign = Seal(read_key(b"the key of somebody else"), b"12345678", b"L")
    recorded: list[bytes] = []
    for room in attacked.rooms:
        receive = room.receive

        def tapped(data: bytes, receive: object = receive) -> None:
            recorded.append(data)
            receive(data)  # type: ignore[operator]

        room.receive = tapped  # type: ignore[method-assign]
    counts = []
    for _ in range(40):
        for world in (plain, attacked):
            world.run(0.25)
        packets = [strange.randbytes(strange.randrange(1, 1500)) for _ in range(5)]
        packets += [foreign.make(DATA, b"x"), make_open(strange.randbytes(32), b"L", 2, b"12345678",
                                                        bytes(33))]
        packets += recorded[-20:]
        for room in attacked.rooms:
            assert room.follower is not None
            before = room.follower.forged
            for packet in packets:
                room.follower.receive(packet, room.machine.monotonic())
            counts.append(room.follower.forged - before)
        for packet in packets:
            attacked.leader.receive(packet, "stranger", attacked.machine.monotonic())
    assert all(count >= 7 for count in counts)
    assert attacked.leader.forged >= 40 * 7
    assert [room.card.rate for room in plain.rooms] == [room.card.rate for room in attacked.rooms]
    assert plain.offsets() == attacked.offsets()


@pytest.mark.parametrize("name", ["sample_rate", "base_bpm"])
def test_a_room_that_can_not_play_the_same_is_refused_with_the_reason(name: str) -> None:
    world = World((0.0, 0.0))
    world.rooms[0].follower._about[name] = 1.0  # type: ignore[union-attr]
    world.run(3.0)
    (event, values), *_ = world.rooms[0].events
    assert event == "refused" and str(ABOUT[name]) in values["reason"]
    assert len([event for event, _ in world.rooms[0].events]) == 1
    assert world.rooms[0].card.wanted == 0.0
