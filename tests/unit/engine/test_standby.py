"""How often the standby looks at the active engine, and what it concludes, without engines."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import PLAYING
from crowdstream.engine.drivers.callback import Callback
from crowdstream.engine.standby import (
    CALLED_CHECK_SECONDS,
    CHECK_SECONDS,
    CLOSE_CHECK_SECONDS,
    LOST_SECONDS,
    SILENT_CHECK_SECONDS,
    StandbyMonitor,
)

ALARM = 0.065  # s without a block
RECENT, LATE = 0.02, 0.07


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


def pause(desk: Desk, device: bool, stale: float) -> float:
    """The time until the next check, `stale` seconds after the latest block."""
    monitor = StandbyMonitor(desk, Lease(desk, 2), Callback(desk, 256, 2), False, device=device)
    return monitor._pause(stale, ALARM, False)


def test_without_a_device_it_sleeps_longer_while_nothing_plays(desk: Desk) -> None:
    assert pause(desk, False, RECENT) == SILENT_CHECK_SECONDS
    desk.voices["state"][3] = PLAYING
    assert pause(desk, False, RECENT) == pytest.approx(ALARM - RECENT)
    desk.voices["state"][3] = 0
    desk.inputs["locked"][1] = 1
    assert pause(desk, False, RECENT) == pytest.approx(ALARM - RECENT)


def test_a_late_block_is_watched_closely_also_in_silence(desk: Desk) -> None:
    assert pause(desk, False, LATE) == CLOSE_CHECK_SECONDS


def test_with_a_device_it_looks_as_often_in_silence(desk: Desk) -> None:
    assert pause(desk, True, RECENT) == CHECK_SECONDS


@pytest.mark.parametrize("running", [True, False])
def test_a_machine_that_stood_still_has_not_lost_its_device(
    desk: Desk, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    Lease(desk, 1).begin()
    desk.clock["callback_ns"] = int(now * 1e9)
    monitor = StandbyMonitor(desk, Lease(desk, 2), Callback(desk, 256, 2), running)

    def look() -> str:
        return monitor._diagnose(monitor._seconds_since_callback())

    assert look() == ""
    now += 3600.0
    assert look() == "", "this engine may have been the first one to continue"
    begin = now
    while not look():
        now += CALLED_CHECK_SECONDS
        assert now - begin < 2 * LOST_SECONDS
    assert look() == "device" and now - begin > 0.8 * LOST_SECONDS
