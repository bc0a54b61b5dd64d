"""Clock commands: tempo, meter, beat queries, ticks, and scheduling of other commands."""

from __future__ import annotations

from typing import Any

from crowdstream.commands.errors import BadArgument, Refused
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.clock.clock import (
    WORDS,
    quantum_beats,
)
from crowdstream.control.handlers.common import DISCARDS, QUANTUM, check_tempo
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.scheduler import Entry
from crowdstream.osc.codec import Double

MAX_TICKS = 96  # per beat
MIN_NEXT = 1 / 32  # beats

TEMPO = Arg("bpm", "f", "tempo", unit="beats a minute", low=20, high=400)
METER = Arg("beats", "i", "beats per bar", low=1, high=32)
_REST = (
    Arg("address", "s", "address of a command that can be scheduled"),
    Arg("arguments", "*", "the command's arguments", default=(), rest=True, max_length=1024),
)


@TABLE.add(
    "/clock/tempo",
    TEMPO,
    Arg("beats", "f", "length of the tempo ramp; 0: 20 ms", unit="beats", low=0,
        high=4096, default=0.0),
    scheduled=True,
)
def tempo(request: ServerRequest, bpm: float, beats: float) -> None:
    """Ramp the clock's tempo linearly.

    Synced decks follow it to the sample. The others play at `bpm / base bpm` times their rate.
    A tempo at which a playing track cannot be played is refused.
    """
    check_tempo(request, bpm)
    request.core.set_tempo(request, bpm, beats)
    request.core.follower.rest()


@TABLE.add("/clock/meter", METER, control_only=True, idempotent=True)
def meter(request: ServerRequest, beats: int) -> None:
    """Set the beats per bar."""
    request.core.beat_clock.meter = beats
    request.core.midi.send_meter()


@TABLE.add("/clock/reset", answers=DISCARDS, scheduled=True)
def reset(request: ServerRequest) -> None:
    """Set beat 0 and time zero to now, and discard all scheduled commands sent before it."""
    request.core.reset_clock(request)
    request.core.scheduler.discard(request)


@TABLE.add(
    "/clock/beat",
    answers="`/clock/beat.reply beat bar beat_in_bar phase bpm frame`; bars and their beats are "
    "counted from 1; phase is the position within the beat, 0 to 1",
    control_only=True,
    changes=False,
)
def beat(request: ServerRequest) -> None:
    """Query the clock's position at the start of the next block."""
    beats, frame = request.core.beat_clock, request.core.desk.frame
    now = beats.beat(frame)
    bar, within = divmod(now, beats.meter)
    request.reply(
        "/clock/beat.reply", now, int(bar) + 1, within + 1, now % 1.0, beats.bpm_at(frame), frame
    )


@TABLE.add(
    "/clock/time",
    Arg("id", "i", "any number", default=0),
    answers="`/clock/time.reply id time frame`; `time` is the server's Unix time at the reply, and "
    "`frame` the frame on which a time tag of that time acts",
    control_only=True,
    changes=False,
)
def clock_time(request: ServerRequest, id: int) -> None:
    """Query the server's time of day, to measure how far its clock differs from another one.

    With the times of request and reply, the difference is known to half of the round trip.
    """
    clock = request.core.clock
    wall, frame = clock.wall(), clock.now()
    request.reply("/clock/time.reply", id, Double(wall), frame)


@TABLE.add(
    "/clock/ticks",
    Arg("per_beat", "i", "ticks per beat; 24: as in MIDI clock, 1: beats, 0: off", low=0,
        high=MAX_TICKS),
    answers="`/done <address>`, then `/clock/tick count beat frame time` for each tick, or with 1 "
    "`/beat bar beat bpm frame time`, at the moment the tick sounds; `time` is the Unix time of "
    "that moment",
    control_only=True,
    changes=False,
)
def ticks(request: ServerRequest, per_beat: int) -> None:
    """Send clock ticks to this subscriber. Requires a subscription with `/notify`."""
    if per_beat and request.sender not in request.core.subscribers:
        raise Refused("not subscribed: send /notify 1 first")
    request.core.midi_ticks.listen(request.sender, per_beat, request.reply)
    request.done()


def _entry(request: ServerRequest, address: str, arguments: tuple[Any, ...]) -> Entry | None:
    # Report errors now where they can be detected now. None: a released button does nothing.
    pressed = False
    for command, _place in TABLE.find_all(address):
        values = arguments if request.sender is None else command.pressed(arguments)
        if values is not None:
            pressed = True
            command.bind(values)
        if not command.scheduled:
            raise BadArgument(f"address: {command.address} cannot be scheduled")
    return (address, arguments, request.reply, request.sender) if pressed else None


@TABLE.add(
    "/clock/at",
    Arg("beat", "f", "beat of the clock", unit="beats", low=0, high=1e9),
    *_REST,
)
def at(request: ServerRequest, beat: float, address: str, arguments: tuple[Any, ...]) -> None:
    """Schedule another command at a beat of the clock, exact to the frame.

    If the tempo changes in the meantime, the command moves with its beat. If the beat has already
    passed, the command acts immediately and the sender receives `/late`.
    """
    entry = _entry(request, address, arguments)
    if entry is not None:
        request.core.scheduler.schedule_at_beat(beat, entry)
        request.core.scheduler.release_beats()


@TABLE.add(
    "/clock/next",
    Arg("quantum", "f", "beats; or `beat`, `bar`, `phrase` (8 bars)", unit="beats", low=MIN_NEXT,
        high=1024, words=WORDS),
    *_REST,
)
def next_(
    request: ServerRequest, quantum: float | str, address: str, arguments: tuple[Any, ...]
) -> None:
    """Schedule another command at the clock's next multiple of `quantum` beats."""
    core = request.core
    beats = quantum_beats(quantum, core.beat_clock.meter)
    entry = _entry(request, address, arguments)
    if entry is not None:
        core.wait_for_next(beats, entry, request.now)
        core.scheduler.release_beats()


@TABLE.add("/clock/quantize", QUANTUM, control_only=True, idempotent=True)
def quantize(request: ServerRequest, beats: float | str) -> None:
    """Set the quantum of all decks and sample pads that have none of their own.

    Immediate commands to them wait for the clock's next multiple of it.
    """
    request.core.quantize.common = beats


@TABLE.add("/deck/{deck}/quantize", QUANTUM, control_only=True, idempotent=True)
def deck_quantize(request: ServerRequest, deck: int, beats: float | str) -> None:
    """Make the deck's starts, stops, jumps, cues and loops wait for the next multiple of `beats`.

    0 uses the quantum of `/clock/quantize`. Commands with a time of their own do not wait.
    """
    request.core.quantize.decks[deck] = beats


# Ableton Link -------------------------------------------------------------------------------
