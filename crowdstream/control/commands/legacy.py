"""The vocabulary that existing sequencers speak: it must not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crowdstream.control.commands.clock import METER, TEMPO
from crowdstream.control.commands.common import (
    DISCARDS,
    MAX_GAIN,
    PATH_HELP,
    band_row,
    check_rate,
    check_tempo,
    start_frame,
)
from crowdstream.control.errors import BadArgument
from crowdstream.control.quiet import say
from crowdstream.control.server_request import ServerRequest
from crowdstream.control.table import BANDS, TABLE, Arg, deck_arg, deck_number
from crowdstream.control.tracks import Item, deck_of, first_buffer
from crowdstream.desk.codes import OP_TONE
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.desk.sizes import MAX_RATE, MIN_RATE

FLAT_PERCENT = 50.0
KILL_RANGE_DB = 24.0  # from just above killed to flat
TONE_GAIN = 0.1  # -20 dB: heard, and harmless
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
    Arg("start", "f", "fraction of its length", low=0, high=1, default=0.0),
)
_BAND = Arg("band", "s", "EQ band", choices=BANDS)


def _percent(name: str) -> Arg:
    return Arg(name, "f", "50 and above flat, 0 killed", unit="percent", low=0, high=100)


def _level(name: str, **options: Any) -> Arg:
    return Arg(name, "f", "linear level", low=0, high=MAX_GAIN, **options)


def _reading(help: str) -> Arg:
    return Arg("value", "f", help, default=0.0)


def percent_gain(percent: float) -> float:
    """Linear gain of an EQ percent: 50 and above 1, 0 is 0, between -24 dB and 0 dB."""
    if percent <= 0:
        return 0.0
    decibels = min(0.0, (percent / FLAT_PERCENT - 1.0) * KILL_RANGE_DB)
    return float(10.0 ** (decibels / 20.0))


@TABLE.add(
    "/load_buffer",
    _BUFFER,
    Arg("path", "s", PATH_HELP),
    Arg("name", "s", "what to call it; else the file's name", default=""),
    answers="`/done /load_buffer id` when it can be played",
)
def load_buffer(context: ServerRequest, id: int, path: str, name: str) -> None:
    """Load a file into a buffer. What was there is stopped and replaced."""
    deck_of(id)
    context.buffers.load(context, id, path, name)


@TABLE.add("/play_stem", *_PLAY, scheduled=True)
def play_stem(
    context: ServerRequest, id: int, rate: float, volume: float, loop: int, start: float
) -> None:
    """Play a buffer from a fraction of its length; one that plays is restarted."""
    track = context.buffers.find(id)
    check_rate(context, rate)
    item = Item(track, context, rate, volume, bool(loop), start)
    context.mixer.start([item], context.frame)


@TABLE.add(
    "/play_stem_section",
    *_PLAY,
    Arg("seconds", "f", "length of the section, in the file's time", unit="s", low=0.001,
        high=1e6, default=4.0),
    scheduled=True,
)
def play_stem_section(
    context: ServerRequest,
    id: int,
    rate: float,
    volume: float,
    loop: int,
    start: float,
    seconds: float,
) -> None:
    """Play a section of a buffer; with loop 1 the section loops."""
    track = context.buffers.find(id)
    check_rate(context, rate)
    item = Item(track, context, rate, volume, bool(loop), start, seconds)
    context.mixer.start([item], context.frame)


@TABLE.add("/stop_stem", _BUFFER, scheduled=True)
def stop_stem(context: ServerRequest, id: int) -> None:
    """Stop a buffer."""
    for track in context.buffers.all_of(id):
        context.mixer.stop(track, context)


@TABLE.add(
    "/stem_volume",
    _BUFFER,
    Arg("volume", "f", "linear gain", low=0, high=MAX_GAIN),
    scheduled=True,
)
def stem_volume(context: ServerRequest, id: int, volume: float) -> None:
    """Set the gain of a buffer."""
    for track in context.buffers.all_of(id):
        context.mixer.set_gain(track, volume, context)


@TABLE.add(
    "/cue",
    deck_arg(),
    Arg("path", "s", PATH_HELP),
    Arg("start", "f", "fraction of its length", low=0, high=1, default=0.0),
    answers="`/done /cue id` when it can be started",
)
def cue(context: ServerRequest, deck: str, path: str, start: float) -> None:
    """Load and arm the deck's first buffer (100 of deck A, 1100 of B, 2100 of C, 3100 of D).

    It does not start yet.
    """
    context.buffers.load(context, first_buffer(deck_number(deck)), path, cue=start)


def time_first(values: Sequence[Any]) -> Sequence[Any]:
    """Arguments of a group start, its number brought to the front wherever it stands."""
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
)
def start_group(context: ServerRequest, start_at: float, decks: tuple[str, ...]) -> None:
    """Start armed decks together, on one and the same frame. The number may come last."""
    tracks = [context.buffers.deck_track(deck_number(deck)) for deck in dict.fromkeys(decks)]
    items = [Item(track, context, track.rate, track.gain) for track in tracks]
    context.mixer.start(items, start_frame(context, start_at))


@TABLE.add(
    "/play",
    deck_arg(),
    Arg("path", "s", PATH_HELP),
    _START_AT,
    answers="`/done /play id` when it is loaded",
)
def play(context: ServerRequest, deck: str, path: str, start_at: float) -> None:
    """Load a file into the deck's first buffer, then start it at that time."""
    frame = start_frame(context, start_at)
    track = context.buffers.load(context, first_buffer(deck_number(deck)), path)
    context.mixer.start([Item(track, context)], frame)


@TABLE.add(
    "/fade",
    deck_arg(),
    _START_AT,
    Arg("seconds", "f", "length of the fade", unit="s", low=0, high=MAX_FADE, default=2.0),
    scheduled=True,
)
def fade(context: ServerRequest, deck: str, start_at: float, seconds: float) -> None:
    """Ramp the deck's level from what it is then to 0."""
    frame = start_frame(context, start_at)
    context.mixer.ramp(context, deck_level_ramp(deck_number(deck)), 0.0, seconds, frame)


@TABLE.add("/crossfade_levels", _level("a"), _level("b"), scheduled=True)
def crossfade_levels(context: ServerRequest, a: float, b: float) -> None:
    """Set the levels of decks A and B."""
    _set_levels(context, (a, b))


@TABLE.add(
    "/deck_levels",
    _level("a"),
    _level("b", default=None),
    _level("c", default=None),
    _level("d", default=None),
    scheduled=True,
)
def deck_levels(
    context: ServerRequest, a: float, b: float | None, c: float | None, d: float | None
) -> None:
    """Set the levels of all decks; those left out stay."""
    _set_levels(context, (a, b, c, d))


def _set_levels(context: ServerRequest, levels: Sequence[float | None]) -> None:
    for deck, level in enumerate(levels):
        if level is not None:
            context.mixer.ramp(context, deck_level_ramp(deck), level)


@TABLE.add(
    "/deck_filter",
    deck_arg(),
    _BAND,
    Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN),
    scheduled=True,
)
def deck_filter(context: ServerRequest, deck: str, band: str, gain: float) -> None:
    """Set the gain of a band of a deck's EQ."""
    context.mixer.ramp(context, band_row(deck_number(deck), band), gain)


@TABLE.add("/deck_eq", deck_arg(), _BAND, _percent("percent"), scheduled=True)
def deck_eq(context: ServerRequest, deck: str, band: str, percent: float) -> None:
    """Set a band of a deck's EQ in percent: between 0 and 50, linear in dB from -24 to 0."""
    row = band_row(deck_number(deck), band)
    context.mixer.ramp(context, row, percent_gain(percent))


@TABLE.add(
    "/deck_eq_all", deck_arg(), _percent("low"), _percent("mid"), _percent("high"), scheduled=True
)
def deck_eq_all(context: ServerRequest, deck: str, low: float, mid: float, high: float) -> None:
    """Set all three bands of a deck's EQ in percent."""
    for band, percent in zip(BANDS, (low, mid, high), strict=True):
        row = band_row(deck_number(deck), band)
        context.mixer.ramp(context, row, percent_gain(percent))


@TABLE.add("/set_tempo", TEMPO, scheduled=True)
def set_tempo(context: ServerRequest, bpm: float) -> None:
    """Set the tempo of the clock; all decks play at `bpm / base bpm` times their rate.

    Refused where that is not 0.25 to 4, or would not be for a track that plays.
    """
    check_tempo(context, bpm)
    context.core.set_tempo(context, bpm)
    context.core.follower.rest()


@TABLE.add("/set_meter", METER, asks=True)
def set_meter(context: ServerRequest, beats: int) -> None:
    """Set the beats per bar."""
    context.core.beats.meter = beats


@TABLE.add("/print_clock", Arg("on", "i", "1: print", low=0, high=1, default=1), asks=True)
def print_clock(context: ServerRequest, on: int) -> None:
    """Print bar, beat and phase once a beat, from the next beat on."""
    context.core.print_clock(bool(on))


@TABLE.add("/reset", answers=DISCARDS, scheduled=True)
def reset(context: ServerRequest) -> None:
    """Time zero is now; the beat clock restarts. What was sent before it and waits is discarded."""
    context.core.reset_clock(context)
    context.core.waiting.discard(context)


@TABLE.add("/schedule_c_at", _START_AT, scheduled=True)
def schedule_c_at(context: ServerRequest, start_at: float) -> None:
    """Start what is cued or loaded on deck C at that time."""
    deck = deck_number("C")
    tracks = context.mixer.waiting_tracks(deck) or [context.buffers.deck_track(deck)]
    items = [Item(track, context, track.rate, track.gain) for track in tracks]
    context.mixer.start(items, start_frame(context, start_at))


@TABLE.add("/get_status", answers="`/status.reply`, as `/status` does", asks=True, changes=False)
def get_status(context: ServerRequest) -> None:
    """Print the status, and answer with it."""
    say(context.core.status.text())
    context.reply("/status.reply", *context.core.status.values())


@TABLE.add(
    "/test_tone",
    Arg("hertz", "f", "frequency", unit="Hz", low=20, high=20000, default=440.0),
    scheduled=True, button=True,
)
def test_tone(context: ServerRequest, hertz: float) -> None:
    """A one-second quiet tone on the master."""
    context.core.outbox.add(
        OP_TONE, context, x=hertz, y=TONE_GAIN, start=round(context.core.desk.sample_rate),
        frame=context.frame,
    )


@TABLE.add(
    "/mixer_cleanup",
    answers=f"`/done /mixer_cleanup` when the memory is free, and {DISCARDS}",
)
def mixer_cleanup(context: ServerRequest) -> None:
    """Stop everything and free every buffer. What was sent before it and waits is discarded."""
    buffers = context.buffers
    context.core.waiting.discard(context)
    context.mixer.stop_all(context)
    leaving = [
        track
        for buffer in buffers.loaded_buffers()
        for track in buffers.unload(buffer, context.frame)
    ]
    buffers.when_gone(leaving, context)


@TABLE.add(
    "/dance/total_movement",
    Arg("movement", "f", "how much the crowd moves", low=0, high=1),
    asks=True,
)
def total_movement(context: ServerRequest, movement: float) -> None:
    """Say how much the crowd moves; drives the tempo when a movement map is configured."""
    context.core.follower.moved(movement, context.core.monotonic())


@TABLE.add("/dance/head_movement", _reading("how much heads move"), asks=True, changes=False)
@TABLE.add("/dance/arms_movement", _reading("how much arms move"), asks=True, changes=False)
@TABLE.add("/dance/legs_movement", _reading("how much legs move"), asks=True, changes=False)
@TABLE.add("/dance/person_count", _reading("how many people there are"), asks=True, changes=False)
def other_reading(context: ServerRequest, value: float) -> None:
    """Another reading of the movement detector; used if the movement map names it in `senders`."""
