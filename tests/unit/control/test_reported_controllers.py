"""Problems that users have reported of OSC controllers with other programs.

The sources are in docs/development/reported-situations.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.offline_server import Rig


@pytest.fixture
def deck(rig: Rig, steady: str) -> Rig:
    """Load a constant on deck A."""
    rig.send("/deck/A/load", steady)
    rig.send("/deck/A/level", 0.6)
    rig.run(1024)
    return rig


def test_messages_of_touch_and_tilt_change_nothing(deck: Rig) -> None:
    before = deck.status()
    for value in (1.0, 0.0):
        deck.send("/deck/A/level/z", value)
    for _ in range(50):
        deck.send("/accxyz", 0.1, -0.2, 0.9)
    assert {name: value for name, value in deck.status().items() if name.startswith("deck.A")} == {
        name: value for name, value in before.items() if name.startswith("deck.A")
    }
    assert {reason.split(" ")[0] for reason in deck.fails()} == {"/deck/A/level/z", "/accxyz"}


@pytest.mark.parametrize("value", [127, 127.0, 0.01])
def test_pads_press_with_any_strength_and_a_release_does_nothing(deck: Rig, value: Any) -> None:
    for sent in (value, type(value)(0)):
        deck.send("/deck/A/play", 0.0, 1)
        deck.run(1024)
        deck.send("/deck/A/stop", sent)
        deck.run(1024)
        playing = deck.status()["deck.A.state"] == "playing"
        assert playing == (not sent)
    assert deck.fails() == []


def test_surplus_arguments_are_refused(deck: Rig) -> None:
    deck.send("/deck/A/stop", 1.0, "page1")
    deck.send("/deck/A/level", 0.5, 0.0, "fader", 3)
    assert len(deck.fails()) == 2
    assert all("arguments" in reason for reason in deck.fails())
    assert deck.status()["deck.A.level"] == pytest.approx(0.6)
