"""When quality is lowered and restored, from render times that are made up."""

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
    """A desk whose blocks take what the test says: a share of their length, by the level."""

    def __init__(self, harness: RenderHarness, block: int = BLOCK) -> None:
        self.harness = harness
        self.block = block
        self.time = 0.0
        # Time in seconds of the first block at a level, that level, and the reason.
        self.changes: list[tuple[float, int, int]] = []

    @property
    def level(self) -> int:
        """The level of the latest block."""
        return int(self.harness.desk.quality["level"])

    def run(self, seconds: float, load: float | Callable[[int], float]) -> None:
        """Blocks for so many seconds; `load`: share of a block's length, of each level."""
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
        """The levels there were, in order."""
        return [level for _time, level, _reason in self.changes]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with RenderHarness(pages=4) as harness:
        yield Machine(harness)


@pytest.fixture
def coarse_machine() -> Iterator[Machine]:
    """One of long blocks, for many minutes."""
    with RenderHarness(pages=4) as harness:
        yield Machine(harness, 512)


def test_a_light_load_lowers_nothing(machine: Machine) -> None:
    machine.run(20.0, 0.9 * HIGH)
    assert machine.level == 0 and machine.changes == []
    assert float(machine.harness.desk.quality["load"]) == pytest.approx(0.9 * HIGH, rel=0.01)


def test_it_is_lowered_step_by_step_before_a_deadline_is_missed(machine: Machine) -> None:
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


def test_no_more_is_left_out_than_is_needed(machine: Machine) -> None:
    machine.run(60.0, lambda level: (0.8, 0.65, 0.5, 0.4)[level])
    assert machine.levels() == [1]


def test_the_level_is_one_of_whole_blocks(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    quality = machine.harness.desk.quality
    assert int(quality["changed_frame"]) % BLOCK == 0
    assert int(quality["changed_frame"]) == round(machine.changes[-1][0] * RATE)


def test_a_block_that_is_late_lowers_it_at_once(machine: Machine) -> None:
    machine.run(1.0, 0.3)
    machine.run(PERIOD / 1e9 / 2, 1.1)
    late = machine.time
    machine.run(PERIOD / 1e9 / 2, 0.3)
    assert machine.changes == [(late, 1, BY_DEADLINE)]
    machine.run(0.1, 1.5)
    assert machine.levels() == [1, 2, 3]
    assert machine.changes[-1][0] - machine.changes[0][0] < 2 * (2 * LATE_STEP_NS + PERIOD) / 1e9


def test_a_slow_block_alone_lowers_nothing_and_peaks_in_a_row_do(machine: Machine) -> None:
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


def test_neither_does_an_engine_lower_it_that_goes_on_for_another(machine: Machine) -> None:
    machine.run(5.0, 0.3)
    begin_block(machine.harness.desk.address, BLOCK, int(machine.time * 1e9), FLAG_TAKEN)
    machine.run(0.05, 3.0)
    machine.run(5.0, 0.3)
    assert machine.changes == []


@pytest.mark.parametrize("block", [16, 512, 4096])
def test_other_block_lengths_are_lowered_and_restored_alike(block: int) -> None:
    with RenderHarness(pages=4) as harness:
        machine = Machine(harness, block)
        machine.run(0.5, 0.3)
        machine.run(0.5, 0.9)
        assert machine.levels() == [1, 2, 3]
        machine.run(4 * CALM_NS / 1e9, 0.3)
        assert machine.level == 0


def test_it_is_restored_step_by_step_when_it_has_been_calm(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    del machine.changes[:]
    begin = machine.time
    machine.run(20.0, 0.3)
    assert machine.levels() == [2, 1, 0]
    assert {reason for _t, _l, reason in machine.changes} == {BY_CALM}
    waits = np.diff([begin, *(time for time, _level, _reason in machine.changes)])
    assert np.all(waits >= 0.999 * CALM_NS / 1e9) and np.all(waits < CALM_NS / 1e9 + 1.0)
    assert int(machine.harness.desk.quality["lowered"]) == 3


def test_between_the_thresholds_it_stays(machine: Machine) -> None:
    machine.run(0.5, 0.3)
    machine.run(0.1, 0.85)
    machine.run(1.0, 0.5 * (LOW + HIGH))
    level = machine.level
    assert 1 <= level <= 2
    machine.run(60.0, 0.5 * (LOW + HIGH))
    assert machine.level == level


def test_one_peak_in_between_has_it_wait_anew(machine: Machine) -> None:
    machine.run(1.0, 0.85)
    for _ in range(5):
        machine.run(0.9 * CALM_NS / 1e9, 0.3)
        machine.run(0.03, 0.68)
    assert machine.level == 3


def test_it_does_not_pump(coarse_machine: Machine) -> None:
    machine = coarse_machine
    # Full quality is too much, the first level plenty: each try comes later than the one before.
    machine.run(600.0, lambda level: (0.8, 0.4, 0.3, 0.2)[level])
    restored = [time for time, _level, reason in machine.changes if reason == BY_CALM]
    assert set(machine.levels()) == {0, 1}
    assert len(restored) <= 9
    waits = np.diff(restored)
    assert np.all(waits[1:5] > 1.8 * waits[:4])
    assert np.all(waits < 1.1 * MAX_CALM_NS / 1e9)
    # Once it is over for good, it is restored, and the next time it does not wait so long.
    machine.run(200.0, 0.3)
    assert machine.level == 0
    machine.run(400.0, 0.3)
    machine.run(1.0, 0.85)
    begin = machine.time
    machine.run(1.2 * CALM_NS / 1e9, 0.3)
    assert machine.changes[-1][1:] == (2, BY_CALM)
    assert machine.changes[-1][0] - begin < 1.2 * CALM_NS / 1e9


def test_a_level_that_is_held_stays_whatever_happens(machine: Machine) -> None:
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


def test_a_level_is_held_from_its_frame_on(machine: Machine) -> None:
    machine.harness.send(OP_QUALITY, index=3, frame=1000)
    machine.harness.render(1000)
    assert machine.level == 0
    machine.harness.render(1)
    assert machine.level == 3
    assert int(machine.harness.desk.quality["changed_frame"]) == 1000


def test_renders_that_nobody_waits_for_are_never_lowered() -> None:
    # Offline a render time of 1000 ns is entered for each block.
    with RenderHarness(pages=4) as harness:
        for _ in range(20000):
            end_block(harness.desk.address, 1, 1000)
        assert int(harness.desk.quality["level"]) == 0
