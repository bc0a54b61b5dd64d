"""The JACK process restores the connections of its ports."""

from __future__ import annotations

from typing import Any

from crowdstream.jack.main import restore


class FakeClient:
    """A client on a server on which only some ports exist."""

    def __init__(self, *ports: str) -> None:
        self.ports = set(ports)
        self.connected: dict[str, list[str]] = {"deck_A_1": []}

    def connect(self, port: str, others: list[str]) -> None:
        """Connect a port to others, as far as they exist."""
        self.connected[port] += [other for other in others if other in self.ports]


def test_connections_to_programs_that_return_later_are_restored_once() -> None:
    client: Any = FakeClient("system:playback_1")
    missing = {"deck_A_1": ["mixer:in_1", "system:playback_1"]}
    restore(client, missing, {})
    assert client.connected == {"deck_A_1": ["system:playback_1"]}
    restore(client, missing, client.connected)
    assert missing == {"deck_A_1": ["mixer:in_1"]}
    client.ports.add("mixer:in_1")  # the mixer has been started
    restore(client, missing, client.connected)
    assert client.connected == {"deck_A_1": ["system:playback_1", "mixer:in_1"]}
    restore(client, missing, client.connected)
    assert missing == {"deck_A_1": []}
    client.connected["deck_A_1"].remove("mixer:in_1")  # by a person
    restore(client, missing, client.connected)
    assert client.connected == {"deck_A_1": ["system:playback_1"]}
