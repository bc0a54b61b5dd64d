"""Values of OSC addresses, read from the state view: the arguments that would set them."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from crowdstream.commands.registry import BANDS, DECK_LETTERS, PLACES, TABLE
from crowdstream.control.decks.routing import DESTINATIONS, SOURCES

Picture = dict[str, Any]
Name = tuple[Any, ...]
"""An address followed by the arguments that select what it refers to: a band, a bus, a slot."""
Values = tuple[Any, ...]
_Get = Callable[..., list[Any] | None]


def _decibels(gain: float) -> float | None:
    return 20.0 * math.log10(gain) if gain > 0.0 else None


def _deck(key: str) -> _Get:
    return lambda picture, deck: [picture[f"deck.{deck}"][key]]


def _deck_band(band: int) -> _Get:
    return lambda picture, deck: [picture[f"deck.{deck}"]["eq"][band]]


def _sync(picture: Picture, deck: str) -> list[Any]:
    shown = picture[f"deck.{deck}"]
    return [int(shown["sync"] > 0.0), shown["sync_quantum"]]


def _stem(key: str) -> _Get:
    return lambda picture, deck, stem: [picture[f"deck.{deck}"]["stems"][int(stem) - 1][key]]


def _stem_band(band: int) -> _Get:
    return lambda picture, deck, stem: [
        picture[f"deck.{deck}"]["stems"][int(stem) - 1]["eq"][band]
    ]


def _mixer(key: str) -> _Get:
    return lambda picture: [picture["mixer"][key]]


def _clock(key: str) -> _Get:
    return lambda picture: [picture["clock"][key]]


def _sample(key: str) -> _Get:
    return lambda picture, number: [picture["samples"][int(number) - 1][key]]


def _input(key: str) -> _Get:
    return lambda picture, number: [picture["inputs"][int(number) - 1][key]]


def _input_band(band: int) -> _Get:
    return lambda picture, number: [picture["inputs"][int(number) - 1]["eq"][band]]


def _talkover(key: str) -> _Get:
    return lambda picture, number: [picture["inputs"][int(number) - 1]["talkover"][key]]


_INPUT = r"/input/(\d)"
_DECK, _STEM, _SAMPLE = r"/deck/([A-D])", r"/deck/([A-D])/stem/(\d)", r"/sample/(\d+)"
_GETTERS: list[tuple[re.Pattern[str], _Get]] = [
    (re.compile(pattern), get)
    for pattern, get in (
        *((f"{_DECK}/{name}", _deck(name)) for name in (
            "level", "rate", "gain", "filter", "crossfader", "keylock", "pitch", "slip", "reverse",
            "quantize",
        )),
        (f"{_DECK}/pfl", _deck("listen")),
        (f"{_DECK}/filter/resonance", _deck("resonance")),
        (f"{_DECK}/trim/auto", _deck("trim_auto")),
        (f"{_DECK}/trim", lambda picture, deck: [_decibels(picture[f"deck.{deck}"]["trim"])]),
        (f"{_DECK}/sync", _sync),
        (f"{_DECK}/sync/ratio", _deck("sync_ratio")),
        *((f"{_DECK}/eq/{name}", _deck_band(n)) for n, name in enumerate(("low", "mid", "high"))),
        (_STEM, _stem("gain")),
        *((f"{_STEM}/{name}", _stem(name)) for name in ("mute", "solo", "filter")),
        (f"{_STEM}/pfl", _stem("listen")),
        (f"{_STEM}/filter/resonance", _stem("resonance")),
        *((f"{_STEM}/eq/{name}", _stem_band(n)) for n, name in enumerate(("low", "mid", "high"))),
        *((f"{_SAMPLE}/{name}", _sample(name)) for name in (
            "level", "loop", "quantize", "output",
        )),
        *((f"{_INPUT}/{name}", _input(name)) for name in (
            "gain", "level", "mute", "filter", "guard",
        )),
        (f"{_INPUT}/pfl", _input("listen")),
        (f"{_INPUT}/filter/resonance", _input("resonance")),
        *((f"{_INPUT}/eq/{name}", _input_band(n)) for n, name in enumerate(BANDS)),
        (f"{_INPUT}/talkover", _talkover("on")),
        *((f"{_INPUT}/talkover/{name}", _talkover(name)) for name in (
            "threshold", "hysteresis", "depth", "attack", "hold", "release",
        )),
        ("/mix/crossfader", _mixer("crossfader")),
        ("/mix/crossfader/curve", _mixer("curve")),
        ("/mix/level", _mixer("master_level")),
        ("/mix/cue/level", _mixer("cue_level")),
        ("/mix/samples", _mixer("samples_level")),
        ("/mix/announcements", _mixer("announcements_level")),
        ("/mix/ceiling", lambda picture: [_decibels(picture["mixer"]["ceiling"])]),
        ("/clock/tempo", _clock("target")),
        ("/clock/meter", _clock("meter")),
        ("/clock/quantize", _clock("quantize")),
        ("/print_clock", _clock("print_clock")),
        ("/quality", lambda picture: [picture["quality"]["asked"]]),
    )
]  # fmt: skip


def getter(address: str) -> Callable[[Picture], list[Any] | None] | None:
    """Return a function that reads an address's first arguments from a state view.

    Returns None if the address has no value. The function itself returns None while there is no
    value, for example of a stem of an empty deck.
    """
    for pattern, get in _GETTERS:
        found = pattern.fullmatch(address)
        if found:
            return _safely(get, found.groups())
    return None


def _safely(get: _Get, places: tuple[str, ...]) -> Callable[[Picture], list[Any] | None]:
    def read(picture: Picture) -> list[Any] | None:
        try:
            values = get(picture, *places)
        except (KeyError, IndexError, TypeError):
            return None
        return None if values is None or None in values else values

    return read


# Named values: feedback for controllers ------------------------------------------------------


@functools.cache
def _readers() -> dict[str, list[tuple[str, Callable[[Picture], list[Any] | None]]]]:
    # By key of the state view: every address in the command table that has a value.
    found: dict[str, list[tuple[str, Callable[[Picture], list[Any] | None]]]] = {}
    for command in TABLE.commands:
        for address in _concrete(command.address):
            read = getter(address)
            if read:
                found.setdefault(_key(address), []).append((address, read))
    for key in ("buses", "patches", "dj"):
        found.setdefault(key, [])
    return found


def _concrete(address: str) -> Iterator[str]:
    # The addresses of all decks, sample pads or inputs.
    for place in ("deck", "sample", "input"):
        if f"{{{place}}}" in address:
            spellings = {number: text for text, number in reversed(PLACES[place])}
            yield from (address.replace(f"{{{place}}}", text) for text in spellings.values())
            return
    yield address


def _key(address: str) -> str:
    part = address.split("/")
    names = {
        "deck": f"deck.{part[2:3] and part[2]}", "mix": "mixer", "quality": "quality",
        "sample": "samples", "input": "inputs",
    }  # fmt: skip
    return names.get(part[1], "clock")


def keys() -> set[str]:
    """Keys of the state view that hold values of addresses."""
    return set(_readers())


def is_send(source: str, destination: str) -> bool:
    """Whether a patch is a deck's send, which has an address of its own."""
    return source in DECK_LETTERS and destination.startswith("bus")


def named_values(key: str, shown: Any) -> Iterator[tuple[Name, Values]]:
    """All values under one key of the state view, as a client would send them to set them."""
    picture = {key: shown}
    for address, read in _readers()[key]:
        values = read(picture)
        if values is not None:
            yield (address,), tuple(values)
    if key.startswith("deck."):
        yield from _deck_values(f"/deck/{key[5:]}", shown)
    elif key == "inputs":
        for number, one in enumerate(shown, 1):
            for band, killed in zip(BANDS, one["kill"], strict=True):
                yield (f"/input/{number}/kill", band), (killed,)
            yield from _chain_values(f"/input/{number}", one["fx"])
    elif key == "mixer":
        yield from _chain_values("/mix", shown["fx"])
    elif key == "buses":
        for bus in shown:
            yield from _chain_values(f"/bus/{bus['bus']}", bus["fx"])
    elif key == "patches":
        gains = {(one["source"], one["destination"]): one["gain"] for one in shown}
        for source in SOURCES:
            for destination in DESTINATIONS:
                if not is_send(source, destination):
                    gain = gains.get((source, destination), 0.0)
                    yield ("/mix/route", source, destination), (gain,)
    elif key == "dj":
        for name in ("hold", "energy"):
            if isinstance(shown.get(name), int | float):
                yield (f"/dj/{name}",), (shown[name],)


def _deck_values(deck: str, shown: dict[str, Any]) -> Iterator[tuple[Name, Values]]:
    yield (f"{deck}/play",), (int(shown["voice"] >= 0),)
    yield (f"{deck}/loop",), (float(shown["loop_beats"]) if shown["loop"] else 0.0,)
    for band, killed in zip(BANDS, shown["kill"], strict=True):
        yield (f"{deck}/kill", band), (killed,)
    for bus, (gain, before) in enumerate(zip(shown["sends"], shown["send_pre"], strict=True), 1):
        yield (f"{deck}/send", bus), (gain,)
        yield (f"{deck}/send/pre", bus), (before,)
    for number, stem in enumerate(shown["stems"], 1):
        for bus, gain in enumerate(stem["sends"], 1):
            yield (f"{deck}/stem/{number}/send", bus), (gain,)
    yield from _chain_values(deck, shown["fx"])


def _chain_values(chain: str, slots: list[dict[str, Any] | None]) -> Iterator[tuple[Name, Values]]:
    for placed in slots:
        if placed is not None:
            slot = placed["slot"]
            yield (f"{chain}/fx/on", slot), (placed["on"],)
            yield (f"{chain}/fx/mix", slot), (placed["mix"],)
            for name, value in placed["values"].items():
                yield (f"{chain}/fx/set", slot, name), (value,)
