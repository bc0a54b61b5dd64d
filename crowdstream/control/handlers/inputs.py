"""Live inputs: levels, EQ, filter, talkover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.commands.registry import BANDS, TABLE, Arg
from crowdstream.control.decks.channel_strip import MAX_DB, decibel_gain
from crowdstream.control.decks.deck_manager import RAMP_SECONDS
from crowdstream.control.decks.live_inputs import Talkover
from crowdstream.control.handlers.common import MAX_GAIN
from crowdstream.control.handlers.mix import FILTER_SECONDS, MIN_EQ_DB
from crowdstream.control.handlers.samples import MAX_DUCK_DB
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.ramps import (
    RAMP_INPUT_FILTER,
    RAMP_INPUT_GAIN,
    RAMP_INPUT_LEVEL,
    RAMP_INPUT_PFL,
    RAMP_INPUT_RESONANCE,
    input_eq_ramp,
)

MAX_INPUT_GAIN = 16.0  # +24 dB: a microphone at line level

_DEFAULT = Talkover()
_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_RAMP = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)


def _row(number: int, band: str) -> int:
    return input_eq_ramp(number, BANDS.index(band))


@TABLE.add(
    "/input/{input}/gain",
    Arg("gain", "f", "linear gain", low=0, high=MAX_INPUT_GAIN),
    _RAMP,
    scheduled=True,
)
def gain(request: ServerRequest, input: int, gain: float, seconds: float) -> None:
    """Set the gain with which the input enters the mixer (pre-EQ)."""
    request.core.live_inputs.ramp(request, input, RAMP_INPUT_GAIN + input, gain, seconds)


@TABLE.add(
    "/input/{input}/eq",
    *(
        Arg(band, "f", f"gain of the {band} band", unit="dB", low=MIN_EQ_DB, high=MAX_DB)
        for band in BANDS
    ),
    _RAMP,
    scheduled=True,
)
def eq(
    request: ServerRequest, input: int, low: float, mid: float, high: float, seconds: float
) -> None:
    """Set the three bands of the input's EQ in dB."""
    for band, decibels in zip(BANDS, (low, mid, high), strict=True):
        gain = decibel_gain(decibels)
        request.core.live_inputs.ramp(request, input, _row(input, band), gain, seconds)


def _eq_address(band: str) -> Callable[..., Any]:
    def handler(request: ServerRequest, input: int, gain: float, seconds: float) -> None:
        request.core.live_inputs.ramp(request, input, _row(input, band), gain, seconds)

    handler.__doc__ = f"Set the gain of the {band} band of the input's EQ; 0 kills it."
    decorated: Callable[..., Any] = TABLE.add(
        f"/input/{{input}}/eq/{band}", _GAIN, _RAMP, scheduled=True
    )(handler)
    return decorated


for _band in BANDS:
    _eq_address(_band)


@TABLE.add(
    "/input/{input}/kill",
    Arg("band", "s", "EQ band", choices=BANDS),
    Arg("on", "i", "1: silence the band, 0: restore it", low=0, high=1, default=1),
    scheduled=True,
)
def kill(request: ServerRequest, input: int, band: str, on: int) -> None:
    """Silence a band of the input's EQ, or restore its previous gain."""
    request.core.live_inputs.get(input)
    request.core.channel_strips.kill(request, _row(input, band), bool(on))


@TABLE.add(
    "/input/{input}/filter",
    Arg("knob", "f", "-1: low-pass closed, 0: off, 1: high-pass closed", low=-1, high=1),
    _RAMP,
    scheduled=True,
)
def filter_knob(request: ServerRequest, input: int, knob: float, seconds: float) -> None:
    """Turn the input's filter: low-pass to the left, high-pass to the right, off in the middle.

    The shortest ramp is 20 ms.
    """
    ramp_seconds = max(seconds, FILTER_SECONDS)
    request.core.live_inputs.ramp(request, input, RAMP_INPUT_FILTER + input, knob, ramp_seconds)


@TABLE.add(
    "/input/{input}/filter/resonance",
    Arg("amount", "f", "0: no peak at the cutoff, 1: one of 18 dB", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def resonance(request: ServerRequest, input: int, amount: float, seconds: float) -> None:
    """Set the resonance of the input's filter at its cutoff. The default is 0."""
    ramp_seconds = max(seconds, FILTER_SECONDS)
    row = RAMP_INPUT_RESONANCE + input
    request.core.live_inputs.ramp(request, input, row, amount, ramp_seconds)


@TABLE.add("/input/{input}/level", _GAIN, _RAMP, scheduled=True)
def level(request: ServerRequest, input: int, gain: float, seconds: float) -> None:
    """Set the input's level (post-EQ)."""
    request.core.live_inputs.ramp(request, input, RAMP_INPUT_LEVEL + input, gain, seconds)


@TABLE.add(
    "/input/{input}/mute",
    Arg("on", "i", "1: mute the input, 0: open it", low=0, high=1, default=1),
    scheduled=True,
)
def mute(request: ServerRequest, input: int, on: int) -> None:
    """Mute the input in the master, or open it, also after it was muted because of feedback."""
    request.core.live_inputs.mute(request, input, bool(on))


@TABLE.add(
    "/input/{input}/pfl",
    Arg("gain", "f", "linear gain on the cue bus; 0: off", low=0, high=MAX_GAIN, default=1.0),
    _RAMP,
    scheduled=True,
)
def pfl(request: ServerRequest, input: int, gain: float, seconds: float) -> None:
    """Send the input to the cue bus: pre-fader listening (PFL), after the input's effects."""
    request.core.live_inputs.ramp(request, input, RAMP_INPUT_PFL + input, gain, seconds)


@TABLE.add(
    "/input/{input}/guard",
    Arg("on", "i", "1: mute the input when it carries the output, 0: never", low=0, high=1),
    control_only=True,
    idempotent=True,
)
def guard(request: ServerRequest, input: int, on: int) -> None:
    """Choose whether the input is muted when it carries the server's own output.

    The default is on. An input that was muted in this way stays muted until
    `/input/{input}/mute 0`.
    """
    request.core.live_inputs.set_guard(input, bool(on))


@TABLE.add(
    "/input/{input}/talkover",
    Arg("on", "i", "1: on, 0: off", low=0, high=1, default=1),
    scheduled=True,
)
def talkover(request: ServerRequest, input: int, on: int) -> None:
    """Duck decks and samples while the input, after its level, is loud enough.

    The default is off. Together with an announcement, the deeper attenuation applies.
    """
    request.core.live_inputs.set_talkover(request, input, on=bool(on))


def _talkover_address(name: str, arg: Arg, about: str) -> None:
    def handler(request: ServerRequest, input: int, **value: float) -> None:
        request.core.live_inputs.set_talkover(request, input, **{name: value[arg.name]})

    handler.__doc__ = f"{about} The default is {getattr(_DEFAULT, name):g} {arg.unit}."
    TABLE.add(f"/input/{{input}}/talkover/{name}", arg, scheduled=True)(handler)


def _seconds(help: str) -> Arg:
    return Arg("seconds", "f", help, unit="s", low=0, high=30)


_talkover_address(
    "threshold", Arg("decibels", "f", "peak level", unit="dBFS", low=-80, high=0),
    "Set the level of the input from which the music is ducked.",
)
_talkover_address(
    "hysteresis", Arg("decibels", "f", "below the threshold", unit="dB", low=0, high=40),
    "Set how far the input must fall below the threshold before the music rises again.",
)
_talkover_address(
    "depth", Arg("decibels", "f", "attenuation of the music", unit="dB", low=0, high=MAX_DUCK_DB),
    "Set the attenuation of decks and samples during talkover.",
)
_talkover_address(
    "attack", _seconds("time in which the music falls"), "Set the attack time of the talkover."
)
_talkover_address(
    "hold", _seconds("silence of the input until the music rises"),
    "Set the hold time of the talkover.",
)
_talkover_address(
    "release", _seconds("time in which the music rises"), "Set the release time of the talkover."
)
