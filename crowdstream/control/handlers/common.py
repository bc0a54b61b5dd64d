"""What several commands share."""

from __future__ import annotations

from collections.abc import Iterator

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import BANDS
from crowdstream.control.decks.track import Track
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.desk.ramps import eq_ramp

MAX_GAIN = 4.0  # +12 dB
RATE_TOLERANCE = 1e-6  # a rate comes as a 32-bit float
PATH_HELP = (
    "audio file, or folder of up to 8 stems; `~` is your home, a relative path starts from the "
    "folder that the server was started in"
)

DISCARDS = "`/cancelled <address> <count>` to the senders of what is discarded"


def context_frame(request: ServerRequest) -> int:
    """The frame a command acts at, as a number also when that is "at once"."""
    return request.frame or request.now


def start_frame(request: ServerRequest, start_at: float) -> int:
    """The frame of a `start_at` argument; a bundle's time tag counts where it says "now"."""
    frame = request.core.beats.frame_of_start(start_at, context_frame(request))
    return frame or request.frame


def playable(speed: float) -> bool:
    """Whether the engine can play at `speed`: rate times tempo."""
    return MIN_RATE * (1 - RATE_TOLERANCE) <= speed <= MAX_RATE * (1 + RATE_TOLERANCE)


def check_tempo(request: ServerRequest, bpm: float) -> None:
    """Raises `BadArgument` for a tempo at which something that plays is out of reach."""
    base = request.core.base_bpm
    if not playable(bpm / base):
        raise BadArgument(
            f"bpm: {bpm:g} is {bpm / base:.2f} times the base tempo of {base:g}; "
            f"{MIN_RATE:g} to {MAX_RATE:g} times can be played"
        )
    for name, rate, speed in request.mixer.speeds(bpm, base):
        if not playable(speed):
            raise BadArgument(
                f"bpm: {bpm:g} makes {name}, at rate {rate:g}, {speed:g} times as "
                f"fast; {MIN_RATE:g} to {MAX_RATE:g} times can be played"
            )


def check_rate(request: ServerRequest, rate: float) -> None:
    """Raises `BadArgument` for a rate that the tempo of now puts out of reach."""
    tempo = request.core.beats.bpm / request.core.base_bpm
    if not playable(rate * tempo):
        raise BadArgument(
            f"rate: {rate:g} at {tempo:g} times the base tempo is {rate * tempo:g}; "
            f"{MIN_RATE:g} to {MAX_RATE:g} times can be played"
        )


def band_row(deck: int, band: str) -> int:
    """Row of the ramp of a deck's EQ band."""
    return eq_ramp(deck, BANDS.index(band))


def stem_tracks(request: ServerRequest, deck: int, number: int) -> Iterator[Track]:
    """The deck's tracks that have a stem of this number; raises `BadArgument` if none has."""
    tracks = request.buffers.deck_tracks(deck)
    most = max(len(track.stems) for track in tracks)
    if number > most:
        raise BadArgument(f"number: {number} is no stem, the track has {most}")
    return (track for track in tracks if number <= len(track.stems))
