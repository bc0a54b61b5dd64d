"""Commands that change a deck's tempo and pitch independently."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.decks.pitch import SEMITONES
from crowdstream.control.handlers.server_request import ServerRequest


@TABLE.add("/deck/{deck}/keylock", Arg("on", "i", "1: on, 0: off", low=0, high=1), scheduled=True)
def keylock(request: ServerRequest, deck: int, on: int) -> None:
    """Keep the pitch of the deck's present and future tracks constant when the tempo changes.

    In reverse, keylock has no effect: the pitch follows the speed.
    """
    held = request.voice_allocator.held_by(deck, request)
    request.core.pitches.set_keylock(deck, bool(on), request, held)


@TABLE.add(
    "/deck/{deck}/pitch",
    Arg("semitones", "f", "upward pitch shift", unit="semitones", low=-SEMITONES, high=SEMITONES),
    scheduled=True,
)
def pitch(request: ServerRequest, deck: int, semitones: float) -> None:
    """Shift the pitch of the deck's present and future tracks without changing their tempo."""
    held = request.voice_allocator.held_by(deck, request)
    request.core.pitches.set_pitch(deck, semitones, request, held)
