"""The controls that a transition can automate, and the OSC commands that set them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crowdstream.dj.setfile.model import AutomationPoint, stem_number
from crowdstream.effects import MODULES

# Ranges are those of the OSC commands; see docs/reference/osc/index.md.
EQ_BANDS = ("low", "mid", "high")
# Each effect has a fixed slot in the deck's chain, so an automation point needs no slot number.
SLOTS = {"echo": 1, "reverb": 2, "flanger": 3, "roll": 4}
SWITCHED = ("roll",)  # on or off; the mix level stays
RANGES: dict[str, tuple[float, float]] = {
    "level": (0, 4),
    "low": (0, 4),
    "mid": (0, 4),
    "high": (0, 4),
    "filter": (-1, 1),
    "resonance": (0, 1),
    "pitch": (-12, 12),
    "trim": (-24, 24),
    "loop": (0, 64),
    "jump": (-4096, 4096),
    "stop": (0, 1),
    "brake": (0, 60),
    **{module: (0, 1) for module in SLOTS},
}
STEM_RANGE = (0.0, 4.0)
TEMPO_RANGE = (20.0, 400.0)
INSTANT = ("loop", "jump", "stop", "pitch", "roll")  # these cannot be ramped


@dataclass(frozen=True)
class Command:
    """An OSC message to a deck or the clock."""

    address: str
    args: tuple[float | int | str, ...]


def problem(row: AutomationPoint, stems: Sequence[str]) -> str:
    """Return what is wrong with an automation point for a track with these stems, else empty."""
    if row.target == "clock":
        if row.control != "tempo":
            return f"the clock has no {row.control!r}, only a tempo"
        return _outside(row, TEMPO_RANGE)
    control, _, parameter = row.control.partition(".")
    if parameter:
        return _parameter_problem(row, control, parameter)
    if control in RANGES:
        if row.over and control in INSTANT:
            return f"{control} happens at once: it takes no duration in beats"
        return _outside(row, RANGES[control])
    if stem_number(stems, control) is not None:
        return _outside(row, STEM_RANGE)
    has = f"its stems are {', '.join(stems)}" if stems else "it has no stems"
    return f"{control!r} is neither a control ({_or(RANGES)}) nor a stem of this track: {has}"


def _parameter_problem(row: AutomationPoint, module: str, name: str) -> str:
    if module not in SLOTS:
        return f"{module!r} is not an effect: {_or(SLOTS)}"
    known = {parameter.name: parameter for parameter in MODULES[module].parameters}
    if name not in known:
        return f"{module} has no {name!r}: {_or(known)}"
    return _outside(row, (known[name].low, known[name].high))


def _outside(row: AutomationPoint, span: tuple[float, float]) -> str:
    low, high = span
    if low <= row.value <= high:
        return ""
    return f"{row.control} must be from {low:g} to {high:g}, not {row.value:g}"


def _or(names: Iterable[str]) -> str:
    return ", ".join(names)


def effect(control: str) -> str:
    """Return the effect that a control belongs to; empty if it belongs to none."""
    module = control.partition(".")[0]
    return module if module in SLOTS else ""


def addresses_stem(name: str) -> bool:
    """Return whether an automation point with this control addresses the stem of that name.

    Controls and effects' parameters ("echo.feedback") take precedence over stems.
    """
    return name not in RANGES and "." not in name


def insert(deck: str, module: str) -> Command:
    """Return the command that inserts an effect into its slot, silent at first."""
    still = ("on", 0) if module in SWITCHED else ("mix", 0.0)
    return Command(f"/deck/{deck}/fx/insert", (SLOTS[module], module, *still))


def command(deck: str, row: AutomationPoint, stems: Sequence[str], seconds: float) -> Command:
    """Return the command of an automation point for which `problem` is empty.

    `seconds`: duration of the point's ramp.
    """
    control, value = row.control, float(row.value)
    if row.target == "clock":
        return Command("/clock/tempo", (value, float(row.over)))
    base = f"/deck/{deck}"
    ramp = (value, seconds) if row.over else (value,)
    module, _, parameter = control.partition(".")
    if parameter:
        tail = (seconds,) if row.over else ()
        return Command(f"{base}/fx/set", (SLOTS[module], parameter, value, *tail))
    if control in SWITCHED:
        return Command(f"{base}/fx/on", (SLOTS[control], int(value > 0)))
    if control in SLOTS:
        return Command(f"{base}/fx/mix", (SLOTS[control], *ramp))
    if control in EQ_BANDS:
        return Command(f"{base}/eq/{control}", ramp)
    if control == "loop":
        return Command(f"{base}/loop", (value, 1.0)) if value else Command(f"{base}/loop/exit", ())
    if control == "stop":
        return Command(f"{base}/stop", ())
    if control == "brake":
        return Command(f"{base}/brake", (value,))
    if control == "resonance":
        return Command(f"{base}/filter/resonance", ramp)
    if control in ("pitch", "jump"):
        return Command(f"{base}/{control}", (value,))
    if control in RANGES:
        return Command(f"{base}/{control}", ramp)
    return Command(f"{base}/stem/{stem_number(stems, control)}", ramp)
