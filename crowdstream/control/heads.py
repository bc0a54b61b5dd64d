"""Playheads: which track of a deck a command is about, where it is, and telling its voice."""

from __future__ import annotations

from typing import Any

from crowdstream.control.errors import BadArgument, NoGrid, NotPlaying, Refused
from crowdstream.control.grids import Grid
from crowdstream.control.server_request import ServerRequest
from crowdstream.control.table import DECK_LETTERS
from crowdstream.control.tracks import Due, Track


def open_track(context: ServerRequest, deck: int) -> Track:
    """The deck's track that plays, else its latest; its length is known.

    Raises `NotLoaded`, or `Refused` while it is being opened.
    """
    track = context.mixer.playing(deck)
    if not track.frames:
        raise Refused(f"{track.name} is not open yet: wait for /done")
    return track


def playing(context: ServerRequest, deck: int) -> Track:
    """The deck's track, which plays or is about to. Raises `NotLoaded`, `NotPlaying`."""
    track = open_track(context, deck)
    if track.voice is None or not (track.sounding or track.coming):
        raise NotPlaying(f"deck {DECK_LETTERS[deck]} does not play: start it first")
    return track


def grid_of(track: Track) -> Grid:
    """Its beat grid. Raises `NoGrid`, with what to do."""
    if track.grid is None:
        address = f"/deck/{DECK_LETTERS[track.deck]}/grid"
        raise NoGrid(
            f"{track.name} has no beat grid: say {address} with its bpm and first downbeat, or "
            "put a .crowdstream.toml beside it"
        )
    return track.grid


def frame_in(context: ServerRequest, track: Track, seconds: float, name: str) -> int:
    """The file frame of a place in seconds. Raises `BadArgument` outside of the track."""
    rate = context.core.desk.sample_rate
    frame = round(seconds * rate)
    if frame < 0:
        raise BadArgument(f"{name}: {seconds:g} s is before the beginning of the track")
    if frame >= track.frames:
        length = track.frames / rate
        raise BadArgument(f"{name}: {seconds:g} s is past the end of the track, {length:.3f} s")
    return frame


def place(context: ServerRequest, track: Track, frame: int = 0) -> int:
    """The file frame under the playhead when `frame` is rendered (0: the next block).

    For a frame ahead or behind, as if it went on steadily as it does now; a track that is
    silent stands at its cue.
    """
    desk = context.core.desk
    if not track.sounding or track.voice is None:
        return track.cue_frame
    voice = desk.voices[track.voice]
    core = context.core
    speed = core.beats.bpm_at(desk.frame) * track.speed_per_bpm(track.rate, core.base_bpm)
    passed = (frame - desk.frame if frame else 0) * speed * int(voice["direction"])
    return min(max(0, round(int(voice["position"]) + passed)), track.frames - 1)


def keep_cue(context: ServerRequest, track: Track, number: int, frame: int) -> None:
    """Set a hot cue of a track."""
    track.cues[number] = frame
    context.buffers.keep_places(track)


def cue_here(context: ServerRequest, track: Track, number: int) -> None:
    """Set a hot cue where the playhead is when the command acts.

    With a quantum and a beat grid it is the nearest such beat.
    """
    frame, beats = context.frame, context.core.beats
    if context.beat is not None:
        frame = beats.frame_passed(context.beat, context.core.desk.frame)
    here = place(context, track, frame)
    quantum = context.core.quantize.beats(track.deck, beats.meter)
    if quantum and track.grid is not None:
        beat = round(track.grid.beat(here) / quantum) * quantum
        here = min(max(0, round(track.grid.frame(beat))), track.frames - 1)
    keep_cue(context, track, number, here)


def send(context: ServerRequest, track: Track, op: int, **fields: Any) -> None:
    """Tell the voice of a track something that is to happen when the command acts."""
    assert track.voice is not None
    context.core.outbox.add(op, context, frame=context.frame, target=track.voice, **fields)


def dues(context: ServerRequest, track: Track) -> list[Due]:
    """When the command acts, and when starts come that the engine has for later."""
    return [
        Due(context.frame, context.beat), *context.voices.later_starts(track, context.frame)
    ]


def sync_track(context: ServerRequest, track: Track, ratio: float, quantum: float) -> None:
    """Sync a track to the clock at `ratio` beats of its own per beat of the clock."""
    track.ratio, track.quantum = ratio, quantum
    if track.voice is not None:
        for due in dues(context, track):
            context.mixer.send_sync(context, track, due)


def unsync_track(context: ServerRequest, track: Track) -> None:
    """Let a track run freely. The engine keeps its speed: nobody hears when that happens."""
    if not track.ratio or track.grid is None:
        return
    track.rate = track.speed_per_bpm(track.rate, context.core.base_bpm) * context.core.base_bpm
    track.ratio = 0.0
    if track.voice is None:
        return
    for due in dues(context, track):
        context.mixer.send_sync(context, track, due)
