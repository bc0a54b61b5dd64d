"""Arguments, limits and checks that several handler modules share."""

from __future__ import annotations

from collections.abc import Iterator

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import BANDS
from crowdstream.control.decks.track import Track
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.desk.ramps import eq_ramp

MAX_GAIN = 4.0  # +12 dB
RATE_TOLERANCE = 1e-6  # rates arrive as 32-bit floats
PATH_HELP = (
    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative path starts at "
    "the folder in which the server was started"
)

DISCARDS = "`/cancelled <address> <count>` to the senders of the discarded commands"


def context_frame(request: ServerRequest) -> int:
    """Return the frame at which a command acts; for an immediate command, the current frame."""
    return request.frame or request.now


def start_frame(request: ServerRequest, start_at: float) -> int:
    """Convert a `start_at` argument in seconds to a frame.

    Where the argument means "now", the frame of the bundle's time tag is used (0: immediately).
    """
    frame = request.core.beat_clock.frame_of_start(start_at, context_frame(request))
    return frame or request.frame


def playable(speed: float) -> bool:
    """Whether the engine can play at `speed`, the product of rate and relative tempo."""
    return MIN_RATE * (1 - RATE_TOLERANCE) <= speed <= MAX_RATE * (1 + RATE_TOLERANCE)


def check_tempo(request: ServerRequest, bpm: float) -> None:
    """Raise `BadArgument` for a tempo that puts a playing track's speed out of range."""
    base = request.core.base_bpm
    if not playable(bpm / base):
        raise BadArgument(
            f"bpm: {bpm:g} is {bpm / base:.2f} times the base tempo of {base:g}; "
            f"the range is {MIN_RATE:g} to {MAX_RATE:g} times"
        )
    for name, rate, speed in request.deck_manager.speeds(bpm, base):
        if not playable(speed):
            raise BadArgument(
                f"bpm: {bpm:g} would play {name}, at rate {rate:g}, {speed:g} times as "
                f"fast; the range is {MIN_RATE:g} to {MAX_RATE:g} times"
            )


def check_rate(request: ServerRequest, rate: float) -> None:
    """Raise `BadArgument` for a rate that is out of range at the current tempo."""
    tempo = request.core.beat_clock.bpm / request.core.base_bpm
    if not playable(rate * tempo):
        raise BadArgument(
            f"rate: {rate:g} at {tempo:g} times the base tempo is {rate * tempo:g}; "
            f"the range is {MIN_RATE:g} to {MAX_RATE:g} times"
        )


def band_row(deck: int, band: str) -> int:
    """Return the ramp row of a deck's EQ band."""
    return eq_ramp(deck, BANDS.index(band))


def stem_tracks(request: ServerRequest, deck: int, number: int) -> Iterator[Track]:
    """Yield the deck's tracks that have this stem; `number` counts from 1.

    Raises `BadArgument` if no track of the deck has it.
    """
    tracks = request.track_table.deck_tracks(deck)
    available = max(len(track.stems) for track in tracks)
    if number > available:
        raise BadArgument(f"number: there is no stem {number}, the track has {available}")
    return (track for track in tracks if number <= len(track.stems))
