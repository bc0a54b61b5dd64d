"""Commands that part a deck's tempo from its pitch."""

from __future__ import annotations

from crowdstream.control.pitch import SEMITONES
from crowdstream.control.server_request import ServerRequest
from crowdstream.control.table import TABLE, Arg


@TABLE.add("/deck/{deck}/keylock", Arg("on", "i", "1: on", low=0, high=1), scheduled=True)
def keylock(context: ServerRequest, deck: int, on: int) -> None:
    """Keep the pitch of what the deck plays, now and later, however the tempo moves.

    Backward, a track has the pitch of its speed.
    """
    held = context.voices.held_by(deck, context)
    context.core.pitches.set_keylock(deck, bool(on), context, held)


@TABLE.add(
    "/deck/{deck}/pitch",
    Arg("semitones", "f", "how far up", unit="semitones", low=-SEMITONES, high=SEMITONES),
    scheduled=True,
)
def pitch(context: ServerRequest, deck: int, semitones: float) -> None:
    """Shift the pitch of what the deck plays, now and later; the tempo stays."""
    held = context.voices.held_by(deck, context)
    context.core.pitches.set_pitch(deck, semitones, context, held)
