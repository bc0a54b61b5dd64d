"""Playheads: which track of a deck a command is about, where it is, and telling its voice."""

from __future__ import annotations

from typing import Any

from crowdstream.commands.errors import BadArgument, NoGrid, NotPlaying, Refused
from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.track import Due, Track
from crowdstream.control.handlers.server_request import ServerRequest


def open_track(request: ServerRequest, deck: int) -> Track:
    """The deck's track that plays, else its latest; its length is known.

    Raises `NotLoaded`, or `Refused` while it is being opened.
    """
    track = request.mixer.playing(deck)
    if not track.frames:
        raise Refused(f"{track.name} is not open yet: wait for /done")
    return track


def playing(request: ServerRequest, deck: int) -> Track:
    """The deck's track, which plays or is about to. Raises `NotLoaded`, `NotPlaying`."""
    track = open_track(request, deck)
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


def frame_in(request: ServerRequest, track: Track, seconds: float, name: str) -> int:
    """The file frame of a place in seconds. Raises `BadArgument` outside of the track."""
    rate = request.core.desk.sample_rate
    frame = round(seconds * rate)
    if frame < 0:
        raise BadArgument(f"{name}: {seconds:g} s is before the beginning of the track")
    if frame >= track.frames:
        length = track.frames / rate
        raise BadArgument(f"{name}: {seconds:g} s is past the end of the track, {length:.3f} s")
    return frame


def place(request: ServerRequest, track: Track, frame: int = 0) -> int:
    """The file frame under the playhead when `frame` is rendered (0: the next block).

    For a frame ahead or behind, as if it went on steadily as it does now; a track that is
    silent stands at its cue.
    """
    desk = request.core.desk
    if not track.sounding or track.voice is None:
        return track.cue_frame
    voice = desk.voices[track.voice]
    core = request.core
    speed = core.beats.bpm_at(desk.frame) * track.speed_per_bpm(track.rate, core.base_bpm)
    passed = (frame - desk.frame if frame else 0) * speed * int(voice["direction"])
    return min(max(0, round(int(voice["position"]) + passed)), track.frames - 1)


def keep_cue(request: ServerRequest, track: Track, number: int, frame: int) -> None:
    """Set a hot cue of a track."""
    track.cues[number] = frame
    request.buffers.pin_positions(track)


def cue_here(request: ServerRequest, track: Track, number: int) -> None:
    """Set a hot cue where the playhead is when the command acts.

    With a quantum and a beat grid it is the nearest such beat.
    """
    frame, beats = request.frame, request.core.beats
    if request.beat is not None:
        frame = beats.frame_passed(request.beat, request.core.desk.frame)
    here = place(request, track, frame)
    quantum = request.core.quantize.beats(track.deck, beats.meter)
    if quantum and track.grid is not None:
        beat = round(track.grid.beat(here) / quantum) * quantum
        here = min(max(0, round(track.grid.frame(beat))), track.frames - 1)
    keep_cue(request, track, number, here)


def send(request: ServerRequest, track: Track, op: int, **fields: Any) -> None:
    """Tell the voice of a track something that is to happen when the command acts."""
    assert track.voice is not None
    request.core.outbox.add(op, request, frame=request.frame, target=track.voice, **fields)


def dues(request: ServerRequest, track: Track) -> list[Due]:
    """When the command acts, and when starts come that the engine has for later."""
    return [
        Due(request.frame, request.beat), *request.voices.later_starts(track, request.frame)
    ]


def sync_track(request: ServerRequest, track: Track, ratio: float, quantum: float) -> None:
    """Sync a track to the clock at `ratio` beats of its own per beat of the clock."""
    track.ratio, track.quantum = ratio, quantum
    if track.voice is not None:
        for due in dues(request, track):
            request.mixer.send_sync(request, track, due)


def unsync_track(request: ServerRequest, track: Track) -> None:
    """Let a track run freely. The engine keeps its speed: nobody hears when that happens."""
    if not track.ratio or track.grid is None:
        return
    track.rate = track.speed_per_bpm(track.rate, request.core.base_bpm) * request.core.base_bpm
    track.ratio = 0.0
    if track.voice is None:
        return
    for due in dues(request, track):
        request.mixer.send_sync(request, track, due)
