"""Commands for the beat grid of a deck's track, and for its sync to the clock."""

from __future__ import annotations

import math
from collections.abc import Callable

from crowdstream.audiofile.beatgrid import MAX_ANCHORS, MAX_BPM, MIN_BPM, BeatGrid, GridError
from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.track import Track
from crowdstream.control.handlers.common import grid_of, playable, sync_track, unsync_track
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE

RATIOS = (1.0, 2.0, 0.5)  # of tempo, in order of preference where two are equally near

_BPM = Arg("bpm", "f", "tempo of the track", unit="beats a minute", low=MIN_BPM, high=MAX_BPM)
_BEAT = Arg("beat", "f", "beat of the track; 0 is a downbeat", unit="beats", low=-1e6, high=1e6)
_SECONDS = Arg("seconds", "f", "position of the beat in the file", unit="s", low=0, high=1e6)


def _set(request: ServerRequest, deck: int, make: Callable[[], BeatGrid]) -> None:
    track = request.track_table.deck_track(deck)
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
    request.track_table.set_grid(track, grid)


@TABLE.add(
    "/deck/{deck}/grid",
    _BPM,
    Arg("first_downbeat", "f", "position of the first downbeat", unit="s", low=0, high=1e6,
        default=0.0),
    idempotent=True,
)
def grid(request: ServerRequest, deck: int, bpm: float, first_downbeat: float) -> None:
    """Give the deck's track a beat grid of constant tempo, in place of the grid from its file."""
    _set(request, deck, lambda: BeatGrid.of_tempo(bpm, first_downbeat))


@TABLE.add("/deck/{deck}/grid/point", _BEAT, _SECONDS, idempotent=True)
def point(request: ServerRequest, deck: int, beat: float, seconds: float) -> None:
    """Place a beat of the deck's track; the grid then passes through this point as well.

    With a grid of constant tempo, the first point sets the tempo by its distance from the
    downbeat. A point for the downbeat itself moves the downbeat.
    """
    known = grid_of(request.track_table.deck_track(deck)).seconds
    first, at = known.anchors[0]
    pairs = dict(known.anchors)
    if known.steady:
        pairs = {first: at} if beat != first else {first + 1.0: seconds + 60.0 / known.bpm}
    pairs[beat] = seconds
    _set(request, deck, lambda: BeatGrid.through(list(pairs.items())))


@TABLE.add(
    "/deck/{deck}/grid/points",
    Arg("pairs", "f", "alternately beat and second, at least two pairs", low=-1e6, high=1e6,
        rest=True, max_count=2 * MAX_ANCHORS),
    idempotent=True,
)
def points(request: ServerRequest, deck: int, pairs: tuple[float, ...]) -> None:
    """Give the deck's track a beat grid of varying tempo, linear between these points."""
    if len(pairs) % 2:
        raise BadArgument(f"pairs: {len(pairs)} is odd; send pairs of beat and second")
    anchors = list(zip(pairs[::2], pairs[1::2], strict=True))
    _set(request, deck, lambda: BeatGrid.through(anchors))


@TABLE.add(
    "/deck/{deck}/grid/confidence",
    Arg("confidence", "f", "confidence; below 0.6 the grid is shown as uncertain", low=0,
        high=1),
    idempotent=True,
)
def confidence(request: ServerRequest, deck: int, confidence: float) -> None:
    """Set the confidence of the beat grid of the deck's track. The beats do not move."""
    track = request.track_table.deck_track(deck)
    track.grid = grid_of(track).trusted(confidence)


@TABLE.add("/deck/{deck}/grid/clear")
def clear(request: ServerRequest, deck: int) -> None:
    """Remove the beat grid of the deck's track. Sync ends."""
    track = request.track_table.deck_track(deck)
    unsync_track(request, track)
    request.track_table.set_grid(track, None)


# Sync ----------------------------------------------------------------------------------------


def _check_speed(request: ServerRequest, track: Track, grid: Grid, ratio: float) -> None:
    bpm = request.core.beat_clock.bpm
    speed = bpm * ratio / grid.bpm
    if not playable(speed):
        raise BadArgument(
            f"{track.name} has {grid.bpm:.2f} beats a minute: at {bpm:g}, with a sync ratio of "
            f"{ratio:g}, it would play {speed:.2f} times as fast; the range is {MIN_RATE:g} to "
            f"{MAX_RATE:g} times"
        )


def _resolved(request: ServerRequest, track: Track) -> float:
    # Choose between single, double and half tempo by the distance to the track's own tempo.
    grid = grid_of(track)
    bpm = request.core.beat_clock.bpm
    ratio = track.ratio_asked or min(RATIOS, key=lambda r: abs(math.log(bpm * r / grid.bpm)))
    _check_speed(request, track, grid, ratio)
    return ratio


@TABLE.add(
    "/deck/{deck}/sync",
    Arg("on", "i", "1: on, 0: off", low=0, high=1),
    Arg("quantum", "f", "alignment of the track's beats with the clock's, modulo this number; "
        "1: beats, 4: bars of 4 beats",
        unit="beats", low=0.25, high=64, default=1.0),
    scheduled=True,
)
def sync(request: ServerRequest, deck: int, on: int, quantum: float) -> None:
    """Derive the playhead of the deck's track from the clock, through its beat grid.

    The track's beats then coincide with the clock's to the frame, also during tempo ramps, loops
    and jumps. If half or double the track's tempo is nearer to the clock's, that is used.
    """
    track = request.deck_manager.playing(deck)
    if on:
        sync_track(request, track, _resolved(request, track), quantum)
    else:
        unsync_track(request, track)


@TABLE.add(
    "/deck/{deck}/sync/ratio",
    Arg("ratio", "f", "0.5: half, 2: double tempo; 0: the nearest to the track's own", low=0.25,
        high=4, or_zero=True),
    scheduled=True,
)
def ratio(request: ServerRequest, deck: int, ratio: float) -> None:
    """Set the number of its own beats that a synced track plays per beat of the clock."""
    track = request.deck_manager.playing(deck)
    previous, track.ratio_asked = track.ratio_asked, ratio
    try:
        if track.ratio:
            sync_track(request, track, _resolved(request, track), track.quantum)
    except BadArgument:
        track.ratio_asked = previous
        raise
