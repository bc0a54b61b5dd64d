"""Commands of effect chains, sends and routing. Every chain has the same commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.commands.registry import MAX_WORD_LENGTH, PLACES, TABLE, Arg, Place
from crowdstream.control.decks.deck_manager import MIN_RAMP_SECONDS, RAMP_SECONDS
from crowdstream.control.decks.routing import DESTINATIONS, SOURCES
from crowdstream.control.handlers.common import MAX_GAIN
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import BUSES, CHAIN_BUS, CHAIN_INPUT, CHAIN_MASTER
from crowdstream.desk.effects import CHAIN_SLOTS
from crowdstream.desk.ramps import RAMP_PREFADER
from crowdstream.effects import MODULES

# Prefixes of the chains' addresses. Handlers receive what the address names.
CHAIN_ADDRESSES = ("/deck/{deck}", "/bus/{bus}", "/mix", "/input/{input}")

_SLOT = Arg("slot", "i", "slot in the chain, counted from 1", low=1, high=CHAIN_SLOTS)
_MODULE = Arg("module", "s", "name of the module")
_VALUES = Arg(
    "values", "*", "alternately names of parameters (also `mix` and `on`) and values", default=(),
    rest=True, max_length=MAX_WORD_LENGTH,
)
_SECONDS = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)
_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_BUS = Arg("bus", "i", "send bus", low=1, high=BUSES)


def _chain(request: ServerRequest, place: Place) -> int:
    if "deck" in place:
        return int(place["deck"])
    if "input" in place:
        request.core.live_inputs.get(place["input"])
        return CHAIN_INPUT + int(place["input"])
    return CHAIN_BUS + int(place["bus"]) if "bus" in place else CHAIN_MASTER


def _everywhere(ending: str, *args: Arg, **options: Any) -> Callable[..., Any]:
    """Register a command for every chain, as `TABLE.add`; the handler receives the chain number."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        def for_chain(request: ServerRequest, **bound: Any) -> None:
            place = {name: bound.pop(name) for name in PLACES if name in bound}
            handler(request, _chain(request, place), **bound)

        for_chain.__doc__ = handler.__doc__
        for beginning in CHAIN_ADDRESSES:
            TABLE.add(f"{beginning}/fx/{ending}", *args, **options)(for_chain)
        return handler

    return register


@TABLE.add(
    "/fx/modules",
    answers="for each module and parameter `/fx/modules.reply module parameter low high default "
    "unit help`, then `/done /fx/modules <number of modules>`",
    control_only=True,
    changes=False,
)
def modules(request: ServerRequest) -> None:
    """List the effect modules and their parameters."""
    for module in MODULES.values():
        for p in module.parameters:
            request.reply(
                "/fx/modules.reply", module.name, p.name, float(p.low), float(p.high),
                float(p.default), p.unit, p.help,
            )  # fmt: skip
    request.done(len(MODULES))


@_everywhere("insert", _SLOT, _MODULE, _VALUES, scheduled=True, idempotent=False)
def insert(
    request: ServerRequest, chain: int, slot: int, module: str, values: tuple[Any, ...]
) -> None:
    """Insert an effect into an empty slot, with a crossfade."""
    request.core.effects.insert(request, chain, slot - 1, module, values)


@_everywhere("swap", _SLOT, _MODULE, _VALUES, scheduled=True, idempotent=False)
def swap(
    request: ServerRequest, chain: int, slot: int, module: str, values: tuple[Any, ...]
) -> None:
    """Replace the effect in a slot with another one. The tail of the old effect rings out."""
    request.core.effects.swap(request, chain, slot - 1, module, values)


@_everywhere("remove", _SLOT, scheduled=True, idempotent=False)
def remove(request: ServerRequest, chain: int, slot: int) -> None:
    """Remove the effect from a slot. Its tail rings out for up to 30 s."""
    request.core.effects.remove(request, chain, slot - 1)


@_everywhere(
    "move",
    _SLOT,
    Arg("to", "i", "new slot; the effects in between move up", low=1, high=CHAIN_SLOTS),
    scheduled=True, idempotent=False,
)
def move(request: ServerRequest, chain: int, slot: int, to: int) -> None:
    """Move an effect to another slot of its chain, with crossfades out and in."""
    request.core.effects.move(request, chain, slot - 1, to - 1)


@_everywhere(
    "set",
    _SLOT,
    Arg("parameter", "s", "name of the parameter, see `/fx/modules`"),
    Arg("value", "f", "value, in the parameter's range and unit"),
    Arg("seconds", "f", "ramp time; -1: the parameter's own", unit="s", low=-1, high=3600,
        default=-1.0),
    scheduled=True,
)  # fmt: skip
def set_parameter(
    request: ServerRequest, chain: int, slot: int, parameter: str, value: float, seconds: float
) -> None:
    """Set a parameter of an effect."""
    own = None if seconds < 0 else seconds
    request.core.effects.set(request, chain, slot - 1, parameter, value, own)


@_everywhere(
    "mix", _SLOT, Arg("mix", "f", "0: dry, 1: wet", low=0, high=1),
    _SECONDS, scheduled=True,
)  # fmt: skip
def set_mix(request: ServerRequest, chain: int, slot: int, mix: float, seconds: float) -> None:
    """Set the dry/wet mix of an effect."""
    request.core.effects.set(request, chain, slot - 1, "mix", mix, seconds)


@_everywhere(
    "on", _SLOT, Arg("on", "i", "1: on, 0: off", low=0, high=1, default=1), _SECONDS,
    scheduled=True,
)  # fmt: skip
def switch(request: ServerRequest, chain: int, slot: int, on: int, seconds: float) -> None:
    """Switch an effect on or off. Off passes the input through bit for bit; the tail rings out."""
    request.core.effects.set(request, chain, slot - 1, "on", on, seconds)


@_everywhere(
    "list",
    answers="for each slot in use `<address>.reply slot module`, followed by alternating names "
    "and values; then `/done <address> <slots in use>`",
    control_only=True,
    changes=False,
)
def list_chain(request: ServerRequest, chain: int) -> None:
    """List the effects in a chain."""
    effects = request.core.effects
    used = [(slot, placed) for slot, placed in enumerate(effects.chains[chain], 1) if placed]
    for slot, placed in used:
        pairs = [part for pair in effects.values(placed) for part in pair]
        request.reply(f"{request.address}.reply", slot, placed.module.name, *pairs)
    request.done(len(used))


@TABLE.add(
    "/mix/route",
    Arg("source", "s", "deck or bus", choices=SOURCES),
    Arg("destination", "s", "bus or master", choices=DESTINATIONS),
    _GAIN,
    _SECONDS,
    scheduled=True,
    aliases=("/mix/patch",),
)
def route(
    request: ServerRequest, source: str, destination: str, gain: float, seconds: float
) -> None:
    """Set the gain with which a deck or bus feeds a bus or the master.

    By default decks and buses feed only the master, at gain 1. A route that would make buses feed
    each other in a loop is refused.
    """
    _route(request, SOURCES.index(source), DESTINATIONS.index(destination), gain, seconds)


@TABLE.add("/deck/{deck}/send", _BUS, _GAIN, _SECONDS, scheduled=True)
def send(request: ServerRequest, deck: int, bus: int, gain: float, seconds: float) -> None:
    """Set the gain with which the deck feeds a send bus; the same as `/mix/route`."""
    _route(request, deck, bus - 1, gain, seconds)


def _route(
    request: ServerRequest, source: int, destination: int, gain: float, seconds: float
) -> None:
    ramp_seconds = max(seconds, MIN_RAMP_SECONDS)
    block = int(request.core.desk.header["block_frames"])
    frame = max(request.frame, request.now + block)  # a late command acts at once
    row = request.core.routing.change(source, destination, gain, frame, ramp_seconds)
    request.deck_manager.ramp(request, row, gain, seconds)


@TABLE.add(
    "/deck/{deck}/send/pre",
    _BUS,
    Arg("on", "i", "1: pre-fader, before deck level and crossfader; 0: post-fader", low=0, high=1,
        default=1),
    _SECONDS,
    scheduled=True,
)  # fmt: skip
def send_pre(request: ServerRequest, deck: int, bus: int, on: int, seconds: float) -> None:
    """Switch the deck's send to a bus between pre-fader and post-fader (the default)."""
    request.deck_manager.ramp(request, RAMP_PREFADER + BUSES * deck + bus - 1, float(on), seconds)
