"""When quality is lowered and restored, with simulated render times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from crowdstream.desk.load_shedding import BY_CALM, BY_COMMAND, BY_DEADLINE, BY_LOAD
from crowdstream.desk.opcodes import EV_QUALITY, FLAG_TAKEN, OP_QUALITY
from crowdstream.engine.schedule.ledger import begin_block, end_block
from crowdstream.engine.schedule.load_shedding import (
    CALM_NS,
    HIGH,
    LATE_STEP_NS,
    LOW,
    MAX_CALM_NS,
    STEP_NS,
    WARM_NS,
)
from tests.support.render_harness import RATE, RenderHarness

BLOCK = 256
PERIOD = BLOCK / RATE * 1e9


class Machine:
    """A desk whose blocks take a given fraction of their duration to render."""

    def __init__(self, harness: RenderHarness, block: int = BLOCK) -> None:
        self.harness = harness
        self.block = block
        self.time = 0.0
        # (seconds, level, reason) of the first block at each new level.
        self.changes: list[tuple[float, int, int]] = []

    @property
    def level(self) -> int:
        """Return the level of the latest block."""
        return int(self.harness.desk.quality["level"])

    def run(self, seconds: float, load: float | Callable[[int], float]) -> None:
        """Run blocks for `seconds` of audio.

        `load`: render time as a fraction of a block's duration, or a function of the level.
        """
        address = self.harness.desk.address
        until = self.time + seconds
        while self.time < until:
            share = load(self.level) if callable(load) else load
            begin_block(address, self.block, int(self.time * 1e9) + 1, False)
            self.harness.render(self.block, self.block)
            for event in self.harness.events():
                if event["kind"] == EV_QUALITY:
                    self.changes.append((self.time, int(event["target"]), int(event["value"])))
            end_block(address, self.block, round(share * self.block / RATE * 1e9))
            self.time += self.block / RATE

    def levels(self) -> list[int]:
        """Return the levels in order."""
        return [level for _time, level, _reason in self.changes]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with RenderHarness(pages=4) as harness:
        yield Machine(harness)


@pytest.fixture
def coarse_machine() -> Iterator[Machine]:
    """A machine with longer blocks, for simulating many minutes."""
    with RenderHarness(pages=4) as harness:
        yield Machine(harness, 512)


def test_a_light_load_lowers_nothing(machine: Machine) -> None:
    machine.run(20.0, 0.9 * HIGH)
    assert machine.level == 0 and machine.changes == []
    assert float(machine.harness.desk.quality["load"]) == pytest.approx(0.9 * HIGH, rel=0.01)


def test_quality_is_lowered_stepwise_before_a_deadline_is_missed(machine: Machine) -> None:
    machine.run(2.0, 0.5)
    machine.run(2.0, 0.85)
    assert machine.levels() == [1, 2, 3]
    assert {reason for _t, _l, reason in machine.changes} == {BY_LOAD}
    assert int(machine.harness.desk.ledger["over_budget"]) == 0
    times = [time for time, _level, _reason in machine.changes]
    assert 2.0 < times[0] < 2.1
    for one, other in itertools.pairwise(times):
        assert 0.9e-9 * STEP_NS < other - one < 3e-9 * STEP_NS
    assert int(machine.harness.desk.quality["lowered"]) == 3


def test_quality_is_not_lowered_further_than_necessary(machine: Machine) -> None:
    machine.run(60.0, lambda level: (0.8, 0.65, 0.5, 0.4)[level])
    assert machine.levels() == [1]


def test_the_level_changes_at_block_boundaries(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    quality = machine.harness.desk.quality
    assert int(quality["changed_frame"]) % BLOCK == 0
    assert int(quality["changed_frame"]) == round(machine.changes[-1][0] * RATE)


def test_a_late_block_lowers_quality_at_once(machine: Machine) -> None:
    machine.run(1.0, 0.3)
    machine.run(PERIOD / 1e9 / 2, 1.1)
    late = machine.time
    machine.run(PERIOD / 1e9 / 2, 0.3)
    assert machine.changes == [(late, 1, BY_DEADLINE)]
    machine.run(0.1, 1.5)
    assert machine.levels() == [1, 2, 3]
    assert machine.changes[-1][0] - machine.changes[0][0] < 2 * (2 * LATE_STEP_NS + PERIOD) / 1e9


def test_repeated_peaks_lower_quality_but_a_single_one_does_not(machine: Machine) -> None:
    machine.run(1.0, 0.3)
    machine.run(PERIOD / 1e9 / 2, 0.95)
    machine.run(5.0, 0.3)
    assert machine.changes == []
    for _ in range(2):
        machine.run(PERIOD / 1e9 / 2, 0.95)
        machine.run(4.5 * PERIOD / 1e9, 0.3)
    assert machine.changes == []
    for _ in range(6):
        machine.run(PERIOD / 1e9 / 2, 0.95)
        machine.run(4.5 * PERIOD / 1e9, 0.3)
    assert machine.changes[0][1:] == (1, BY_LOAD)


def test_the_first_blocks_of_an_engine_may_be_slow(machine: Machine) -> None:
    machine.run(0.9 * WARM_NS / 1e9, 3.0)
    machine.run(5.0, 0.3)
    assert machine.changes == []


def test_the_first_blocks_after_a_takeover_may_be_slow(machine: Machine) -> None:
    machine.run(5.0, 0.3)
    begin_block(machine.harness.desk.address, BLOCK, int(machine.time * 1e9), FLAG_TAKEN)
    machine.run(0.05, 3.0)
    machine.run(5.0, 0.3)
    assert machine.changes == []


@pytest.mark.parametrize("block", [16, 512, 4096])
def test_load_shedding_works_at_any_block_length(block: int) -> None:
    with RenderHarness(pages=4) as harness:
        machine = Machine(harness, block)
        machine.run(0.5, 0.3)
        machine.run(0.5, 0.9)
        assert machine.levels() == [1, 2, 3]
        machine.run(4 * CALM_NS / 1e9, 0.3)
        assert machine.level == 0


def test_quality_is_restored_stepwise_after_low_load(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    del machine.changes[:]
    begin = machine.time
    machine.run(20.0, 0.3)
    assert machine.levels() == [2, 1, 0]
    assert {reason for _t, _l, reason in machine.changes} == {BY_CALM}
    waits = np.diff([begin, *(time for time, _level, _reason in machine.changes)])
    assert np.all(waits >= 0.999 * CALM_NS / 1e9) and np.all(waits < CALM_NS / 1e9 + 1.0)
    assert int(machine.harness.desk.quality["lowered"]) == 3


def test_quality_stays_between_the_thresholds(machine: Machine) -> None:
    machine.run(0.5, 0.3)
    machine.run(0.1, 0.85)
    machine.run(1.0, 0.5 * (LOW + HIGH))
    level = machine.level
    assert 1 <= level <= 2
    machine.run(60.0, 0.5 * (LOW + HIGH))
    assert machine.level == level


def test_a_peak_restarts_the_wait_for_restoring(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    for _ in range(5):
        machine.run(0.9 * CALM_NS / 1e9, 0.3)
        machine.run(0.03, 0.68)
    assert machine.level == 3


def test_load_shedding_does_not_oscillate(coarse_machine: Machine) -> None:
    machine = coarse_machine
    # Full quality overloads the machine, the first level leaves plenty of headroom: each attempt
    # comes later than the last.
    machine.run(600.0, lambda level: (0.8, 0.4, 0.3, 0.2)[level])
    restored = [time for time, _level, reason in machine.changes if reason == BY_CALM]
    assert set(machine.levels()) == {0, 1}
    assert len(restored) <= 9
    waits = np.diff(restored)
    assert np.all(waits[1:5] > 1.8 * waits[:4])
    assert np.all(waits < 1.1 * MAX_CALM_NS / 1e9)
    # After the overload has ended, quality is restored, and the next wait is short again.
    machine.run(200.0, 0.3)
    assert machine.level == 0
    machine.run(400.0, 0.3)
    machine.run(1.0, 0.85)
    begin = machine.time
    machine.run(1.2 * CALM_NS / 1e9, 0.3)
    assert machine.changes[-1][1:] == (2, BY_CALM)
    assert machine.changes[-1][0] - begin < 1.2 * CALM_NS / 1e9


def test_a_held_level_ignores_the_load(machine: Machine) -> None:
    machine.harness.send(OP_QUALITY, index=0)
    machine.run(2.0, 1.5)
    assert machine.level == 0 and machine.changes == []
    machine.harness.send(OP_QUALITY, index=2)
    machine.run(30.0, 0.1)
    assert [change[1:] for change in machine.changes] == [(2, BY_COMMAND)]
    assert int(machine.harness.desk.quality["lowered"]) == 0
    machine.harness.send(OP_QUALITY, index=-1)
    machine.run(10.0, 0.1)
    assert machine.levels() == [2, 1, 0]
    machine.run(1.0, 0.9)
    assert machine.level == 3


def test_a_hold_takes_effect_at_its_frame(machine: Machine) -> None:
    machine.harness.send(OP_QUALITY, index=3, frame=1000)
    machine.harness.render(1000)
    assert machine.level == 0
    machine.harness.render(1)
    assert machine.level == 3
    assert int(machine.harness.desk.quality["changed_frame"]) == 1000


def test_offline_renders_are_never_lowered() -> None:
    # Offline rendering enters 1000 ns for each block.
    with RenderHarness(pages=4) as harness:
        for _ in range(20000):
            end_block(harness.desk.address, 1, 1000)
        assert int(harness.desk.quality["level"]) == 0
