"""Control's side of the effect chains: the effect instances in each slot, and the free ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from crowdstream.commands.errors import BadArgument, Refused
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import CHAIN_BUS, CHAIN_INPUT, CHAIN_MASTER, CHAINS
from crowdstream.desk.effects import (
    ACTIVE,
    CHAIN_SLOTS,
    EFFECTS,
    IDLE,
    PERIOD,
    ROW_FIRST,
    ROW_MIX,
    ROW_ON,
    Module,
    Parameter,
)
from crowdstream.desk.opcodes import EV_EFFECT_FREE, EV_REFUSED, OP_EFFECT, OP_EFFECT_MOVE, OP_RAMP
from crowdstream.desk.ramps import effect_ramp
from crowdstream.effects import MODULES

MIX = Parameter("mix", "0: dry, 1: wet", 0, 1, 1)
ON = Parameter("on", "1: on, 0: off", 0, 1, 1)
TOLERANCE = 1e-6  # values arrive as 32-bit floats
REMEMBERED = 256  # latest commands that the engine may still refuse
MAX_TAIL = 30.0  # seconds for which an effect may ring out after it was removed
MIN_RAMP_SECONDS = 0.004  # for parameters in which a step is audible as a click


@dataclass(eq=False)
class Placed:
    """An effect instance in a slot.

    `frame`: the frame at which it is inserted, 0 for immediately. `beat`: the beat of the clock at
    which it is inserted, or None. `anchor`: the instance after which the engine inserts it, or -1.
    """

    instance: int
    module: Module
    frame: int = 0
    beat: float | None = None
    anchor: int = -1

    def to_state(self) -> list[Any]:
        """Return the placement as JSON-compatible state; see `from_state`."""
        return [self.instance, self.module.name, self.frame, self.beat, self.anchor]

    @classmethod
    def from_state(cls, state: list[Any]) -> Placed:
        """Restore a placement from `to_state`."""
        instance, module, frame, beat, anchor = state
        return cls(instance, MODULES[module], frame, beat, anchor)

    def find(self, name: str) -> tuple[int, Parameter]:
        """Return the ramp row and the declaration of a parameter; raise `BadArgument`."""
        rows = {"mix": (ROW_MIX, MIX), "on": (ROW_ON, ON)}
        for row, parameter in enumerate(self.module.parameters, ROW_FIRST):
            rows[parameter.name] = (row, parameter)
        if name.lower() not in rows:
            raise BadArgument(
                f"parameter: {self.module.name} has no {name[:40]!r}, only {', '.join(rows)}"
            )
        return rows[name.lower()]


def chain_name(chain: int) -> str:
    """Return the display name of a chain."""
    if chain < CHAIN_BUS:
        return f"deck {'ABCD'[chain]}"
    if chain >= CHAIN_INPUT:
        return f"input {chain - CHAIN_INPUT + 1}"
    return "the master" if chain == CHAIN_MASTER else f"bus {chain - CHAIN_BUS + 1}"


def find_module(name: str) -> Module:
    """Return the module of that name; raise `BadArgument`, which lists the modules."""
    module = MODULES.get(name.lower())
    if module is None:
        raise BadArgument(f"module: {name[:40]!r} must be one of {', '.join(MODULES)}")
    return module


def check_value(parameter: Parameter, value: object) -> float:
    """Convert `value` to a float in the parameter's range; raise `BadArgument`."""
    if not isinstance(value, Real):
        raise BadArgument(f"{parameter.name}: {str(value)[:40]!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    unit = f" {parameter.unit}" if parameter.unit else ""
    low, high = parameter.low, parameter.high
    slack = TOLERANCE * max(1.0, abs(low), abs(high))
    if not low - slack <= number <= high + slack:
        raise BadArgument(
            f"{parameter.name}: {number:g} is out of range, {low:g} to {high:g}{unit}"
        )
    if parameter.whole and not number.is_integer():
        raise BadArgument(f"{parameter.name}: {number:g} is not a whole number")
    return min(max(number, low), high)


class Effects:
    """Inserts, moves, removes and sets effects in the chains. For the control thread.

    `chains` is the state that the chains will have when all commands sent so far have acted.
    """

    def __init__(self, desk: Desk, outbox: EngineQueue) -> None:
        self._desk = desk
        self._outbox = outbox
        self.chains: list[list[Placed | None]] = [[None] * CHAIN_SLOTS for _ in range(CHAINS)]
        self._free = list(range(EFFECTS))[::-1]
        self._leaving: dict[int, int] = {}
        self._sent: deque[tuple[int, Callable[[], None]]] = deque(maxlen=REMEMBERED)
        self._unsure = False  # events of the engine may have been lost with an earlier control

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the chains as JSON-compatible state; see `restore`."""
        return {
            "chains": [[one and one.to_state() for one in chain] for chain in self.chains],
            "leaving": list(self._leaving.items()),
        }

    def restore(self, state: dict[str, Any], held: np.ndarray) -> None:
        """Restore the chains of an earlier control, as far as the desk agrees.

        `held`: commands (dtype `COMMAND`) that the engine has and has not carried out yet. Effects
        that are in a chain and not in the saved state are removed.
        """
        orders = held[held["op"] == OP_EFFECT]
        coming = {int(order["index"]): order for order in orders if order["index"] >= 0}
        going = set(orders["end"].tolist())
        states = self._desk.effects["state"].tolist()
        known = set()
        for chain, slots in zip(self.chains, state["chains"], strict=True):
            for slot, one in enumerate(slots):
                if one and (one[0] in coming or states[one[0]] == ACTIVE):
                    chain[slot] = Placed.from_state(one)
                    known.add(one[0])
        self._leaving = {
            instance: frame for instance, frame in state["leaving"]
            if instance not in known and (instance in coming or states[instance] != IDLE)
        }
        for instance in range(EFFECTS):
            if instance in known or instance in self._leaving:
                continue
            if instance not in coming and states[instance] == IDLE:
                continue
            self._leaving[instance] = 0
            if instance in coming:
                order = coming[instance]
                beat = float(order["beat"]) if order["by_beat"] else None
                self._send_removal(None, int(order["target"]), instance, int(order["frame"]), beat)
            elif states[instance] == ACTIVE and instance not in going:
                chain_of = int(self._desk.effects[instance]["chain"])
                self._send_removal(None, chain_of, instance, 0, None)
        taken = known | self._leaving.keys()
        self._free = [instance for instance in range(EFFECTS) if instance not in taken][::-1]
        self._unsure = True

    # Commands ----------------------------------------------------------------------------

    def insert(
        self, request: Request, chain: int, slot: int, name: str, values: Sequence[Any]
    ) -> None:
        """Insert a module into an empty slot. `values`: alternately names and values."""
        there = self.chains[chain][slot]
        if there:
            raise BadArgument(
                f"slot: {slot + 1} of {chain_name(chain)} holds {there.module.name}: "
                "remove it first, or swap it"
            )
        self._put(request, chain, slot, name, values)

    def swap(
        self, request: Request, chain: int, slot: int, name: str, values: Sequence[Any]
    ) -> None:
        """Replace the effect in a slot with another module."""
        self.find(chain, slot)
        self._put(request, chain, slot, name, values)

    def _put(
        self, request: Request, chain: int, slot: int, name: str, values: Sequence[Any]
    ) -> None:
        module = find_module(name)
        given = self._given(module, values)
        instance = self._take()
        prepare_instance(self._desk, instance, list(MODULES).index(module.name), module)
        for row, value in given.items():
            self._desk.ramps[effect_ramp(instance, row)] = (value, 0.0, value, 0)
        old = self.chains[chain][slot]
        frame, beat = self._after(request, old)
        placed = Placed(instance, module, frame, beat, self._anchor(chain, slot, frame))
        serial = self._outbox.add(
            OP_EFFECT, request, frame=frame, beat=beat, target=chain, index=instance,
            start=placed.anchor, end=old.instance if old else -1,
        )  # fmt: skip
        self.chains[chain][slot] = placed
        if old:
            self._leaving[old.instance] = frame
        self._update_anchors(chain)

        def refused() -> None:
            if self.chains[chain][slot] is placed:
                self.chains[chain][slot] = old
                if old:
                    self._leaving.pop(old.instance, None)
            self._free.append(instance)

        self._sent.append((serial, refused))

    def _given(self, module: Module, values: Sequence[Any]) -> dict[int, float]:
        # Rows and values of "name value name value ...".
        if len(values) % 2:
            raise BadArgument("values: names and values must come in pairs")
        placed = Placed(-1, module)
        given = {}
        for name, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(name, str):
                raise BadArgument(f"values: {str(name)[:40]!r} is not the name of a parameter")
            row, parameter = placed.find(name)
            given[row] = check_value(parameter, value)
        return given

    def remove(self, request: Request, chain: int, slot: int) -> None:
        """Remove the effect from a slot; its tail rings out."""
        placed = self.find(chain, slot)
        self.chains[chain][slot] = None
        self._send_removal(request, chain, placed.instance, *self._after(request, placed))
        self._update_anchors(chain)

    def _send_removal(
        self, request: Request | None, chain: int, instance: int, frame: int, beat: float | None
    ) -> None:
        self._leaving[instance] = frame
        serial = self._outbox.add(
            OP_EFFECT, request, frame=frame, beat=beat, target=chain, index=-1, end=instance
        )
        self._sent.append((serial, lambda: self._send_removal(request, chain, instance, 0, None)))

    def move(self, request: Request, chain: int, slot: int, to: int) -> None:
        """Move the effect in a slot to another one; the effects in between move up."""
        placed = self.find(chain, slot)
        slots = self.chains[chain]
        before = [there for there in slots if there]
        slots.insert(to, slots.pop(slot))
        if before != [there for there in slots if there]:
            self._send_move(request, chain, placed, *self._after(request, placed))
            self._update_anchors(chain)

    def _update_anchors(self, chain: int) -> None:
        # A pending effect may be anchored to an instance that has since been moved or removed.
        for slot, placed in enumerate(self.chains[chain]):
            if placed is None or placed.frame == 0 or self._is_in(placed):
                continue
            if placed.anchor != self._anchor(chain, slot, placed.frame):
                self._send_move(None, chain, placed, placed.frame, placed.beat)

    def _send_move(
        self, request: Request | None, chain: int, placed: Placed, frame: int, beat: float | None
    ) -> None:
        if placed not in self.chains[chain]:
            return
        placed.anchor = self._anchor(chain, self.chains[chain].index(placed), frame)
        serial = self._outbox.add(
            OP_EFFECT_MOVE, request, frame=frame, beat=beat, index=placed.instance,
            start=placed.anchor,
        )  # fmt: skip
        self._sent.append((serial, lambda: self._send_move(request, chain, placed, 0, None)))

    def set(
        self,
        request: Request,
        chain: int,
        slot: int,
        name: str,
        value: float,
        seconds: float | None = None,
    ) -> None:
        """Ramp a parameter, `mix` or `on` to a value over `seconds` (None: the parameter's own)."""
        placed = self.find(chain, slot)
        row, parameter = placed.find(name)
        number = check_value(parameter, value)
        wanted = parameter.ramp if seconds is None else seconds
        least = MIN_RAMP_SECONDS if parameter.ramp > 0.0 else 0.0
        frame, beat = self._after(request, placed)
        self._outbox.add(
            OP_RAMP, request, index=effect_ramp(placed.instance, row), x=number,
            y=round(max(wanted, least) * self._desk.sample_rate), frame=frame, beat=beat,
        )  # fmt: skip

    # Queries -----------------------------------------------------------------------------

    def find(self, chain: int, slot: int) -> Placed:
        """Return the effect in a slot; raise `BadArgument` if it is empty."""
        placed = self.chains[chain][slot]
        if placed is None:
            raise BadArgument(f"slot: {slot + 1} of {chain_name(chain)} is empty")
        return placed

    def values(self, placed: Placed) -> list[tuple[str, float]]:
        """Return names and values of an instance's parameters: the targets of their ramps."""
        names = ["mix", "on", *(parameter.name for parameter in placed.module.parameters)]
        first = effect_ramp(placed.instance, 0)
        targets = self._desk.ramps["target"][first : first + len(names)].tolist()
        return list(zip(names, targets, strict=True))

    def text(self, chain: int) -> str:
        """Describe a chain in a few words: `echo - gate(off) -`."""
        words = []
        for placed in self.chains[chain]:
            if placed is None:
                words.append("-")
                continue
            on = self._desk.ramps["target"][effect_ramp(placed.instance, ROW_ON)] > 0.0
            words.append(placed.module.name + ("" if on else "(off)"))
        return " ".join(words)

    # Instances ---------------------------------------------------------------------------

    def _take(self) -> int:
        if not self._free:
            self._look_for_free()
        if not self._free:
            raise Refused(
                f"all {EFFECTS} effect instances are in use: remove some, or wait for tails to end"
            )
        return self._free.pop()

    def _look_for_free(self) -> None:
        # If events of the engine may have been lost, read the instances' states from the desk.
        if int(self._desk.ledger["events_lost"]) == 0 and not self._unsure:
            return
        for instance, frame in list(self._leaving.items()):
            passed = self._desk.frame > frame + PERIOD
            if passed and int(self._desk.effects[instance]["state"]) == IDLE:
                del self._leaving[instance]
                self._is_free(instance)

    def _is_free(self, instance: int) -> None:
        clear_instance(self._desk, instance)
        self._free.append(instance)

    def _after(self, request: Request, placed: Placed | None) -> tuple[int, float | None]:
        # Frame and beat at which a command acts: not before its effect has been inserted.
        if placed is None or placed.frame == 0 or self._is_in(placed):
            return request.frame, request.beat
        if placed.beat is not None and request.beat is not None:
            later = placed.beat > request.beat
        else:
            later = placed.frame > request.frame
        return (placed.frame, placed.beat) if later else (request.frame, request.beat)

    def _is_in(self, placed: Placed) -> bool:
        return int(self._desk.effects[placed.instance]["state"]) != IDLE

    def _anchor(self, chain: int, slot: int, frame: int) -> int:
        # The nearest preceding effect of the chain that will be in place by `frame`. One that is
        # late is inserted at once, before what is sent after it; but a beat may have moved.
        now = self._desk.frame
        for placed in self.chains[chain][:slot][::-1]:
            if placed is None:
                continue
            moved = placed.beat is not None and placed.frame <= now
            if self._is_in(placed) or (placed.frame <= max(frame, now) and not moved):
                return placed.instance
        return -1

    def engine_events(self, events: np.ndarray) -> None:
        """Handle the engine's reports of free instances and of refused commands."""
        for instance in events["target"][events["kind"] == EV_EFFECT_FREE].tolist():
            if self._leaving.pop(instance, None) is not None:
                self._is_free(instance)
        for serial in events["serial"][events["kind"] == EV_REFUSED].tolist():
            for known, action in list(self._sent):
                if known == serial:
                    action()


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
