"""Preparation of effect instances before the engine links them into a chain."""

from __future__ import annotations

import math

from crowdstream.desk.block import Desk
from crowdstream.desk.effects import PERIOD, ROW_FIRST, ROW_MIX, ROW_ON, Module
from crowdstream.desk.ramps import effect_ramp

MAX_TAIL = 30.0  # seconds for which an effect may ring out after it was removed


def prepare_instance(
    desk: Desk,
    instance: int,
    number: int,
    module: Module,
    values: tuple[float, ...] = (),
    mix: float | None = None,
) -> None:
    """Turn a free instance into `module`, which is module `number`, with cleared memory.

    `values` holds its parameters in order; missing ones take their defaults. `mix`: 0 to 1, default
    the module's own. The engine must not be using the instance: it has never had it, or has
    reported it free.
    """
    floats = module.memory(desk.sample_rate)
    desk.effect_memory[instance, :floats] = 0.0
    desk.effect_registers[instance] = 0.0
    effect = desk.effects[instance]
    effect["kind"] = number
    effect["rows"] = ROW_FIRST + len(module.parameters)
    effect["law"] = module.law
    effect["tail"] = module.tail > 0.0
    effect["listens"] = module.listens
    effect["optional"] = module.optional
    effect["patience"] = math.ceil(module.tail * desk.sample_rate / PERIOD)
    effect["left"] = math.ceil(MAX_TAIL * desk.sample_rate / PERIOD)
    effect["floats"] = floats
    effect["rewrites_at"], effect["rewritten"] = module.rewritten(desk.sample_rate)
    defaults = tuple(parameter.default for parameter in module.parameters)
    rows = {ROW_MIX: module.mix if mix is None else mix, ROW_ON: float(module.starts_on)}
    for row, value in enumerate((*values, *defaults[len(values) :]), ROW_FIRST):
        rows[row] = value
    for row, value in rows.items():
        desk.ramps[effect_ramp(instance, row)] = (value, 0.0, value, 0)


def clear_instance(desk: Desk, instance: int) -> None:
    """Return the memory of an instance to the system, after the engine has reported it free."""
    desk.discard(desk.effect_memory[instance])
