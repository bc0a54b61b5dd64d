"""Deck, stem and master commands: one address per control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.commands.registry import BANDS, TABLE, Arg
from crowdstream.control.decks.deck_manager import RAMP_SECONDS
from crowdstream.control.decks.pitch import SEMITONES
from crowdstream.control.decks.track import Item, first_buffer
from crowdstream.control.handlers.common import (
    MAX_GAIN,
    PATH_HELP,
    band_row,
    check_rate,
    frame_in,
    open_track,
    start_frame,
    stem_tracks,
)
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE, STEMS
from crowdstream.desk.ramps import RAMP_MASTER, deck_level_ramp

_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_RAMP = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)


@TABLE.add(
    "/deck/{deck}/load",
    Arg("path", "s", PATH_HELP),
    Arg("start", "f", "cue point, as a fraction of the length", low=0, high=1, default=0.0),
    answers="`/done <address> id` when the track can be played",
)
def load(request: ServerRequest, deck: int, path: str, start: float) -> None:
    """Load a track onto the deck. Its stems stay aligned to the sample."""
    request.track_table.load(request, first_buffer(deck), path, cue=start)


@TABLE.add("/deck/{deck}/unload", answers="`/done <address>` when its memory is free")
def unload(request: ServerRequest, deck: int) -> None:
    """Stop the deck's track and free its memory."""
    request.track_table.deck_tracks(deck)
    leaving = request.track_table.unload(first_buffer(deck), request.frame)
    request.track_table.when_gone(leaving, request)


@TABLE.add(
    "/deck/{deck}/play",
    Arg("start_at", "f", "seconds after the last /reset", unit="s", low=-1e9, high=1e9,
        default=0.0),
    Arg("loop", "i", "1: loop the track", low=0, high=1, default=0),
    scheduled=True, button=True,
    quantized=True,
)
def play(request: ServerRequest, deck: int, start_at: float, loop: int) -> None:
    """Start the deck's track at its cue point."""
    track = request.track_table.deck_track(deck)
    item = Item(track, request, track.rate, track.gain, bool(loop))
    request.deck_manager.start([item], start_frame(request, start_at))


@TABLE.add("/deck/{deck}/stop", scheduled=True, quantized=True)
def stop(request: ServerRequest, deck: int) -> None:
    """Stop the deck's track."""
    for track in request.track_table.deck_tracks(deck):
        request.deck_manager.stop(track, request)


@TABLE.add(
    "/deck/{deck}/seek",
    Arg("position", "f", "position in the file", unit="s", low=0, high=1e6),
    scheduled=True,
    quantized=True,
)
def seek(request: ServerRequest, deck: int, position: float) -> None:
    """Jump to a position in the track. While the deck is stopped, this moves its cue point."""
    track = open_track(request, deck)
    request.deck_manager.seek(track, frame_in(request, track, position, "position"), request)


@TABLE.add(
    "/deck/{deck}/rate",
    Arg("rate", "f", "playback rate", low=MIN_RATE, high=MAX_RATE),
    scheduled=True,
)
def rate(request: ServerRequest, deck: int, rate: float) -> None:
    """Set the deck's playback rate, which changes tempo and pitch.

    The product of rate and relative tempo (`bpm / base bpm`) must be 0.25 to 4.
    """
    tracks = request.track_table.deck_tracks(deck)
    check_rate(request, rate)
    for track in tracks:
        request.deck_manager.set_rate(track, rate, request)


@TABLE.add("/deck/{deck}/gain", _GAIN, scheduled=True)
def gain(request: ServerRequest, deck: int, gain: float) -> None:
    """Set the gain of the deck's track."""
    for track in request.track_table.deck_tracks(deck):
        request.deck_manager.set_gain(track, gain, request)


@TABLE.add("/deck/{deck}/level", _GAIN, _RAMP, scheduled=True)
def level(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
    """Set the deck's level (post-EQ)."""
    request.deck_manager.ramp(request, deck_level_ramp(deck), gain, seconds)


@TABLE.add(
    "/deck/{deck}/stem",
    Arg("number", "i", "stem, counted from 1", low=1, high=STEMS),
    _GAIN,
    _RAMP,
    scheduled=True,
)
def stem(request: ServerRequest, deck: int, number: int, gain: float, seconds: float) -> None:
    """Set the gain of one stem of the deck's track."""
    for track in stem_tracks(request, deck, number):
        request.deck_manager.set_stem_gain(track, number - 1, gain, request, seconds)


def _stem_address(number: int) -> None:
    @TABLE.add(f"/deck/{{deck}}/stem/{number}", _GAIN, _RAMP, scheduled=True)
    def numbered(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        """Set the gain of this stem of the deck's track."""
        stem(request, deck, number, gain, seconds)


for _number in range(1, STEMS + 1):
    _stem_address(_number)


def _eq_address(band: str) -> Callable[..., Any]:
    def handler(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
        request.deck_manager.ramp(request, band_row(deck, band), gain, seconds)

    handler.__doc__ = f"Set the gain of the {band} band of the deck's EQ; 0 kills it."
    decorated: Callable[..., Any] = TABLE.add(
        f"/deck/{{deck}}/eq/{band}", _GAIN, _RAMP, scheduled=True
    )(handler)
    return decorated


for _band in BANDS:
    _eq_address(_band)


@TABLE.add("/deck/{deck}/keylock", Arg("on", "i", "1: on, 0: off", low=0, high=1), scheduled=True)
def keylock(request: ServerRequest, deck: int, on: int) -> None:
    """Keep the pitch of the deck's present and future tracks constant when the tempo changes.

    In reverse, keylock has no effect: the pitch follows the speed.
    """
    held = request.voice_allocator.held_by(deck, request)
    request.core.pitches.set_keylock(deck, bool(on), request, held)


@TABLE.add(
    "/deck/{deck}/pitch",
    Arg("semitones", "f", "upward pitch shift", unit="semitones", low=-SEMITONES, high=SEMITONES),
    scheduled=True,
)
def pitch(request: ServerRequest, deck: int, semitones: float) -> None:
    """Shift the pitch of the deck's present and future tracks without changing their tempo."""
    held = request.voice_allocator.held_by(deck, request)
    request.core.pitches.set_pitch(deck, semitones, request, held)


@TABLE.add("/mix/level", _GAIN, _RAMP, scheduled=True)
def mix_level(request: ServerRequest, gain: float, seconds: float) -> None:
    """Set the master level (pre-limiter)."""
    request.deck_manager.ramp(request, RAMP_MASTER, gain, seconds)
