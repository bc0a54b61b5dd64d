"""Parts of the autopilot: own commands, manual control, crowd input and the simulated crowd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.manual_override import RELEASE_SECONDS, ManualOverride, affected
from crowdstream.dj.autopilot.server_link import OwnCommandFilter
from crowdstream.dj.autopilot.simulate_crowd import Crowd
from crowdstream.movement.map_file import read_map
from crowdstream.osc.codec import Double
from crowdstream.settings.files import PRESETS

CROWD_MAP = read_map(PRESETS / "crowd.toml", 120.0)


def test_each_own_command_is_recognised_once() -> None:
    own_commands = OwnCommandFilter()
    own_commands.expect("/deck/A/level", (0.1, 2), 0.0)
    assert own_commands.own("/deck/A/level", (np.float32(0.1).item(), 2.0))
    assert not own_commands.own("/deck/A/level", (np.float32(0.1).item(), 2.0))
    own_commands.expect("/clock/at", (Double(64.0), "/deck/B/play"), 0.0)
    assert own_commands.own("/clock/at", (64.0, "/deck/B/play"))
    assert own_commands.own("/deck/B/play", ())
    own_commands.expect("/mix/level", (1.0,), 0.0)
    own_commands.forget_old(500.0)
    assert not own_commands.own("/mix/level", (1.0,))


@pytest.mark.parametrize(
    ("address", "arguments", "expected"),
    [
        ("/deck/b/eq/low", (0.5,), {"B"}),
        ("/deck/B/pfl", (1.0,), set()),
        ("/deck/B/stem/2/pfl", (1.0,), set()),
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
def test_the_decks_affected_by_a_command(
    address: str, arguments: tuple[Any, ...], expected: set[str]
) -> None:
    assert affected(address, arguments) == expected


def test_a_stopped_deck_is_released_after_a_while() -> None:
    override = ManualOverride()
    assert override.take("A", 0.0) and not override.take("A", 1.0)
    assert override.tick(2.0 + RELEASE_SECONDS, set("B")) == []
    assert override.tick(0.5 + RELEASE_SECONDS, {"A"}) == []
    assert override.tick(2.0 + RELEASE_SECONDS, {"A"}) == ["A"]
    assert "A" not in override


def test_the_tempo_follows_the_crowd_within_limits_and_returns_to_the_plan() -> None:
    crowd = CrowdInput(CROWD_MAP)
    assert crowd.step(0.0, 120.0, 120.0, (110.0, 130.0)) is None
    bpm, now = 120.0, 0.0
    for _ in range(60):
        crowd.report(1.0, now)
        bpm = crowd.step(now, bpm, 120.0, (110.0, 126.0)) or bpm
        now += 1.0
    assert bpm == pytest.approx(126.0)
    assert crowd.wanted_bpm(now) == 130.0
    for _ in range(100):
        bpm = crowd.step(now, bpm, 120.0, (110.0, 126.0)) or bpm
        now += 1.0
    assert bpm == pytest.approx(120.0) and crowd.wanted_bpm(now) is None


def test_energy_follows_the_crowd_up_faster_than_down() -> None:
    crowd = CrowdInput(CROWD_MAP)
    crowd.report(0.0, 0.0)
    crowd.tick(0.0)
    low = crowd.energy(0.0)
    levels = []
    for second in range(1, 31):
        crowd.report(0.6 if second <= 15 else 0.0, second)
        crowd.tick(second)
        levels.append(crowd.energy(second))
    assert low is not None and levels[14] is not None and levels[29] is not None
    assert levels[14] - low > levels[14] - levels[29] > 0.0


def test_a_crowd_arrives_dances_tires_and_is_reproducible() -> None:
    def movement(seed: int, energy: float, seconds: int) -> list[float]:
        crowd = Crowd(seed)
        return [crowd.step(energy, 1.0) for _ in range(seconds)]

    assert movement(1, 0.8, 300) == movement(1, 0.8, 300) != movement(2, 0.8, 300)
    long_run = movement(1, 1.0, 6000)
    assert np.mean(long_run[:60]) < 0.3 * np.max(long_run)
    assert np.mean(long_run[1000:1300]) > 1.3 * np.mean(long_run[5000:5300]), "the crowd gets tired"
    assert all(0.0 <= value <= 1.0 for value in long_run)


def test_a_drop_makes_the_crowd_jump() -> None:
    crowd = Crowd(3)
    for _ in range(1200):
        crowd.step(0.2, 1.0)
    calm = np.mean([crowd.step(0.2, 0.1) for _ in range(100)])
    drop = np.mean([crowd.step(1.0, 0.1) for _ in range(60)])
    assert drop > 2 * calm
