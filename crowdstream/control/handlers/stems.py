"""Commands for single stems: EQ, filter, mute, solo, cue bus and send buses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.commands.registry import BANDS, TABLE, Arg
from crowdstream.control.decks.channel_strip import MAX_DB, decibel_gain
from crowdstream.control.decks.deck_manager import RAMP_SECONDS
from crowdstream.control.handlers.common import MAX_GAIN, stem_tracks
from crowdstream.control.handlers.mix import FILTER_SECONDS, MIN_EQ_DB
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import BUSES, STEMS
from crowdstream.desk.ramps import VOICE_EQ, VOICE_FILTER, VOICE_PFL, VOICE_RESONANCE, VOICE_SEND

_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_RAMP = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)
_ON = Arg("on", "i", "1: on, 0: off", low=0, high=1)


def _set(
    request: ServerRequest, deck: int, number: int, row: int, value: float,
    seconds: float = RAMP_SECONDS,
) -> None:
    for track in stem_tracks(request, deck, number):
        request.deck_manager.set_stem_row(track, row, value, request, seconds)


def _eq_row(number: int, band: str) -> int:
    return VOICE_EQ + len(BANDS) * (number - 1) + BANDS.index(band)


def _address(number: int, name: str, *args: Arg, alias: str = "") -> Callable[..., Any]:
    # Mute and solo are played like instruments, so they are quantized.
    waits = name in ("mute", "solo")
    stem = f"/deck/{{deck}}/stem/{number}"
    aliases = (f"{stem}/{alias}",) if alias else ()
    return TABLE.add(f"{stem}/{name}", *args, scheduled=True, quantized=waits, aliases=aliases)


def _band_address(number: int, band: str) -> None:
    def handler(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        _set(request, deck, number, _eq_row(number, band), gain, seconds)

    handler.__doc__ = f"Set the gain of the {band} band of this stem's EQ; 0 kills it."
    _address(number, f"eq/{band}", _GAIN, _RAMP)(handler)


def _eq_addresses(number: int) -> None:
    for band in BANDS:
        _band_address(number, band)
    bands = (
        Arg(band, "f", f"gain of the {band} band", unit="dB", low=MIN_EQ_DB, high=MAX_DB)
        for band in BANDS
    )

    @_address(number, "eq", *bands, _RAMP)
    def eq(
        request: ServerRequest, deck: int, low: float, mid: float, high: float, seconds: float
    ) -> None:
        """Set the three bands of this stem's EQ in dB."""
        for band, decibels in zip(BANDS, (low, mid, high), strict=True):
            _set(request, deck, number, _eq_row(number, band), decibel_gain(decibels), seconds)


def _filter_addresses(number: int) -> None:
    @_address(
        number,
        "filter",
        Arg("knob", "f", "-1: low-pass closed, 0: off, 1: high-pass closed", low=-1, high=1),
        _RAMP,
    )
    def knob(request: ServerRequest, deck: int, knob: float, seconds: float) -> None:
        """Turn this stem's filter: low-pass to the left, high-pass to the right.

        The shortest ramp is 20 ms.
        """
        _set(request, deck, number, VOICE_FILTER + number - 1, knob, max(seconds, FILTER_SECONDS))

    @_address(
        number,
        "filter/resonance",
        Arg("amount", "f", "0: no peak at the cutoff, 1: one of 18 dB", low=0, high=1),
        _RAMP,
    )
    def resonance(request: ServerRequest, deck: int, amount: float, seconds: float) -> None:
        """Set the resonance of this stem's filter at its cutoff. The default is 0."""
        row = VOICE_RESONANCE + number - 1
        _set(request, deck, number, row, amount, max(seconds, FILTER_SECONDS))


def _switch_addresses(number: int) -> None:
    def switch(request: ServerRequest, deck: int, name: str, on: int) -> None:
        for track in stem_tracks(request, deck, number):
            before = track.mix.gains
            chosen = track.mix.mutes if name == "mute" else track.mix.solos
            if on:
                chosen.add(number - 1)
            else:
                chosen.discard(number - 1)
            request.deck_manager.change_gains(track, before, request)

    @_address(number, "mute", _ON)
    def mute(request: ServerRequest, deck: int, on: int) -> None:
        """Mute this stem, or unmute it at its present gain."""
        switch(request, deck, "mute", on)

    @_address(number, "solo", _ON)
    def solo(request: ServerRequest, deck: int, on: int) -> None:
        """Solo this stem: only soloed stems of the track that are not muted are audible."""
        switch(request, deck, "solo", on)


def _outlet_addresses(number: int) -> None:
    @_address(
        number,
        "pfl",
        Arg(
            "gain", "f", "linear gain on the cue bus; 0: off", low=0, high=MAX_GAIN,
            default=1.0,
        ),
        _RAMP,
        alias="listen",
    )
    def pfl(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        """Send this stem to the cue bus: pre-fader listening (PFL), after the stem's filter."""
        _set(request, deck, number, VOICE_PFL + number - 1, gain, seconds)

    @_address(
        number, "send", Arg("bus", "i", "send bus", low=1, high=BUSES), _GAIN, _RAMP
    )
    def send(request: ServerRequest, deck: int, bus: int, gain: float, seconds: float) -> None:
        """Set the gain with which this stem feeds a send bus (post-gain)."""
        _set(request, deck, number, VOICE_SEND + STEMS * (bus - 1) + number - 1, gain, seconds)


for _number in range(1, STEMS + 1):
    _eq_addresses(_number)
    _filter_addresses(_number)
    _switch_addresses(_number)
    _outlet_addresses(_number)
