"""The OSC vocabulary of existing sequencers. Addresses and arguments must not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import BANDS, TABLE, Arg, deck_arg, deck_number
from crowdstream.control.decks.track import Item, deck_of, first_buffer, is_deck_buffer
from crowdstream.control.handlers.clock import METER, TEMPO, meter
from crowdstream.control.handlers.common import (
    DISCARDS,
    MAX_GAIN,
    PATH_HELP,
    band_row,
    check_rate,
    check_tempo,
    start_frame,
)
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.desk.opcodes import OP_TONE
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.logs.throttle import print_line

FLAT_PERCENT = 50.0
KILL_RANGE_DB = 24.0  # from just above killed to flat
TONE_GAIN = 0.1  # -20 dB: audible, and safe for ears and loudspeakers
MAX_FADE = 3600.0

_BUFFER = Arg(
    "id", "i", "buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
    low=100, high=4099,
)
_VOLUME = Arg("volume", "f", "linear gain", low=0, high=MAX_GAIN, default=0.8)
_START_AT = Arg(
    "start_at", "f", "seconds after the last /reset", unit="s", low=-1e9, high=1e9, default=0.0
)
_PLAY = (
    _BUFFER,
    Arg("rate", "f", "playback rate", low=MIN_RATE, high=MAX_RATE, default=1.0),
    _VOLUME,
    Arg("loop", "i", "1: loop", low=0, high=1, default=1),
    Arg("start", "f", "start position, as a fraction of the length", low=0, high=1, default=0.0),
)
_BAND = Arg("band", "s", "EQ band", choices=BANDS)


def _percent(name: str) -> Arg:
    return Arg(name, "f", "50 and above: flat, 0: killed", unit="percent", low=0, high=100)


def _level(name: str, **options: Any) -> Arg:
    return Arg(name, "f", "linear level", low=0, high=MAX_GAIN, **options)


def _reading(help: str) -> Arg:
    return Arg("value", "f", help, default=0.0)


def percent_gain(percent: float) -> float:
    """Convert an EQ percentage to a linear gain.

    50 and above is 1, 0 is 0; in between the gain is linear in dB, from -24 dB to 0 dB.
    """
    if percent <= 0:
        return 0.0
    decibels = min(0.0, (percent / FLAT_PERCENT - 1.0) * KILL_RANGE_DB)
    return float(10.0 ** (decibels / 20.0))


@TABLE.add(
    "/load_buffer",
    _BUFFER,
    Arg("path", "s", PATH_HELP),
    Arg("name", "s", "name to show; default: the file's name", default=""),
    answers="`/done /load_buffer id` when the buffer can be played",
)
def load_buffer(request: ServerRequest, id: int, path: str, name: str) -> None:
    """Load a file into a buffer. A track already in the buffer is stopped and replaced."""
    deck_of(id)
    request.track_table.load(request, id, path, name)


@TABLE.add("/play_stem", *_PLAY, scheduled=True, idempotent=False)
def play_stem(
    request: ServerRequest, id: int, rate: float, volume: float, loop: int, start: float
) -> None:
    """Play a buffer from a fraction of its length. A buffer that is playing is restarted."""
    track = request.track_table.find(id)
    check_rate(request, rate)
    item = Item(track, request, rate, volume, bool(loop), start)
    request.deck_manager.start([item], request.frame)


@TABLE.add(
    "/play_stem_section",
    *_PLAY,
    Arg("seconds", "f", "length of the section, in the file's time", unit="s", low=0.001,
        high=1e6, default=4.0),
    scheduled=True,
    idempotent=False,
)
def play_stem_section(
    request: ServerRequest,
    id: int,
    rate: float,
    volume: float,
    loop: int,
    start: float,
    seconds: float,
) -> None:
    """Play a section of a buffer; with loop 1 the section loops."""
    track = request.track_table.find(id)
    check_rate(request, rate)
    item = Item(track, request, rate, volume, bool(loop), start, seconds)
    request.deck_manager.start([item], request.frame)


@TABLE.add("/stop_stem", _BUFFER, scheduled=True)
def stop_stem(request: ServerRequest, id: int) -> None:
    """Stop a buffer."""
    for track in request.track_table.all_of(id):
        request.deck_manager.stop(track, request)


@TABLE.add(
    "/stem_volume",
    _BUFFER,
    Arg("volume", "f", "linear gain", low=0, high=MAX_GAIN),
    scheduled=True,
)
def stem_volume(request: ServerRequest, id: int, volume: float) -> None:
    """Set the gain of a buffer."""
    for track in request.track_table.all_of(id):
        request.deck_manager.set_gain(track, volume, request)


@TABLE.add(
    "/cue",
    deck_arg(),
    Arg("path", "s", PATH_HELP),
    Arg("start", "f", "cue point, as a fraction of the length", low=0, high=1, default=0.0),
    answers="`/done /cue id` when the track can be started",
)
def cue(request: ServerRequest, deck: str, path: str, start: float) -> None:
    """Load and arm the deck's first buffer (100 of deck A, 1100 of B, 2100 of C, 3100 of D).

    This does not start it.
    """
    request.track_table.load(request, first_buffer(deck_number(deck)), path, cue=start)


def time_first(values: Sequence[Any]) -> Sequence[Any]:
    """Reorder the arguments of a group start so that its number comes first."""
    numbers = [value for value in values if not isinstance(value, str)]
    words = [value for value in values if isinstance(value, str)]
    if len(numbers) > 1:
        raise BadArgument("start_at: more than one number")
    return [*(numbers or [0.0]), *words]


@TABLE.add(
    "/start_group",
    _START_AT,
    deck_arg("decks", rest=True),
    reorder=time_first,
    scheduled=True,
    idempotent=False,
)
def start_group(request: ServerRequest, start_at: float, decks: tuple[str, ...]) -> None:
    """Start armed decks together, on the same frame. The number may also come last."""
    tracks = [request.track_table.deck_track(deck_number(deck)) for deck in dict.fromkeys(decks)]
    items = [Item(track, request, track.rate, track.gain) for track in tracks]
    request.deck_manager.start(items, start_frame(request, start_at))


@TABLE.add(
    "/play",
    deck_arg(),
    Arg("path", "s", PATH_HELP),
    _START_AT,
    answers="`/done /play id` when the file is loaded",
)
def play(request: ServerRequest, deck: str, path: str, start_at: float) -> None:
    """Load a file into the deck's first buffer, then start it at that time."""
    frame = start_frame(request, start_at)
    track = request.track_table.load(request, first_buffer(deck_number(deck)), path)
    request.deck_manager.start([Item(track, request)], frame)


@TABLE.add(
    "/fade",
    deck_arg(),
    _START_AT,
    Arg("seconds", "f", "length of the fade", unit="s", low=0, high=MAX_FADE, default=2.0),
    scheduled=True,
    idempotent=False,
)
def fade(request: ServerRequest, deck: str, start_at: float, seconds: float) -> None:
    """Ramp the deck's level to 0 from its value at that time."""
    frame = start_frame(request, start_at)
    request.deck_manager.ramp(request, deck_level_ramp(deck_number(deck)), 0.0, seconds, frame)


@TABLE.add("/crossfade_levels", _level("a"), _level("b"), scheduled=True)
def crossfade_levels(request: ServerRequest, a: float, b: float) -> None:
    """Set the levels of decks A and B."""
    _set_levels(request, (a, b))


@TABLE.add(
    "/deck_levels",
    _level("a"),
    _level("b", default=None),
    _level("c", default=None),
    _level("d", default=None),
    scheduled=True,
)
def deck_levels(
    request: ServerRequest, a: float, b: float | None, c: float | None, d: float | None
) -> None:
    """Set the levels of all decks. Levels that are left out stay unchanged."""
    _set_levels(request, (a, b, c, d))


def _set_levels(request: ServerRequest, levels: Sequence[float | None]) -> None:
    for deck, level in enumerate(levels):
        if level is not None:
            request.deck_manager.ramp(request, deck_level_ramp(deck), level)


@TABLE.add(
    "/deck_filter",
    deck_arg(),
    _BAND,
    Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN),
    scheduled=True,
)
def deck_filter(request: ServerRequest, deck: str, band: str, gain: float) -> None:
    """Set the gain of a band of a deck's EQ."""
    request.deck_manager.ramp(request, band_row(deck_number(deck), band), gain)


@TABLE.add("/deck_eq", deck_arg(), _BAND, _percent("percent"), scheduled=True)
def deck_eq(request: ServerRequest, deck: str, band: str, percent: float) -> None:
    """Set a band of a deck's EQ in percent. From 0 to 50 it is linear in dB, from -24 to 0 dB."""
    row = band_row(deck_number(deck), band)
    request.deck_manager.ramp(request, row, percent_gain(percent))


@TABLE.add(
    "/deck_eq_all", deck_arg(), _percent("low"), _percent("mid"), _percent("high"), scheduled=True
)
def deck_eq_all(request: ServerRequest, deck: str, low: float, mid: float, high: float) -> None:
    """Set all three bands of a deck's EQ in percent."""
    for band, percent in zip(BANDS, (low, mid, high), strict=True):
        row = band_row(deck_number(deck), band)
        request.deck_manager.ramp(request, row, percent_gain(percent))


@TABLE.add("/set_tempo", TEMPO, scheduled=True)
def set_tempo(request: ServerRequest, bpm: float) -> None:
    """Set the tempo of the clock. All decks play at `bpm / base bpm` times their rate.

    Refused unless this factor, and the resulting speed of each playing track, is 0.25 to 4.
    """
    check_tempo(request, bpm)
    request.core.set_tempo(request, bpm)
    request.core.follower.rest()


@TABLE.add("/set_meter", METER, control_only=True, idempotent=True)
def set_meter(request: ServerRequest, beats: int) -> None:
    """Set the beats per bar."""
    meter(request, beats)


@TABLE.add("/print_clock", Arg("on", "i", "1: print", low=0, high=1, default=1), control_only=True)
def print_clock(request: ServerRequest, on: int) -> None:
    """Print bar, beat and phase on each beat, starting with the next one."""
    request.core.print_clock(bool(on))


@TABLE.add("/reset", answers=DISCARDS, scheduled=True)
def reset(request: ServerRequest) -> None:
    """Set time zero to now and restart the beat clock. Discard all commands scheduled before."""
    request.core.reset_clock(request)
    request.core.scheduler.discard(request)


@TABLE.add("/schedule_c_at", _START_AT, scheduled=True)
def schedule_c_at(request: ServerRequest, start_at: float) -> None:
    """Start the cued or loaded track of deck C at that time."""
    deck = deck_number("C")
    tracks = request.deck_manager.waiting_tracks(deck) or [request.track_table.deck_track(deck)]
    items = [Item(track, request, track.rate, track.gain) for track in tracks]
    request.deck_manager.start(items, start_frame(request, start_at))


@TABLE.add(
    "/get_status", answers="`/status.reply`, as `/status` does", control_only=True, changes=False
)
def get_status(request: ServerRequest) -> None:
    """Print the status and reply with it."""
    print_line(request.core.status.text())
    request.reply("/status.reply", *request.core.status.values())


@TABLE.add(
    "/test_tone",
    Arg("hertz", "f", "frequency", unit="Hz", low=20, high=20000, default=440.0),
    scheduled=True, button=True,
)
def test_tone(request: ServerRequest, hertz: float) -> None:
    """Play a quiet tone of one second on the master."""
    request.core.engine_queue.add(
        OP_TONE, request, x=hertz, y=TONE_GAIN, start=round(request.core.desk.sample_rate),
        frame=request.frame,
    )


@TABLE.add(
    "/mixer_cleanup",
    answers=f"`/done /mixer_cleanup` when the memory is free, and {DISCARDS}",
)
def mixer_cleanup(request: ServerRequest) -> None:
    """Stop everything, free the decks' buffers and discard all commands scheduled before.

    Sample pads keep their samples.
    """
    buffers = request.track_table
    request.core.scheduler.discard(request)
    request.core.announcer.clear(request)
    request.deck_manager.stop_all(request)
    leaving = [
        track
        for buffer in buffers.loaded_buffers()
        if is_deck_buffer(buffer)
        for track in buffers.unload(buffer, request.frame)
    ]
    buffers.when_gone(leaving, request)


@TABLE.add(
    "/dance/total_movement",
    Arg("movement", "f", "movement of the crowd", low=0, high=1),
    control_only=True,
)
def total_movement(request: ServerRequest, movement: float) -> None:
    """Report the crowd's movement. With a movement map, it drives the tempo."""
    request.core.follower.report(movement, request.core.monotonic())


@TABLE.add("/dance/head_movement", _reading("movement of heads"), control_only=True, changes=False)
@TABLE.add("/dance/arms_movement", _reading("movement of arms"), control_only=True, changes=False)
@TABLE.add("/dance/legs_movement", _reading("movement of legs"), control_only=True, changes=False)
@TABLE.add("/dance/person_count", _reading("number of people"), control_only=True, changes=False)
def other_reading(request: ServerRequest, value: float) -> None:
    """Report another reading of the movement detector.

    It is used only if the movement map names it in `senders`.
    """
