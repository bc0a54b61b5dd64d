"""Commands of the beat grid of a deck's track, and of its being synced to the clock."""

from __future__ import annotations

import math
from collections.abc import Callable

from crowdstream.audiofile.beatgrid import MAX_ANCHORS, MAX_BPM, MIN_BPM, BeatGrid, GridError
from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.track import Track
from crowdstream.control.handlers.common import playable
from crowdstream.control.handlers.deck_ops import grid_of, sync_track, unsync_track
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE

RATIOS = (1.0, 2.0, 0.5)  # of tempo; the first of two that are as near

_BPM = Arg("bpm", "f", "its tempo", unit="beats a minute", low=MIN_BPM, high=MAX_BPM)
_BEAT = Arg("beat", "f", "beat of the track; 0 is a downbeat", unit="beats", low=-1e6, high=1e6)
_SECONDS = Arg("seconds", "f", "where that is in the file", unit="s", low=0, high=1e6)


def _set(request: ServerRequest, deck: int, make: Callable[[], BeatGrid]) -> None:
    track = request.buffers.deck_track(deck)
    rate = request.core.desk.sample_rate
    try:
        made = make()
    except GridError as error:
        raise BadArgument(str(error)) from None
    first = made.anchors[0][1]
    if track.frames and first * rate >= track.frames:
        length = track.frames / rate
        raise BadArgument(f"beat 0 at {first:g} s is past the end of the track, {length:.3f} s")
    grid = Grid(made, rate, "command")
    if track.ratio:
        _check_speed(request, track, grid, track.ratio)
    request.buffers.give_grid(track, grid)


@TABLE.add(
    "/deck/{deck}/grid",
    _BPM,
    Arg("first_downbeat", "f", "where its first downbeat is", unit="s", low=0, high=1e6,
        default=0.0),
)
def grid(request: ServerRequest, deck: int, bpm: float, first_downbeat: float) -> None:
    """Give the deck's track a steady beat grid, in place of what its file says."""
    _set(request, deck, lambda: BeatGrid.of_tempo(bpm, first_downbeat))


@TABLE.add("/deck/{deck}/grid/point", _BEAT, _SECONDS)
def point(request: ServerRequest, deck: int, beat: float, seconds: float) -> None:
    """Say where a beat of the deck's track is: its grid then goes through there, too.

    With a steady grid, the first point says the tempo, by the distance from its downbeat, or
    moves that.
    """
    known = grid_of(request.buffers.deck_track(deck)).seconds
    first, at = known.anchors[0]
    pairs = dict(known.anchors)
    if known.steady:
        pairs = {first: at} if beat != first else {first + 1.0: seconds + 60.0 / known.bpm}
    pairs[beat] = seconds
    _set(request, deck, lambda: BeatGrid.through(list(pairs.items())))


@TABLE.add(
    "/deck/{deck}/grid/points",
    Arg("pairs", "f", "beat and second by turns, two pairs at least", low=-1e6, high=1e6,
        rest=True, max_count=2 * MAX_ANCHORS),
)
def points(request: ServerRequest, deck: int, pairs: tuple[float, ...]) -> None:
    """Give the deck's track a beat grid whose tempo moves: linear between these points."""
    if len(pairs) % 2:
        raise BadArgument(f"pairs: {len(pairs)} numbers are no pairs of beat and second")
    anchors = list(zip(pairs[::2], pairs[1::2], strict=True))
    _set(request, deck, lambda: BeatGrid.through(anchors))


@TABLE.add(
    "/deck/{deck}/grid/confidence",
    Arg("confidence", "f", "how far it can be trusted; below 0.6 it is shown as uncertain", low=0,
        high=1),
)
def confidence(request: ServerRequest, deck: int, confidence: float) -> None:
    """State how far the beat grid of the deck's track can be trusted; its beats stay."""
    track = request.buffers.deck_track(deck)
    track.grid = grid_of(track).trusted(confidence)


@TABLE.add("/deck/{deck}/grid/clear")
def clear(request: ServerRequest, deck: int) -> None:
    """Take the beat grid away from the deck's track; it is not synced any more."""
    track = request.buffers.deck_track(deck)
    unsync_track(request, track)
    request.buffers.give_grid(track, None)


# Sync ----------------------------------------------------------------------------------------


def _check_speed(request: ServerRequest, track: Track, grid: Grid, ratio: float) -> None:
    bpm = request.core.beats.bpm
    speed = bpm * ratio / grid.bpm
    if not playable(speed):
        raise BadArgument(
            f"{track.name} has {grid.bpm:.2f} beats a minute: at {bpm:g} and {ratio:g} of its "
            f"beats a beat it is {speed:.2f} times as fast; {MIN_RATE:g} to {MAX_RATE:g} times "
            "can be played"
        )


def _resolved(request: ServerRequest, track: Track) -> float:
    # Half and double tempo: what is nearest to how fast the track itself is.
    grid = grid_of(track)
    bpm = request.core.beats.bpm
    ratio = track.ratio_asked or min(RATIOS, key=lambda r: abs(math.log(bpm * r / grid.bpm)))
    _check_speed(request, track, grid, ratio)
    return ratio


@TABLE.add(
    "/deck/{deck}/sync",
    Arg("on", "i", "1: on", low=0, high=1),
    Arg("quantum", "f", "its beats meet the clock's modulo this many: 1 beats, 4 bars of 4",
        unit="beats", low=0.25, high=64, default=1.0),
    scheduled=True,
)
def sync(request: ServerRequest, deck: int, on: int, quantum: float) -> None:
    """Derive the playhead of the deck's track from the clock, through its beat grid.

    Its beats then are the clock's, to the frame, through ramps of the tempo, loops and jumps.
    Where the tempo is nearer to half or twice its own, it plays at that.
    """
    track = request.mixer.playing(deck)
    if on:
        sync_track(request, track, _resolved(request, track), quantum)
    else:
        unsync_track(request, track)


@TABLE.add(
    "/deck/{deck}/sync/ratio",
    Arg("ratio", "f", "0.5 half, 2 double tempo; 0: what is nearest to its own", low=0.25, high=4,
        or_zero=True),
    scheduled=True,
)
def ratio(request: ServerRequest, deck: int, ratio: float) -> None:
    """Set how many of its beats the deck's track plays in one beat of the clock when synced."""
    track = request.mixer.playing(deck)
    asked, track.ratio_asked = track.ratio_asked, ratio
    try:
        if track.ratio:
            sync_track(request, track, _resolved(request, track), track.quantum)
    except BadArgument:
        track.ratio_asked = asked
        raise
