"""Commands that part a deck's tempo from its pitch."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.decks.pitch import SEMITONES
from crowdstream.control.handlers.server_request import ServerRequest


@TABLE.add("/deck/{deck}/keylock", Arg("on", "i", "1: on", low=0, high=1), scheduled=True)
def keylock(request: ServerRequest, deck: int, on: int) -> None:
    """Keep the pitch of what the deck plays, now and later, however the tempo moves.

    Backward, a track has the pitch of its speed.
    """
    held = request.voices.held_by(deck, request)
    request.core.pitches.set_keylock(deck, bool(on), request, held)


@TABLE.add(
    "/deck/{deck}/pitch",
    Arg("semitones", "f", "how far up", unit="semitones", low=-SEMITONES, high=SEMITONES),
    scheduled=True,
)
def pitch(request: ServerRequest, deck: int, semitones: float) -> None:
    """Shift the pitch of what the deck plays, now and later; the tempo stays."""
    held = request.voices.held_by(deck, request)
    request.core.pitches.set_pitch(deck, semitones, request, held)
