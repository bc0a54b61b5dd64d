"""Control rests while nothing has to be done, and is ready in time for what has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crowdstream.control.dispatcher import REST_SECONDS, TICK_SECONDS
from crowdstream.control.processes.rollout import Rollout
from crowdstream.control.scheduler import HORIZON_SECONDS
from crowdstream.control.server import Server
from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle


def seconds_until_due(rig: Rig) -> float:
    """The time from the latest tick to the next one that is due."""
    return rig.core.due() - rig.core._ticked


def test_an_idle_server_rests(rig: Rig) -> None:
    rig.step()
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)
    assert rig.core.due(rig.time + 0.05) == pytest.approx(rig.time + 0.05)
    assert rig.core.due(0.0) - rig.core._ticked == pytest.approx(TICK_SECONDS), "not at once"


def test_a_playing_server_rests(rig: Rig, steady: str) -> None:
    rig.step()
    rig.send("/deck/A/load", steady)
    rig.send("/deck/A/play")
    assert seconds_until_due(rig) == pytest.approx(TICK_SECONDS), "the start waits for the file"
    rig.seconds(0.2)
    assert rig.out.any()
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)
    rig.send("/deck/A/unload")
    assert seconds_until_due(rig) == pytest.approx(TICK_SECONDS), "until the track is silent"
    rig.seconds(0.2)
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)


def test_scheduled_messages_are_handled_in_time(rig: Rig) -> None:
    begin = rig.time
    rig.raw(bundle(HORIZON_SECONDS + 1.0, build("/deck/A/level", (0.5,))))
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)
    rig.run(round(0.9 * RATE))
    assert rig.core.due() - begin == pytest.approx(1.0, abs=0.03)
    rig.send("/clock/quantize", 1.0)
    rig.seconds(0.2)
    rig.send("/deck/A/play")
    assert seconds_until_due(rig) == pytest.approx(TICK_SECONDS), "the next beat is near"


@pytest.mark.parametrize(("address", "rate"), [("/meters", 25.0), ("/feedback", 40.0)])
def test_subscribers_are_served_at_their_rate(rig: Rig, address: str, rate: float) -> None:
    rig.send(address, *((rate,) if address == "/meters" else (1,)))
    rig.step()
    assert TICK_SECONDS <= seconds_until_due(rig) <= 1 / rate + 1 / RATE


def test_changes_are_sent_soon(rig: Rig) -> None:
    rig.send("/changes/subscribe", 1)
    rig.step()
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)
    rig.send("/deck/A/level", 0.5)
    assert seconds_until_due(rig) < 0.1


def test_an_announcement_and_printed_beats_need_frequent_ticks(rig: Rig, steady: str) -> None:
    rig.send("/announce", steady)
    assert seconds_until_due(rig) == pytest.approx(TICK_SECONDS)
    rig.seconds(5.0)
    assert seconds_until_due(rig) == pytest.approx(REST_SECONDS)
    rig.core.print_clock(True)
    assert seconds_until_due(rig) == pytest.approx(TICK_SECONDS)


def test_a_tick_publishes_all_that_it_decides(tmp_path: Path) -> None:
    """The next tick may be 0.2 s away: a change of the tempo would act that much late."""
    chart = tmp_path / "map.toml"
    chart.write_text("steps = [[0, 110], [1, 140]]\nattack_seconds = 1\n", encoding="utf-8")
    rig = Rig(movement_map=chart)
    try:
        rig.send("/dance/total_movement", 1.0)
        rig.render(round(REST_SECONDS * RATE))
        assert rig.core.beat_clock.bpm > 120.0, "the tick has followed the movement"
        for _ in range(2):
            rig.render(round(REST_SECONDS * RATE))
        assert rig.status()["late_commands"] == 0
    finally:
        rig.close()


@pytest.mark.parametrize("stage", ["rollout", "rollback"])
def test_a_server_rests_when_an_upgrade_has_replaced_all_processes(rig: Rig, stage: str) -> None:
    forks: Any = SimpleNamespace(ready=False)
    engines: Any = SimpleNamespace(plays_foreign=False, has_foreign=False)
    loader: Any = SimpleNamespace(child=SimpleNamespace(is_foreign=False), waiting=False)
    server = Server.__new__(Server)
    server.core, server._loader = rig.core, loader
    server._web = server._silence = None
    server._supervised = []
    server._rollout = Rollout(
        {"stage": stage}, rig.desk, forks, engines, loader, None, [], lambda **_report: None
    )
    rig.step()
    assert not server._rollout.tick()
    assert server._tick_due() - rig.core._ticked == pytest.approx(TICK_SECONDS)
    forks.ready = True
    assert server._rollout.tick()
    assert server._tick_due() - rig.core._ticked == pytest.approx(REST_SECONDS)
