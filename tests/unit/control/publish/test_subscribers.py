"""Subscriptions to events: places are limited, and clients may vanish without unsubscribing."""

from __future__ import annotations

import pytest

from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.publish.subscribers import SILENT_SECONDS
from tests.support.offline_server import Rig


def test_the_longest_silent_client_is_removed_when_all_places_are_taken() -> None:
    with Rig() as rig:
        clients = [("127.0.0.1", 50000 + number) for number in range(MAX_SUBSCRIBERS + 2)]
        for client in clients[:MAX_SUBSCRIBERS]:
            rig.send("/notify", 1, sender=client)
        newcomer, another = clients[MAX_SUBSCRIBERS:]
        rig.send("/notify", 1, sender=newcomer)
        assert rig.fails() == [f"/notify {MAX_SUBSCRIBERS} clients are subscribed already"]
        rig.time += SILENT_SECONDS + 1.0
        for client in clients[1:MAX_SUBSCRIBERS]:
            rig.send("/version", sender=client)  # all but the first keep sending
        rig.send("/notify", 1, sender=newcomer)
        assert len(rig.fails()) == 1
        rig.core.notify("/event", 7)
        told = [sender for sender, address, _ in rig.answers.said if address == "/event"]
        assert newcomer in told and clients[0] not in told and len(told) == MAX_SUBSCRIBERS
        # It gets the number that was freed; the other clients send often enough.
        assert rig.heard("/done")[-1] == ("/notify", 0, MAX_SUBSCRIBERS)
        rig.send("/notify", 1, sender=another)
        assert len(rig.fails()) == 2


def test_controllers_keep_their_values_when_clients_come_and_go() -> None:
    with Rig() as rig:
        values: list[str] = []
        rig.core._subscribe_midi(("/deck/A/level",), lambda address, *_: values.append(address))
        for number in range(3 * MAX_SUBSCRIBERS):
            rig.time += SILENT_SECONDS + 1.0
            rig.send("/feedback", 1, 1, sender=("127.0.0.1", 50000 + number))
        assert rig.fails() == []
        rig.seconds(0.1)
        values.clear()
        rig.send("/deck/A/level", 0.5)
        rig.seconds(0.1)
        assert values == ["/deck/A/level"]


def test_a_removed_client_receives_no_clock_ticks_either() -> None:
    with Rig() as rig:
        clients = [("127.0.0.1", 50000 + number) for number in range(MAX_SUBSCRIBERS + 1)]
        for client in clients[:MAX_SUBSCRIBERS]:
            rig.send("/notify", 1, sender=client)
        rig.send("/clock/ticks", 24, sender=clients[0])
        rig.time += SILENT_SECONDS + 1.0
        rig.send("/notify", 1, sender=clients[-1])
        assert rig.core.midi_ticks.senders() == []


@pytest.mark.parametrize("on", [0, 1])
def test_an_unsubscribed_place_is_reused(on: int) -> None:
    with Rig() as rig:
        for number in range(MAX_SUBSCRIBERS):
            rig.send("/notify", 1, sender=("127.0.0.1", 50000 + number))
        rig.send("/notify", on, sender=("127.0.0.1", 50003))
        rig.send("/notify", 1, sender=("127.0.0.1", 60000))
        assert bool(rig.fails()) is bool(on)
