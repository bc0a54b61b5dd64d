"""Keylock and pitch of each deck: they belong to the deck, whatever plays on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from crowdstream.control.decks.track import Due, Track
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.constants import DECKS
from crowdstream.desk.opcodes import OP_KEYLOCK, OP_RAMP
from crowdstream.desk.ramps import VOICE_PITCH, voice_ramp

SEMITONES = 12.0  # an octave up or down
GLIDE_SECONDS = 0.05  # to another pitch: no jump, and still at once


def ratio(semitones: float) -> float:
    """Ratio of frequencies, 2 for an octave up."""
    return float(2.0 ** (semitones / 12.0))


class PitchSettings:
    """What each deck is set to, and the commands that tell the engine.

    The first use has the loader look for attacks, which keylock needs and nothing else does.
    """

    def __init__(
        self, outbox: EngineQueue, to_loader: Callable[[dict[str, Any]], None], sample_rate: float
    ) -> None:
        self._outbox = outbox
        self._to_loader = to_loader
        self._glide = round(GLIDE_SECONDS * sample_rate)
        self._keylock = [False] * DECKS
        self._semitones = [0.0] * DECKS
        self._prepared = False

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [list(self._keylock), list(self._semitones), self._prepared]

    def restore(self, note: list[Any]) -> None:
        """Set what was noted; the loader is told once more to look for attacks."""
        self._keylock, self._semitones, prepared = list(note[0]), list(note[1]), note[2]
        if prepared:
            self._prepare()

    def settings(self, deck: int) -> tuple[bool, float]:
        """Keylock and pitch (semitones) of a deck."""
        return self._keylock[deck], self._semitones[deck]

    def set_keylock(
        self, deck: int, on: bool, request: Request, sounding: Iterable[tuple[Track, list[Due]]]
    ) -> None:
        """Switch keylock; `sounding`: tracks of the deck that have voices, and later starts."""
        self._keylock[deck] = on
        self._prepare()
        for track, later in sounding:
            for due in (Due(request.frame, request.beat), *later):
                self._send_keylock(request, track, due)

    def set_pitch(
        self,
        deck: int,
        semitones: float,
        request: Request,
        sounding: Iterable[tuple[Track, list[Due]]],
    ) -> None:
        """Set the pitch; `sounding` as in `set_keylock`."""
        self._semitones[deck] = semitones
        self._prepare()
        for track, later in sounding:
            self._send_pitch(request, track, Due(request.frame, request.beat), self._glide)
            for due in later:
                self._send_pitch(request, track, due, 0)

    def at_start(self, request: Request, track: Track, due: Due) -> None:
        """A track starts: it comes without keylock and at its own pitch."""
        if self._keylock[track.deck]:
            self._send_keylock(request, track, due)
        if self._semitones[track.deck] != 0.0:
            self._send_pitch(request, track, due, 0)

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            self._to_loader({"do": "attacks", "track": 0})

    def _send_keylock(self, request: Request, track: Track, due: Due) -> None:
        self._outbox.add(
            OP_KEYLOCK, request, frame=due.frame, beat=due.beat, target=track.voice or 0,
            index=int(self._keylock[track.deck]),
        )  # fmt: skip

    def _send_pitch(self, request: Request, track: Track, due: Due, frames: int) -> None:
        self._outbox.add(
            OP_RAMP, request, frame=due.frame, beat=due.beat, y=frames,
            index=voice_ramp(track.voice or 0, VOICE_PITCH),
            x=ratio(self._semitones[track.deck]),
        )  # fmt: skip
