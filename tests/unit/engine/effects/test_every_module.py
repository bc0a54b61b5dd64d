"""Requirements for every effect module, found by walking the declarations, new ones included."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.effects import MEMORY, REGISTERS, ROW_FIRST, ROWS, Parameter
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.effects import FILES, MODULES
from crowdstream.engine.effects.chain import FADE, SMALL
from tests.support.effect_harness import (
    NAMES,
    freed,
    is_tailed,
    largest_step,
    order,
    put,
    remove,
    row,
)
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

EVERY = [(name, parameter) for name in NAMES for parameter in MODULES[name].parameters]
IDS = [f"{name}-{parameter.name}" for name, parameter in EVERY]
LOW_LEVEL = 0.01  # deck level, below the limiter
LONG = 60000


@pytest.mark.parametrize("name", NAMES)
def test_declarations_are_consistent(name: str) -> None:
    module = MODULES[name]
    assert module.name == name.lower()
    assert module.help.endswith(".")
    assert 0 <= module.mix <= 1
    assert ROW_FIRST + len(module.parameters) <= ROWS
    for rate in (8000.0, 44100.0, 96000.0, 192000.0):
        assert 0 <= module.memory(rate) <= MEMORY
    # Memory that is cleared while sounding must be small.
    assert module.tail or module.listens or module.memory(192000.0) <= SMALL
    names = [parameter.name for parameter in module.parameters]
    assert len(set(names) | {"mix", "on"}) == len(names) + 2
    for parameter in module.parameters:
        assert parameter.low <= parameter.default <= parameter.high
        assert parameter.low < parameter.high
        assert parameter.ramp == 0.0 or parameter.ramp >= 0.004
        assert parameter.name == parameter.name.lower()
        assert parameter.help


def test_modules_are_numbered_by_name() -> None:
    assert sorted(NAMES) == NAMES
    assert [file.MODULE.name for file in FILES] == NAMES


def _busy(harness: RenderHarness, name: str) -> None:
    # One instance, switched off and on, with each parameter moving at odd frames.
    harness.start(0, harness.load(noise(LONG, peak=0.4)))
    put(harness, 0, name, frame=501)
    for at, parameter in enumerate(MODULES[name].parameters):
        ramp = round(parameter.ramp * RATE)
        harness.ramp(row(0, name, parameter.name), parameter.low, ramp, frame=3001 + 701 * at)
        harness.ramp(row(0, name, parameter.name), parameter.high, ramp, frame=9003 + 1501 * at)
    harness.ramp(row(0, name, "mix"), 0.3, 901, frame=15001)
    harness.ramp(row(0, name, "on"), 0.0, 333, frame=20011)
    harness.ramp(row(0, name, "on"), 1.0, 333, frame=31013)
    remove(harness, 0, frame=38017)


@pytest.mark.parametrize("name", NAMES)
def test_block_length_changes_nothing(name: str) -> None:
    sounds = []
    for blocks in ([256], [1, 3, 7, 64], [1023], [17, 2048, 500]):
        with RenderHarness() as harness:
            _busy(harness, name)
            sounds.append(harness.render(45000, itertools.cycle(blocks)))
            sounds[-1] = np.concatenate([sounds[-1], harness.desk.effect_registers[0][None, :2]])
    for other in sounds[1:]:
        assert np.array_equal(sounds[0], other)
    assert REGISTERS == 64


@pytest.mark.parametrize("name", NAMES)
def test_an_effect_that_is_off_is_bit_exact(name: str) -> None:
    samples = noise(LONG, peak=0.4)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        put(harness, 0, name, on=0.0)
        assert np.array_equal(harness.render(20000), as_float(samples)[:20000])
        harness.ramp(row(0, name, "mix"), 0.0, 100)
        harness.ramp(row(0, name, "on"), 1.0, 100)
        out = harness.render(5000)
        assert np.array_equal(out[100:], as_float(samples)[20100:25000])


@pytest.mark.parametrize("name", NAMES)
def test_an_effect_is_audible_and_bit_exact_again_once_removed(name: str) -> None:
    samples = noise(LONG, peak=0.4)
    dry = as_float(samples)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        put(harness, 0, name, {"beats": 0.25} if name == "roll" else {}, frame=12000, on=0.0)
        harness.ramp(row(0, name, "on"), 1.0, 100, frame=30000)
        harness.ramp(row(0, name, "on"), 0.0, 100, frame=45000)
        out = harness.render(60000)
        assert np.array_equal(out[:30000], dry[:30000])
        assert np.max(np.abs(out[30200:45000] - dry[30200:45000])) > 0.05
        if not is_tailed(name):
            assert np.array_equal(out[45100:], dry[45100:])
        remove(harness, 0)
        harness.render(round(31 * RATE) if is_tailed(name) else 5000)
        assert freed(harness) == [0]
        assert order(harness) == []
        harness.start(0, harness.load(samples))
        assert np.array_equal(harness.render(20000), dry[:20000])


@pytest.mark.parametrize("name", NAMES)
def test_an_effect_sleeps_in_silence_and_wakes_up(name: str) -> None:
    with RenderHarness() as harness:
        put(harness, 0, name, on=0.0)
        harness.render(round((MODULES[name].tail + 0.3) * RATE))
        assert int(harness.desk.effects["asleep"][0]) == (not MODULES[name].listens)
        harness.ramp(row(0, name, "on"), 1.0, 100)
        harness.render(300)
        assert int(harness.desk.effects["asleep"][0]) == 0


# A sine of whole periods, whose loop has no seam.
SMOOTH = sine(RATE / 210, 21000, level=0.5)
SETTLED = 8000  # frames after which an instance has faded in
OWN_SOUND = {"riser"}  # noise, whose largest step may take long to occur


@functools.cache
def _still_step(name: str, parameter: Parameter) -> float:
    # The largest step with the parameter held constant at points across its range.
    steps = []
    frames = 4 * len(SMOOTH) if name in OWN_SOUND else len(SMOOTH)
    for place in (0.0, *np.geomspace(1e-4, 0.1, 12), *np.linspace(0.2, 1, 7)):
        value = parameter.low + place * (parameter.high - parameter.low)
        value = round(value) if parameter.whole else value
        with RenderHarness() as harness:
            harness.ramp(deck_level_ramp(0), LOW_LEVEL)
            put(harness, 0, name, {parameter.name: value})
            harness.start(0, harness.load(SMOOTH), loop=(0, len(SMOOTH)))
            steps.append(largest_step(harness.render(SETTLED + frames)[SETTLED:]))
    return max(steps)


@pytest.mark.parametrize(("name", "parameter"), EVERY, ids=IDS)
def test_moving_a_parameter_makes_no_click(name: str, parameter: Parameter) -> None:
    allowed = _still_step(name, parameter)
    with RenderHarness() as harness:
        harness.ramp(deck_level_ramp(0), LOW_LEVEL)
        put(harness, 0, name)
        harness.start(0, harness.load(SMOOTH), loop=(0, len(SMOOTH)))
        harness.render(30000)
        rng = np.random.default_rng(5)
        steps = []
        ramp = max(round(parameter.ramp * RATE), 0)
        ends = itertools.cycle((parameter.high, parameter.low))
        for at in range(40):
            value = next(ends) if at % 2 else float(rng.uniform(parameter.low, parameter.high))
            value = round(value) if parameter.whole else value
            harness.ramp(row(0, name, parameter.name), value, ramp)
            steps.append(largest_step(harness.render(int(rng.integers(200, 2800)), 300)))
    # Plus what a change of gain may do within the shortest ramp.
    besides = 2 * 0.5 * LOW_LEVEL / (0.004 * RATE)
    assert max(steps) <= 1.25 * allowed + besides


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["mix", "on"])
def test_mix_and_switch_make_no_click(name: str, which: str) -> None:
    samples_step = largest_step(SMOOTH[:, None]) * LOW_LEVEL
    allowed = max(_still_step(name, MODULES[name].parameters[0]), samples_step)
    with RenderHarness() as harness:
        harness.ramp(deck_level_ramp(0), LOW_LEVEL)
        put(harness, 0, name)
        harness.start(0, harness.load(SMOOTH), loop=(0, len(SMOOTH)))
        harness.render(30000)
        steps = []
        for at in range(12):
            harness.ramp(row(0, name, which), at % 2, 882)
            steps.append(largest_step(harness.render(1500 + 700 * at, 300)))
    assert max(steps) <= 1.25 * allowed + 4 * 0.5 * LOW_LEVEL / 882


_values = st.floats(0.0, 1.0)


@settings(max_examples=12)
@given(st.data())
def test_random_parameters_stay_finite_and_bounded_and_tails_end(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    with RenderHarness(pages=32) as harness:
        wild = np.where(np.arange(3000) % 97 == 0, np.float32(3e38), np.float32(0.9))
        wild[::53] = np.nan
        harness.start(0, harness.load(noise(4000, peak=1.0)), loop=(0, 4000))
        harness.start(1, harness.load(wild.astype(np.float32)), loop=(0, 3000))
        for instance, name in enumerate(names):
            chain = data.draw(st.sampled_from([0, 0, 6]))
            put(harness, instance, name, chain=chain, after=instance - 1)
        for _ in range(data.draw(st.integers(1, 25))):
            instance = data.draw(st.integers(0, len(names) - 1))
            name = names[instance]
            parameter: Any = data.draw(
                st.sampled_from([*MODULES[name].parameters, Parameter("mix", "", 0, 1, 1),
                                 Parameter("on", "", 0, 1, 1)])
            )  # fmt: skip
            value = parameter.low + data.draw(_values) * (parameter.high - parameter.low)
            if parameter.whole:
                value = round(value)
            frames = data.draw(st.sampled_from([0, 1, 100, 5000]))
            harness.ramp(row(instance, name, parameter.name), value, frames)
            out = harness.render(data.draw(st.integers(1, 4000)))
            assert np.isfinite(out).all()
            assert np.max(np.abs(out)) <= 1.0
        used = len(names)
        assert np.isfinite(harness.desk.effect_registers[:used]).all()
        for instance in range(used):
            floats = int(harness.desk.effects["floats"][instance])
            memory = harness.desk.effect_memory[instance, :floats]
            assert np.isfinite(memory).all()
            assert np.max(np.abs(memory), initial=0.0) < 5000.0
            remove(harness, instance, chain=int(harness.desk.effects["chain"][instance]))
        harness.send(6)
        harness.render(round(36 * RATE), 4096)
        assert not harness.render(500).any()
        assert sorted(freed(harness)) == list(range(used))
    assert FADE > 0
