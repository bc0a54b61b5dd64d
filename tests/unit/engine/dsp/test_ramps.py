"""Ramps: linear from the current value to the target, independent of block lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.desk.dtypes import RAMP
from tests.support.interpreted import interpreted


def ramp_at(value: float) -> Any:
    """A resting ramp, whose other fields are left over from an earlier one."""
    made = np.zeros(1, RAMP).view(np.recarray)[0]
    made.value = made.target = value
    made.step = 99.0
    return made


def state(ramp: Any) -> tuple[float, float, float, int]:
    return float(ramp.value), float(ramp.step), float(ramp.target), int(ramp.left)


def fill(ramp: Any, count: int, room: int = 0) -> tuple[list[float], bool]:
    out = np.full(max(count, room), -7.0, np.float32)
    moves = interpreted("dsp.ramps").fill_ramp(ramp, out, count)
    assert (out[count:] == -7.0).all()
    return out[:count].tolist(), bool(moves)


@pytest.mark.parametrize("frames", [0, -1])
def test_a_ramp_of_no_frames_sets_the_value_at_once(frames: int) -> None:
    ramp = ramp_at(0.25)
    ramp.left = 5
    interpreted("dsp.ramps").set_ramp(ramp, 1.0, frames)
    assert state(ramp) == (1.0, 0.0, 1.0, 0)


def test_a_ramp_to_the_current_value_does_not_move() -> None:
    ramp = ramp_at(0.5)
    ramp.left, ramp.target = 5, 1.0
    interpreted("dsp.ramps").set_ramp(ramp, 0.5, 100)
    assert state(ramp) == (0.5, 0.0, 0.5, 0)


@pytest.mark.parametrize(("target", "step"), [(1.0, 0.125), (0.0, -0.125)])
def test_a_ramp_moves_in_equal_steps(target: float, step: float) -> None:
    ramp = ramp_at(0.5)
    interpreted("dsp.ramps").set_ramp(ramp, target, 4)
    assert state(ramp) == (0.5, step, target, 4)
    values, moves = fill(ramp, 6, room=9)
    assert values == [0.5 + step, 0.5 + 2 * step, 0.5 + 3 * step, target, target, target]
    assert moves
    assert float(ramp.value) == target and int(ramp.left) == 0


def test_a_ramp_may_last_one_frame() -> None:
    ramp = ramp_at(0.0)
    interpreted("dsp.ramps").set_ramp(ramp, 1.0, 1)
    assert state(ramp) == (0.0, 1.0, 1.0, 1)
    assert fill(ramp, 1) == ([1.0], True)


def test_a_resting_ramp_fills_with_its_value() -> None:
    ramp = ramp_at(0.75)
    assert fill(ramp, 3, room=5) == ([0.75] * 3, False)
    assert state(ramp) == (0.75, 99.0, 0.75, 0)


def test_a_redirected_ramp_starts_at_its_current_value() -> None:
    ramp = ramp_at(0.0)
    kernels = interpreted("dsp.ramps")
    kernels.set_ramp(ramp, 1.0, 4)
    assert fill(ramp, 2) == ([0.25, 0.5], True)
    kernels.set_ramp(ramp, 0.0, 2)
    assert fill(ramp, 3) == ([0.25, 0.0, 0.0], True)


@given(
    value=st.floats(-1.0, 4.0), target=st.floats(-1.0, 4.0), frames=st.integers(1, 300),
    blocks=st.lists(st.integers(1, 80), min_size=1, max_size=8),
)  # fmt: skip
def test_block_lengths_change_no_bit(
    value: float, target: float, frames: int, blocks: list[int]
) -> None:
    kernels = interpreted("dsp.ramps")
    whole, cut = ramp_at(value), ramp_at(value)
    for ramp in (whole, cut):
        kernels.set_ramp(ramp, target, frames)
    together, _ = fill(whole, sum(blocks))
    assert [one for count in blocks for one in fill(cut, count)[0]] == together
    assert state(whole) == state(cut)
    if sum(blocks) >= frames:
        assert float(whole.value) == target


@given(
    value=st.floats(-1.0, 4.0), target=st.floats(-1.0, 4.0), frames=st.integers(1, 90),
    count=st.integers(1, 100),
)  # fmt: skip
def test_filling_is_stepping_frame_by_frame(
    value: float, target: float, frames: int, count: int
) -> None:
    kernels = interpreted("dsp.ramps")
    filled, stepped = ramp_at(value), ramp_at(value)
    for ramp in (filled, stepped):
        kernels.set_ramp(ramp, target, frames)
    expected = [float(np.float32(kernels.step_ramp(stepped))) for _ in range(count)]
    assert fill(filled, count)[0] == expected
    assert state(filled) == state(stepped)
