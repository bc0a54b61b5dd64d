"""Values of OSC addresses, as far as the picture has them: the arguments that would set them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

Picture = dict[str, Any]
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


_DECK, _STEM = r"/deck/([A-D])", r"/deck/([A-D])/stem/(\d)"
_GETTERS: list[tuple[re.Pattern[str], _Get]] = [
    (re.compile(pattern), get)
    for pattern, get in (
        *((f"{_DECK}/{name}", _deck(name)) for name in (
            "level", "rate", "gain", "filter", "crossfader", "keylock", "pitch", "slip", "reverse",
            "quantize", "listen",
        )),
        (f"{_DECK}/filter/resonance", _deck("resonance")),
        (f"{_DECK}/trim/auto", _deck("trim_auto")),
        (f"{_DECK}/trim", lambda picture, deck: [_decibels(picture[f"deck.{deck}"]["trim"])]),
        (f"{_DECK}/sync", _sync),
        (f"{_DECK}/sync/ratio", _deck("sync_ratio")),
        *((f"{_DECK}/eq/{name}", _deck_band(n)) for n, name in enumerate(("low", "mid", "high"))),
        (_STEM, _stem("gain")),
        *((f"{_STEM}/{name}", _stem(name)) for name in ("mute", "solo", "filter", "listen")),
        (f"{_STEM}/filter/resonance", _stem("resonance")),
        *((f"{_STEM}/eq/{name}", _stem_band(n)) for n, name in enumerate(("low", "mid", "high"))),
        ("/mix/crossfader", _mixer("crossfader")),
        ("/mix/crossfader/curve", _mixer("curve")),
        ("/mix/level", _mixer("master_level")),
        ("/mix/cue/level", _mixer("cue_level")),
        ("/mix/ceiling", lambda picture: [_decibels(picture["mixer"]["ceiling"])]),
        ("/clock/tempo", _clock("target")),
        ("/clock/meter", _clock("meter")),
        ("/clock/quantize", _clock("quantize")),
        ("/print_clock", _clock("print_clock")),
        ("/quality", lambda picture: [picture["quality"]["asked"]]),
    )
]  # fmt: skip


def getter(address: str) -> Callable[[Picture], list[Any] | None] | None:
    """What reads the first arguments of an address from a picture; None: it has no value.

    The reader gives None while there is no value, as of a stem of an empty deck.
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
