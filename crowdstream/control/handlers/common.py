"""Arguments, limits and checks that several handler modules share.

Playhead helpers: find a deck's track and position, and send operations to its voice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crowdstream.commands.errors import BadArgument, NoGrid, NotPlaying, Refused
from crowdstream.commands.registry import BANDS, DECK_LETTERS, Arg
from crowdstream.control.clock.clock import MAX_QUANTUM_BEATS, MIN_QUANTUM_BEATS, WORDS
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.track import Due, Track
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.desk.ramps import eq_ramp

MAX_GAIN = 4.0  # +12 dB
RATE_TOLERANCE = 1e-6  # rates arrive as 32-bit floats
PATH_HELP = (
    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative path starts at "
    "the folder in which the server was started"
)

QUANTUM = Arg(
    "beats",
    "f",
    f"{MIN_QUANTUM_BEATS:g} to {MAX_QUANTUM_BEATS:g} beats, or 0: immediately; "
    "or `bar`, or `phrase` (8 bars)",
    low=MIN_QUANTUM_BEATS,
    high=MAX_QUANTUM_BEATS,
    words=WORDS,
    or_zero=True,
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


def open_track(request: ServerRequest, deck: int) -> Track:
    """Return the deck's playing track, or else its latest, with a known length.

    Raises `NotLoaded`, or `Refused` while the file is being opened.
    """
    track = request.deck_manager.playing(deck)
    if not track.frames:
        raise Refused(f"{track.name} is still being opened: wait for /done")
    return track


def playing(request: ServerRequest, deck: int) -> Track:
    """Return the deck's track if it plays or is about to; raise `NotLoaded` or `NotPlaying`."""
    track = open_track(request, deck)
    if track.voice is None or not (track.sounding or track.pending_starts):
        raise NotPlaying(f"deck {DECK_LETTERS[deck]} is not playing: start it first")
    return track


def grid_of(track: Track) -> Grid:
    """Return a track's beat grid; raise `NoGrid`, whose message names the remedies."""
    if track.grid is None:
        address = f"/deck/{DECK_LETTERS[track.deck]}/grid"
        raise NoGrid(
            f"{track.name} has no beat grid: send {address} with its bpm and first downbeat, or "
            "put a .crowdstream.toml beside the file"
        )
    return track.grid


def frame_in(request: ServerRequest, track: Track, seconds: float, name: str) -> int:
    """Convert a position in seconds to a file frame.

    Raises `BadArgument`, beginning with the argument's `name`, for a position outside the track.
    """
    rate = request.core.desk.sample_rate
    frame = round(seconds * rate)
    if frame < 0:
        raise BadArgument(f"{name}: {seconds:g} s is before the beginning of the track")
    if frame >= track.frames:
        length = track.frames / rate
        raise BadArgument(f"{name}: {seconds:g} s is past the end of the track, {length:.3f} s")
    return frame


def place(request: ServerRequest, track: Track, frame: int = 0) -> int:
    """Return the file frame under the playhead when `frame` is rendered (0: the next block).

    The position is extrapolated from the current speed and direction. A silent track is at its
    cue point. If `frame` had passed when the command arrived, the position is that of its arrival,
    because a late command acts at once.
    """
    desk = request.core.desk
    if frame:
        frame = max(frame, request.now - int(desk.header["block_frames"]))
    if not track.sounding or track.voice is None:
        return track.cue_frame
    voice = desk.voices[track.voice]
    core = request.core
    speed = core.beat_clock.bpm_at(desk.frame) * track.speed_per_bpm(track.rate, core.base_bpm)
    passed = (frame - desk.frame if frame else 0) * speed * int(voice["direction"])
    return min(max(0, round(int(voice["position"]) + passed)), track.frames - 1)


def keep_cue(request: ServerRequest, track: Track, number: int, frame: int) -> None:
    """Set a hot cue of a track at a file frame."""
    track.cues[number] = frame
    request.track_table.pin_positions(track)


def cue_here(request: ServerRequest, track: Track, number: int) -> None:
    """Set a hot cue at the playhead's position at the time the command acts.

    With a quantum and a beat grid, it snaps to the nearest multiple of the quantum.
    """
    frame, beats = request.frame, request.core.beat_clock
    if request.beat is not None:
        frame = beats.frame_passed(request.beat, request.core.desk.frame)
    here = place(request, track, frame)
    quantum = request.core.quantize.beats(track.deck, beats.meter)
    if quantum and track.grid is not None:
        beat = round(track.grid.beat(here) / quantum) * quantum
        here = min(max(0, round(track.grid.frame(beat))), track.frames - 1)
    keep_cue(request, track, number, here)


def send(request: ServerRequest, track: Track, op: int, **fields: Any) -> None:
    """Queue an operation for a track's voice, at the frame at which the command acts."""
    assert track.voice is not None
    request.core.engine_queue.add(op, request, frame=request.frame, target=track.voice, **fields)


def dues(request: ServerRequest, track: Track) -> list[Due]:
    """Return when the command acts, and the later starts of the track that are with the engine."""
    return [
        Due(request.frame, request.beat),
        *request.voice_allocator.later_starts(track, request.frame),
    ]


def sync_track(request: ServerRequest, track: Track, ratio: float, quantum: float) -> None:
    """Sync a track to the clock; it plays `ratio` of its own beats per beat of the clock."""
    track.ratio, track.quantum = ratio, quantum
    if track.voice is not None:
        for due in dues(request, track):
            request.deck_manager.send_sync(request, track, due)


def unsync_track(request: ServerRequest, track: Track) -> None:
    """Release a track from the clock. It keeps its speed, so the change is inaudible."""
    if not track.ratio or track.grid is None:
        return
    track.rate = track.speed_per_bpm(track.rate, request.core.base_bpm) * request.core.base_bpm
    track.ratio = 0.0
    if track.voice is None:
        return
    for due in dues(request, track):
        request.deck_manager.send_sync(request, track, due)
