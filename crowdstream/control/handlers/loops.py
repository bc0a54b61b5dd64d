"""Loop commands of a deck. Loop points are exact to the frame; the engine wraps the playhead."""

from __future__ import annotations

from crowdstream.commands.errors import BadArgument, NotPlaying
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.decks.track import Track
from crowdstream.control.handlers.common import frame_in, grid_of, playing, send
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.opcodes import (
    LOOP_AGAIN,
    LOOP_EXIT,
    LOOP_HERE,
    LOOP_IN,
    LOOP_MOVE,
    LOOP_OUT,
    LOOP_SCALE,
    LOOP_SET,
    OP_LOOP,
)

MIN_BEATS, MAX_BEATS = 1 / 32, 64.0
MIN_SECONDS = 0.001  # a shorter loop is an audible tone, not a repetition

_SNAP = Arg(
    "snap", "f", "snap to the nearest multiple of this many beats of the track; 0: do not snap",
    unit="beats", low=0, high=MAX_BEATS, default=0.0,
)


def _looped(request: ServerRequest, deck: int) -> Track:
    track = playing(request, deck)
    if not track.looped:
        letter = DECK_LETTERS[deck]
        raise NotPlaying(f"deck {letter} has no loop: send /deck/{letter}/loop with its beats")
    return track


@TABLE.add(
    "/deck/{deck}/loop",
    Arg("beats", "f", "length", unit="beats", low=MIN_BEATS, high=MAX_BEATS),
    _SNAP,
    scheduled=True,
    quantized=True,
)
def loop(request: ServerRequest, deck: int, beats: float, snap: float) -> None:
    """Start a loop of this many beats at the playhead."""
    track = playing(request, deck)
    grid_of(track)
    send(request, track, OP_LOOP, index=LOOP_HERE, x=beats, y=snap)
    track.looped = True


@TABLE.add(
    "/deck/{deck}/loop/set",
    Arg("loop_in", "f", "loop start", unit="s", low=0, high=1e6),
    Arg("loop_out", "f", "loop end", unit="s", low=0, high=1e6),
    scheduled=True,
)
def loop_set(request: ServerRequest, deck: int, loop_in: float, loop_out: float) -> None:
    """Set a loop between two positions in the file.

    The track loops as soon as the playhead reaches the loop end.
    """
    track = playing(request, deck)
    rate = request.core.desk.sample_rate
    first = frame_in(request, track, loop_in, "loop_in")
    last = round(loop_out * rate)
    if loop_out - loop_in < MIN_SECONDS:
        raise BadArgument(
            f"loop_out: {loop_out:g} s must be at least {MIN_SECONDS:g} s after "
            f"loop_in, {loop_in:g} s"
        )
    if last > track.frames:
        raise BadArgument(
            f"loop_out: {loop_out:g} s is past the end of the track, {track.frames / rate:.3f} s"
        )
    beats = track.grid.beat(last) - track.grid.beat(first) if track.grid else 0.0
    send(
        request, track, OP_LOOP, index=LOOP_SET, loop_in=first, loop_out=last,
        z=(loop_out - loop_in) * rate, x=beats,
    )
    track.looped = True
    track.loop_in = first
    request.track_table.pin_positions(track)


@TABLE.add("/deck/{deck}/loop/in", _SNAP, scheduled=True, button=True, quantized=True)
def loop_in(request: ServerRequest, deck: int, snap: float) -> None:
    """Set the loop start at the playhead. Looping begins with `loop/out`."""
    track = playing(request, deck)
    if snap:
        grid_of(track)
    send(request, track, OP_LOOP, index=LOOP_IN, y=snap)
    track.loop_begun = True


@TABLE.add("/deck/{deck}/loop/out", _SNAP, scheduled=True, button=True, quantized=True)
def loop_out(request: ServerRequest, deck: int, snap: float) -> None:
    """Set the loop end at the playhead, and loop from the point set with `loop/in`."""
    track = playing(request, deck)
    if not track.loop_begun:
        letter = DECK_LETTERS[deck]
        raise NotPlaying(f"deck {letter} has no loop start: send /deck/{letter}/loop/in first")
    if snap:
        grid_of(track)
    send(request, track, OP_LOOP, index=LOOP_OUT, y=snap)
    track.looped = True


@TABLE.add("/deck/{deck}/loop/halve", scheduled=True)
def halve(request: ServerRequest, deck: int) -> None:
    """Halve the loop's length. The loop start does not move."""
    send(request, _looped(request, deck), OP_LOOP, index=LOOP_SCALE, x=0.5)


@TABLE.add("/deck/{deck}/loop/double", scheduled=True)
def double(request: ServerRequest, deck: int) -> None:
    """Double the loop's length. The loop start does not move."""
    send(request, _looped(request, deck), OP_LOOP, index=LOOP_SCALE, x=2.0)


@TABLE.add(
    "/deck/{deck}/loop/move",
    Arg("beats", "f", "distance; negative: towards the beginning", unit="beats", low=-1024,
        high=1024),
    scheduled=True, button=True,
)
def move(request: ServerRequest, deck: int, beats: float) -> None:
    """Move the loop by this many beats of the track's grid, together with the playhead in it."""
    track = _looped(request, deck)
    grid_of(track)
    send(request, track, OP_LOOP, index=LOOP_MOVE, x=beats)


@TABLE.add("/deck/{deck}/loop/exit", scheduled=True, quantized=True)
def exit_(request: ServerRequest, deck: int) -> None:
    """Leave the loop: play past its end."""
    send(request, _looped(request, deck), OP_LOOP, index=LOOP_EXIT)


@TABLE.add(
    "/deck/{deck}/loop/reloop", scheduled=True, quantized=True,
    aliases=("/deck/{deck}/loop/again",),
)  # fmt: skip
def reloop(request: ServerRequest, deck: int) -> None:
    """Re-enter the loop that was left last."""
    send(request, _looped(request, deck), OP_LOOP, index=LOOP_AGAIN)
