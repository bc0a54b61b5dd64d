"""Effects in a render harness: instances in chains, without control."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crowdstream.control.decks.effects import prepare_instance
from crowdstream.desk.effects import ROW_FIRST, ROW_MIX, ROW_ON, Module
from crowdstream.desk.opcodes import EV_EFFECT_FREE, OP_EFFECT, OP_EFFECT_MOVE
from crowdstream.desk.ramps import effect_ramp
from crowdstream.effects import MODULES
from tests.support.render_harness import RenderHarness

NAMES = list(MODULES)


def row(instance: int, name: str, parameter: str) -> int:
    """Return the ramp row of a parameter of an instance of the named module."""
    if parameter in ("mix", "on"):
        return effect_ramp(instance, ROW_MIX if parameter == "mix" else ROW_ON)
    names = [p.name for p in MODULES[name].parameters]
    return effect_ramp(instance, ROW_FIRST + names.index(parameter))


def put(
    harness: RenderHarness,
    instance: int,
    name: str,
    values: Mapping[str, float] | None = None,
    *,
    chain: int = 0,
    after: int = -1,
    leaving: int = -1,
    frame: int = 0,
    on: float = 1.0,
) -> None:
    """Prepare an instance and link it into a chain at a frame (0: at once)."""
    prepare_instance(harness.desk, instance, NAMES.index(name), MODULES[name])
    for parameter, value in {"on": on, **(values or {})}.items():
        harness.desk.ramps[row(instance, name, parameter)] = (value, 0.0, value, 0)
    harness.send(
        OP_EFFECT, target=chain, index=instance, start=after, end=leaving, frame=frame
    )


def remove(harness: RenderHarness, instance: int, *, chain: int = 0, frame: int = 0) -> None:
    """Remove an instance from its chain."""
    harness.send(OP_EFFECT, target=chain, index=-1, end=instance, frame=frame)


def move(harness: RenderHarness, instance: int, after: int, *, frame: int = 0) -> None:
    """Move an instance behind another one; -1: to the beginning."""
    harness.send(OP_EFFECT_MOVE, index=instance, start=after, frame=frame)


def order(harness: RenderHarness, chain: int = 0) -> list[int]:
    """Return the instances of a chain, in order."""
    found, number = [], int(harness.desk.chains[chain])
    while number >= 0:
        found.append(number)
        number = int(harness.desk.effects["next"][number])
    return found


def freed(harness: RenderHarness) -> list[int]:
    """Return the instances that were reported free since the last call."""
    events = harness.events()
    return [int(n) for n in events["target"][events["kind"] == EV_EFFECT_FREE]]


def is_tailed(name: str) -> bool:
    """Whether a module rings out after it is switched off."""
    module: Module = MODULES[name]
    return module.tail > 0.0


def largest_step(out: np.ndarray) -> float:
    """Return the largest difference between two consecutive frames."""
    return float(np.max(np.abs(np.diff(out.astype(np.float64), axis=0))))
