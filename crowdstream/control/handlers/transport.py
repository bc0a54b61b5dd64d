"""Playhead commands of a deck: hot cues, jumps, slip, reverse, brake and soft start."""

from __future__ import annotations

from functools import partial

from crowdstream.commands.errors import BadArgument, NotLoaded
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.decks.track import Item, Track
from crowdstream.control.handlers.common import (
    cue_here,
    frame_in,
    grid_of,
    keep_cue,
    open_track,
    place,
    playing,
    send,
    start_frame,
)
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.opcodes import OP_JUMP, OP_REVERSE, OP_SLIP, OP_SPIN

HOT_CUES = 8
MAX_SPIN = 60.0  # s
SPIN_SECONDS = 1.0  # default of brake and soft start
MAX_BEATS = 4096.0

_NUMBER = Arg("number", "i", "hot cue", low=1, high=HOT_CUES)
_ON = Arg("on", "i", "1: on, 0: off", low=0, high=1)
_SPIN = Arg("seconds", "f", "duration", unit="s", low=0, high=MAX_SPIN,
            default=SPIN_SECONDS)


@TABLE.add(
    "/deck/{deck}/seek/fraction",
    Arg("fraction", "f", "position, as a fraction of the length", low=0, high=1),
    scheduled=True,
    quantized=True,
)
def seek_fraction(request: ServerRequest, deck: int, fraction: float) -> None:
    """Jump to a position in the track. While the deck is stopped, this moves its cue point."""
    track = open_track(request, deck)
    request.deck_manager.seek(track, min(int(fraction * track.frames), track.frames - 1), request)


@TABLE.add(
    "/deck/{deck}/seek/beat",
    Arg("beat", "f", "beat of the track", unit="beats", low=-MAX_BEATS, high=1e6),
    scheduled=True,
    quantized=True,
)
def seek_beat(request: ServerRequest, deck: int, beat: float) -> None:
    """Jump to a beat of the track's grid. While the deck is stopped, this moves its cue point."""
    track = open_track(request, deck)
    seconds = grid_of(track).frame(beat) / request.core.desk.sample_rate
    request.deck_manager.seek(track, frame_in(request, track, seconds, "beat"), request)


@TABLE.add(
    "/deck/{deck}/jump",
    Arg("beats", "f", "distance; negative: backwards", unit="beats", low=-MAX_BEATS,
        high=MAX_BEATS),
    scheduled=True, button=True,
    quantized=True,
)
def jump(request: ServerRequest, deck: int, beats: float) -> None:
    """Jump by this many beats of the track's grid from the playhead's position."""
    track = playing(request, deck)
    grid = grid_of(track)
    here = place(request, track, request.frame)
    there = grid.frame(grid.beat(here) + beats)
    if not 0 <= there < track.frames:
        raise BadArgument(
            f"beats: {beats:g} would leave the track, which is at beat {grid.beat(here):.1f} of "
            f"{grid.beat(0):.1f} to {grid.beat(track.frames):.1f}"
        )
    request.deck_manager.jump(track, round(there), request, {"op": OP_JUMP, "index": 1, "y": beats})


# Hot cues ------------------------------------------------------------------------------------


@TABLE.add(
    "/deck/{deck}/hotcue/set",
    _NUMBER,
    Arg("seconds", "f", "position in the file; left out: the playhead", unit="s", low=0,
        high=1e6, default=None),
    scheduled=True,
    idempotent=False,
)
def hotcue_set(request: ServerRequest, deck: int, number: int, seconds: float | None) -> None:
    """Set a hot cue of the deck's track.

    Without `seconds`, it is set at the playhead's position at the time the command acts. With a
    quantum (`/deck/{deck}/quantize`) and a beat grid, it snaps to the nearest multiple of that.
    """
    track = open_track(request, deck)
    if seconds is not None:
        keep_cue(request, track, number, frame_in(request, track, seconds, "seconds"))
    elif not request.frame:
        cue_here(request, track, number)
    else:
        request.voice_allocator.mark(
            partial(cue_here, request, track, number), request.frame, request.beat, request,
            state=["cue", request.to_state(), track.number, number],
        )


@TABLE.add("/deck/{deck}/hotcue", _NUMBER, scheduled=True, button=True, quantized=True)
def hotcue(request: ServerRequest, deck: int, number: int) -> None:
    """Jump to a hot cue. While the deck is stopped, this moves its cue point there."""
    track = open_track(request, deck)
    request.deck_manager.seek(track, _cue(track, number), request)


@TABLE.add("/deck/{deck}/hotcue/clear", _NUMBER, button=True)
def hotcue_clear(request: ServerRequest, deck: int, number: int) -> None:
    """Delete a hot cue."""
    track = open_track(request, deck)
    _cue(track, number)
    del track.cues[number]
    request.track_table.pin_positions(track)


def _cue(track: Track, number: int) -> int:
    frame = track.cues.get(number)
    if frame is None:
        address = f"/deck/{DECK_LETTERS[track.deck]}/hotcue/set {number}"
        raise NotLoaded(f"number: hot cue {number} of {track.name} is not set: send {address}")
    return frame


# Slip, reverse, brake, spin ------------------------------------------------------------------


@TABLE.add("/deck/{deck}/slip", _ON, scheduled=True)
def slip(request: ServerRequest, deck: int, on: int) -> None:
    """Switch slip mode on or off.

    With slip on, the track keeps running underneath loops, jumps and reverse. Switching it off
    jumps to the position that the track has reached by then.
    """
    send(request, playing(request, deck), OP_SLIP, index=on)


@TABLE.add("/deck/{deck}/reverse", _ON, scheduled=True, quantized=True)
def reverse(request: ServerRequest, deck: int, on: int) -> None:
    """Play the deck's track backwards, or forwards again."""
    send(request, playing(request, deck), OP_REVERSE, index=on)


@TABLE.add(
    "/deck/{deck}/brake",
    _SPIN,
    Arg("stop", "i", "1: stop the track at standstill, 0: hold it there", low=0, high=1,
        default=1),
    scheduled=True, button=True,
    quantized=True,
)
def brake(request: ServerRequest, deck: int, seconds: float, stop: int) -> None:
    """Slow the deck's track, with its pitch, to a standstill, as a turntable switched off."""
    track = playing(request, deck)
    send(request, track, OP_SPIN, x=0.0, y=_frames(request, seconds), index=stop)


@TABLE.add(
    "/deck/{deck}/softstart", _SPIN, scheduled=True, button=True, quantized=True,
    aliases=("/deck/{deck}/spin",),
)  # fmt: skip
def softstart(request: ServerRequest, deck: int, seconds: float) -> None:
    """Bring the deck's track up to speed from a standstill or brake.

    A stopped track is started.
    """
    track = request.deck_manager.playing(deck)
    if track.voice is not None and (track.sounding or track.pending_starts):
        send(request, track, OP_SPIN, x=1.0, y=_frames(request, seconds))
        return
    item = Item(track, request, track.rate, track.gain, spin_up=seconds)
    request.deck_manager.start([item], start_frame(request, 0.0))


def _frames(request: ServerRequest, seconds: float) -> int:
    return max(1, round(seconds * request.core.desk.sample_rate))
