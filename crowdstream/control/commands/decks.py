"""Commands of a deck, a stem and the mix: one address for each thing one can touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.control.commands.common import (
    MAX_GAIN,
    PATH_HELP,
    band_row,
    check_rate,
    start_frame,
    stem_tracks,
)
from crowdstream.control.heads import frame_in, open_track
from crowdstream.control.mixer import RAMP_SECONDS
from crowdstream.control.server_request import ServerRequest
from crowdstream.control.table import BANDS, TABLE, Arg
from crowdstream.control.tracks import Item, first_buffer
from crowdstream.desk.ramps import RAMP_MASTER, deck_level_ramp
from crowdstream.desk.sizes import MAX_RATE, MIN_RATE, STEMS

_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_RAMP = Arg("seconds", "f", "ramp", unit="s", low=0, high=3600, default=RAMP_SECONDS)


@TABLE.add(
    "/deck/{deck}/load",
    Arg("path", "s", PATH_HELP),
    Arg("start", "f", "cue point, fraction of the length", low=0, high=1, default=0.0),
    answers="`/done <address> id` when it can be played",
)
def load(context: ServerRequest, deck: int, path: str, start: float) -> None:
    """Load a track onto the deck; its stems stay aligned to the sample."""
    context.buffers.load(context, first_buffer(deck), path, cue=start)


@TABLE.add("/deck/{deck}/unload", answers="`/done <address>` when its memory is free")
def unload(context: ServerRequest, deck: int) -> None:
    """Stop the deck's track and free its memory."""
    context.buffers.deck_tracks(deck)
    leaving = context.buffers.unload(first_buffer(deck), context.frame)
    context.buffers.when_gone(leaving, context)


@TABLE.add(
    "/deck/{deck}/play",
    Arg("start_at", "f", "seconds after the last /reset", unit="s", low=-1e9, high=1e9,
        default=0.0),
    Arg("loop", "i", "1: loop the track", low=0, high=1, default=0),
    scheduled=True, button=True,
    quantized=True,
)
def play(context: ServerRequest, deck: int, start_at: float, loop: int) -> None:
    """Start the deck's track from its cue."""
    track = context.buffers.deck_track(deck)
    item = Item(track, context, track.rate, track.gain, bool(loop))
    context.mixer.start([item], start_frame(context, start_at))


@TABLE.add("/deck/{deck}/stop", scheduled=True, quantized=True)
def stop(context: ServerRequest, deck: int) -> None:
    """Stop the deck's track."""
    for track in context.buffers.deck_tracks(deck):
        context.mixer.stop(track, context)


@TABLE.add(
    "/deck/{deck}/seek",
    Arg("position", "f", "place in the file", unit="s", low=0, high=1e6),
    scheduled=True,
    quantized=True,
)
def seek(context: ServerRequest, deck: int, position: float) -> None:
    """Jump to a place in the track; moves the cue while the deck is stopped."""
    track = open_track(context, deck)
    context.mixer.seek(track, frame_in(context, track, position, "position"), context)


@TABLE.add(
    "/deck/{deck}/rate",
    Arg("rate", "f", "playback rate", low=MIN_RATE, high=MAX_RATE),
    scheduled=True,
)
def rate(context: ServerRequest, deck: int, rate: float) -> None:
    """Set the deck's playback rate: tempo and pitch. Times the tempo it has to be 0.25 to 4."""
    tracks = context.buffers.deck_tracks(deck)
    check_rate(context, rate)
    for track in tracks:
        context.mixer.set_rate(track, rate, context)


@TABLE.add("/deck/{deck}/gain", _GAIN, scheduled=True)
def gain(context: ServerRequest, deck: int, gain: float) -> None:
    """Set the gain of the deck's track."""
    for track in context.buffers.deck_tracks(deck):
        context.mixer.set_gain(track, gain, context)


@TABLE.add("/deck/{deck}/level", _GAIN, _RAMP, scheduled=True)
def level(context: ServerRequest, deck: int, gain: float, seconds: float) -> None:
    """Set the deck's level, after its EQ."""
    context.mixer.ramp(context, deck_level_ramp(deck), gain, seconds)


@TABLE.add(
    "/deck/{deck}/stem",
    Arg("number", "i", "stem, the first is 1", low=1, high=STEMS),
    _GAIN,
    _RAMP,
    scheduled=True,
)
def stem(context: ServerRequest, deck: int, number: int, gain: float, seconds: float) -> None:
    """Set the gain of one stem of the deck's track."""
    for track in stem_tracks(context, deck, number):
        context.mixer.set_stem_gain(track, number - 1, gain, context, seconds)


def _stem_address(number: int) -> None:
    @TABLE.add(f"/deck/{{deck}}/stem/{number}", _GAIN, _RAMP, scheduled=True)
    def numbered(context: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        """Set the gain of this stem of the deck's track."""
        stem(context, deck, number, gain, seconds)


for _number in range(1, STEMS + 1):
    _stem_address(_number)


def _eq_address(band: str) -> Callable[..., Any]:
    def handler(context: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        context.mixer.ramp(context, band_row(deck, band), gain, seconds)

    handler.__doc__ = f"Set the gain of the {band} band of the deck's EQ; 0 kills it."
    decorated: Callable[..., Any] = TABLE.add(
        f"/deck/{{deck}}/eq/{band}", _GAIN, _RAMP, scheduled=True
    )(handler)
    return decorated


for _band in BANDS:
    _eq_address(_band)


@TABLE.add("/mix/level", _GAIN, _RAMP, scheduled=True)
def mix_level(context: ServerRequest, gain: float, seconds: float) -> None:
    """Set the master level, before the limiter."""
    context.mixer.ramp(context, RAMP_MASTER, gain, seconds)
