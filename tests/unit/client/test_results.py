"""Typed results, from the replies of the real command table."""

from __future__ import annotations

import math
from typing import Any

from crowdstream.client.calls import exact, given
from crowdstream.client.results import (
    ClockBeat,
    parse_dj_status,
    parse_events,
    parse_record_status,
    parse_schedule_status,
    parse_status,
    parse_version,
    parse_waiting,
)
from crowdstream.client.subscriptions import MAX_QUEUED, changes
from crowdstream.osc.codec import Double
from tests.support.offline_server import Rig


def replied(rig: Rig, address: str, *arguments: Any) -> tuple[Any, ...]:
    """The values that the server replies to a query."""
    rig.send(address, *arguments)
    [values] = rig.heard(f"{address}.reply")
    return values


def test_the_replies_of_the_server() -> None:
    with Rig() as rig:
        assert parse_version(replied(rig, "/version")).name == "crowdstream"
        assert parse_status(replied(rig, "/status"))["sample_rate"] == 44100.0
        assert ClockBeat(*replied(rig, "/clock/beat")).bpm == 120.0
        assert parse_record_status(replied(rig, "/record/status")).paths == ()
        rig.send("/clock/at", 64.0, "/deck/A/stop")
        [waiting] = parse_waiting(replied(rig, "/waiting"))
        assert waiting.address == "/deck/A/stop" and waiting.seconds > 30.0
        events = parse_events(replied(rig, "/events"))
        assert all(event.level in ("info", "warning", "error") for event in events)
        assert parse_dj_status([replied(rig, "/dj/status")]) == (False, {})


def test_parts_of_the_djs_state_are_joined_in_order() -> None:
    parts = [(1, 2, 2, '": 1}'), (1, 1, 2, '{"a')]
    assert parse_dj_status(parts) == (True, {"a": 1})
    assert parse_dj_status([(1, 1, 1, "{broken")]).state == {}
    assert parse_dj_status([(1, 1, 1, "[1]")]).state == {}


def test_a_schedule_without_a_next_change() -> None:
    assert parse_schedule_status((1, 0, 1, 0, -1.0)) == (True, False, True, False, math.inf)


def test_optional_arguments_are_sent_together_or_not_at_all() -> None:
    assert given((0.0, 0), (0.0, 0)) == ()
    assert given((1.0, 0), (0.0, 0)) == (1.0, 0), "a single 1 would be a button's value"
    assert given((0.5, None, None), (None, None, None)) == (0.5,)
    assert given((None, 0.5), (None, None)) == (None, 0.5)


def test_arguments_are_flattened_and_floats_keep_their_precision() -> None:
    values = list(exact(["a", (1, [2.5, True])]))
    assert values == ["a", 1, 2.5, 1]
    assert isinstance(values[2], Double) and type(values[3]) is int


def test_a_subscription_that_is_not_read_drops_the_oldest() -> None:
    feed = changes()
    for number in range(MAX_QUEUED + 3):
        feed.offer("/changed", ("/deck/A/level", number))
    assert feed.lost == 3 and feed.items[0].arguments == (3,)
