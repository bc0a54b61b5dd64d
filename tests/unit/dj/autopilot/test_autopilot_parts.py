"""Parts of the live DJ: echoes, hands, the floor, and the crowd that is made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.manual_override import GIVEN_SECONDS, ManualOverride, touched
from crowdstream.dj.autopilot.own_commands import OwnCommandFilter
from crowdstream.dj.autopilot.simulate_crowd import Crowd
from crowdstream.movement.map_file import read_map
from crowdstream.osc.codec import Double
from crowdstream.settings.files import PRESETS

CHART = read_map(PRESETS / "crowd.toml", 120.0)


def test_own_commands_are_known_again_once_each() -> None:
    echoes = OwnCommandFilter()
    echoes.expect("/deck/A/level", (0.1, 2), 0.0)
    assert echoes.own("/deck/A/level", (np.float32(0.1).item(), 2.0))
    assert not echoes.own("/deck/A/level", (np.float32(0.1).item(), 2.0))
    echoes.expect("/clock/at", (Double(64.0), "/deck/B/play"), 0.0)
    assert echoes.own("/clock/at", (64.0, "/deck/B/play"))
    assert echoes.own("/deck/B/play", ())
    echoes.expect("/mix/level", (1.0,), 0.0)
    echoes.forget_old(500.0)
    assert not echoes.own("/mix/level", (1.0,))


@pytest.mark.parametrize(
    ("address", "arguments", "what"),
    [
        ("/deck/b/eq/low", (0.5,), {"B"}),
        ("/deck/B/listen", (1.0,), set()),
        ("/play_stem", (1100, 1.0), {"B"}),
        ("/cue", ("C", "x.wav"), {"C"}),
        ("/start_group", (0.0, "A", "D"), {"A", "D"}),
        ("/deck_levels", (1.0, 1.0), {"A", "B"}),
        ("/set_tempo", (120.0,), {"tempo"}),
        ("/mixer_cleanup", (), set("ABCD")),
        ("/clock/at", (8.0, "/deck/A/stop"), set()),
        ("/mix/level", (1.0,), set()),
    ],
)
def test_what_a_command_touches(address: str, arguments: tuple[Any, ...], what: set[str]) -> None:
    assert touched(address, arguments) == what


def test_a_deck_that_stands_still_is_given_back_after_a_while() -> None:
    hands = ManualOverride()
    assert hands.take("A", 0.0) and not hands.take("A", 1.0)
    assert hands.tick(2.0 + GIVEN_SECONDS, set("B")) == []
    assert hands.tick(0.5 + GIVEN_SECONDS, {"A"}) == []
    assert hands.tick(2.0 + GIVEN_SECONDS, {"A"}) == ["A"]
    assert "A" not in hands


def test_the_tempo_follows_the_crowd_within_what_tracks_bear_and_comes_back() -> None:
    floor = CrowdInput(CHART)
    assert floor.step(0.0, 120.0, 120.0, (110.0, 130.0)) is None
    bpm, now = 120.0, 0.0
    for _ in range(60):
        floor.moved(1.0, now)
        bpm = floor.step(now, bpm, 120.0, (110.0, 126.0)) or bpm
        now += 1.0
    assert bpm == pytest.approx(126.0)
    assert floor.wanted(now) == 130.0
    for _ in range(100):
        bpm = floor.step(now, bpm, 120.0, (110.0, 126.0)) or bpm
        now += 1.0
    assert bpm == pytest.approx(120.0) and floor.wanted(now) is None


def test_energy_follows_the_crowd_up_faster_than_down() -> None:
    floor = CrowdInput(CHART)
    floor.moved(0.0, 0.0)
    floor.tick(0.0)
    low = floor.energy(0.0)
    levels = []
    for second in range(1, 31):
        floor.moved(0.6 if second <= 15 else 0.0, second)
        floor.tick(second)
        levels.append(floor.energy(second))
    assert low is not None and levels[14] is not None and levels[29] is not None
    assert levels[14] - low > levels[14] - levels[29] > 0.0


def test_a_crowd_arrives_dances_tires_and_is_the_same_for_a_seed() -> None:
    def night(seed: int, energy: float, seconds: int) -> list[float]:
        crowd = Crowd(seed)
        return [crowd.step(energy, 1.0) for _ in range(seconds)]

    assert night(1, 0.8, 300) == night(1, 0.8, 300) != night(2, 0.8, 300)
    long = night(1, 1.0, 6000)
    assert np.mean(long[:60]) < 0.3 * np.max(long)
    assert np.mean(long[1000:1300]) > 1.3 * np.mean(long[5000:5300]), "they get tired"
    assert all(0.0 <= value <= 1.0 for value in long)


def test_a_drop_is_danced_to() -> None:
    crowd = Crowd(3)
    for _ in range(1200):
        crowd.step(0.2, 1.0)
    calm = np.mean([crowd.step(0.2, 0.1) for _ in range(100)])
    drop = np.mean([crowd.step(1.0, 0.1) for _ in range(60)])
    assert drop > 2 * calm
