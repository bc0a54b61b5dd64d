"""Commands of the clock: tempo, meter, beats, ticks, and when other commands act."""

from __future__ import annotations

from typing import Any

from crowdstream.commands.errors import BadArgument, Refused
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.clock.quantize import (
    MAX_QUANTUM_BEATS,
    MIN_QUANTUM_BEATS,
    WORDS,
    quantum_beats,
)
from crowdstream.control.handlers.common import DISCARDS, check_tempo
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.scheduler import Entry

MAX_TICKS = 96  # a beat
MIN_NEXT = 1 / 32  # beats

TEMPO = Arg("bpm", "f", "tempo", unit="beats a minute", low=20, high=400)
METER = Arg("beats", "i", "beats per bar", low=1, high=32)
_QUANTUM = Arg(
    "beats",
    "f",
    f"{MIN_QUANTUM_BEATS:g} to {MAX_QUANTUM_BEATS:g} beats, 0 for at once; "
    "or bar, or phrase: 8 bars",
    low=MIN_QUANTUM_BEATS,
    high=MAX_QUANTUM_BEATS,
    words=WORDS,
    or_zero=True,
)
_REST = (
    Arg("address", "s", "address of a command that acts at a frame"),
    Arg("arguments", "*", "its arguments", default=(), rest=True, max_length=1024),
)


@TABLE.add(
    "/clock/tempo",
    TEMPO,
    Arg("beats", "f", "beats that pass until it is reached; 0: within 20 ms", unit="beats", low=0,
        high=4096, default=0.0),
    scheduled=True,
)
def tempo(request: ServerRequest, bpm: float, beats: float) -> None:
    """Move the tempo in a straight line.

    Synced decks follow to the sample, the others play at `bpm / base bpm` times their rate.
    Refused where what plays can't go so fast or slow.
    """
    check_tempo(request, bpm)
    request.core.set_tempo(request, bpm, beats)
    request.core.follower.rest()


@TABLE.add("/clock/meter", METER, asks=True)
def meter(request: ServerRequest, beats: int) -> None:
    """Set the beats per bar."""
    request.core.beats.meter = beats


@TABLE.add("/clock/reset", answers=DISCARDS, scheduled=True)
def reset(request: ServerRequest) -> None:
    """Beat 0 and time zero are now. What was sent before it and waits is discarded."""
    request.core.reset_clock(request)
    request.core.waiting.discard(request)


@TABLE.add(
    "/clock/beat",
    answers="`/clock/beat.reply beat bar beat_in_bar phase bpm frame`; bars and their beats are "
    "counted from 1, phase is 0 to 1 within the beat",
    asks=True,
    changes=False,
)
def beat(request: ServerRequest) -> None:
    """Ask where the clock is with the next block."""
    beats, frame = request.core.beats, request.core.desk.frame
    now = beats.beat(frame)
    bar, within = divmod(now, beats.meter)
    request.reply(
        "/clock/beat.reply", now, int(bar) + 1, within + 1, now % 1.0, beats.bpm_at(frame), frame
    )


@TABLE.add(
    "/clock/ticks",
    Arg("per_beat", "i", "24 as MIDI's clock, 1: beats, 0: none", low=0, high=MAX_TICKS),
    answers="`/done <address>`, then `/clock/tick count beat frame time` for each tick, or with 1 "
    "`/beat bar beat bpm frame time`, when it sounds; `time` is the Unix time of that",
    asks=True,
    changes=False,
)
def ticks(request: ServerRequest, per_beat: int) -> None:
    """Send ticks of the clock to this subscriber (`/notify`)."""
    if per_beat and request.sender not in request.core.subscribers:
        raise Refused("you are no subscriber: say /notify 1 first")
    request.core.ticks.listen(request.sender, per_beat, request.reply)
    request.done()


def _entry(request: ServerRequest, address: str, arguments: tuple[Any, ...]) -> Entry | None:
    # Errors that can be seen now are reported now. None: a released button does nothing.
    pressed = False
    for command, _place in TABLE.find_all(address):
        values = arguments if request.sender is None else command.pressed(arguments)
        if values is not None:
            pressed = True
            command.bind(values)
        if not command.scheduled:
            raise BadArgument(f"address: {command.address} does not act at a frame")
    return (address, arguments, request.reply, request.sender) if pressed else None


@TABLE.add(
    "/clock/at",
    Arg("beat", "f", "beat of the clock", unit="beats", low=0, high=1e7),
    *_REST,
)
def at(request: ServerRequest, beat: float, address: str, arguments: tuple[Any, ...]) -> None:
    """Carry out another command at a beat of the clock, to the frame.

    A change of the tempo that comes in between moves it with the beat. At a beat that has passed
    it acts at once, and is told late.
    """
    entry = _entry(request, address, arguments)
    if entry is not None:
        request.core.waiting.hold_beat(beat, entry)
        request.core.waiting.release_beats()


@TABLE.add(
    "/clock/next",
    Arg("quantum", "f", "beats; or beat, bar, phrase: 8 bars", unit="beats", low=MIN_NEXT,
        high=1024, words=WORDS),
    *_REST,
)
def next_(
    request: ServerRequest, quantum: float | str, address: str, arguments: tuple[Any, ...]
) -> None:
    """Carry out another command at the next multiple of so many beats of the clock."""
    core = request.core
    beats = quantum_beats(quantum, core.beats.meter)
    entry = _entry(request, address, arguments)
    if entry is not None:
        core.wait_for_next(beats, entry, request.now)
        core.waiting.release_beats()


@TABLE.add("/clock/quantize", _QUANTUM, asks=True)
def quantize(request: ServerRequest, beats: float | str) -> None:
    """Set where decks without a quantum of their own act on what is meant for now."""
    request.core.quantize.common = beats


@TABLE.add("/deck/{deck}/quantize", _QUANTUM, asks=True)
def deck_quantize(request: ServerRequest, deck: int, beats: float | str) -> None:
    """Have starts, stops, jumps, cues and loops of the deck wait for the next such beat.

    0: as `/clock/quantize` says. What comes with a time of its own does not wait.
    """
    request.core.quantize.decks[deck] = beats
