"""Keylock and pitch of each deck. They are settings of the deck, not of its track."""

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
GLIDE_SECONDS = 0.05  # glide to another pitch: no audible jump, and no audible delay


def ratio(semitones: float) -> float:
    """Convert semitones to a frequency ratio: 12 semitones are a ratio of 2."""
    return float(2.0 ** (semitones / 12.0))


class PitchSettings:
    """Keylock and pitch settings of the decks, and the engine commands that apply them.

    The first use makes the loader start detecting attacks, which only keylock and pitch need.
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
        """Return the settings as JSON-compatible state; see `restore`."""
        return [list(self._keylock), list(self._semitones), self._prepared]

    def restore(self, state: list[Any]) -> None:
        """Restore the settings from `to_state`; if needed, request attack detection again."""
        self._keylock, self._semitones, prepared = list(state[0]), list(state[1]), state[2]
        if prepared:
            self._prepare()

    def settings(self, deck: int) -> tuple[bool, float]:
        """Return keylock and pitch (in semitones) of a deck."""
        return self._keylock[deck], self._semitones[deck]

    def set_keylock(
        self, deck: int, on: bool, request: Request, sounding: Iterable[tuple[Track, list[Due]]]
    ) -> None:
        """Switch a deck's keylock.

        `sounding`: the deck's tracks that have voices, each with its later starts.
        """
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
        """Set a deck's pitch shift in semitones; `sounding` as in `set_keylock`."""
        self._semitones[deck] = semitones
        self._prepare()
        for track, later in sounding:
            self._send_pitch(request, track, Due(request.frame, request.beat), self._glide)
            for due in later:
                self._send_pitch(request, track, due, 0)

    def at_start(self, request: Request, track: Track, due: Due) -> None:
        """Apply the deck's settings to a starting voice, which begins without any of them."""
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
