"""What the mixing desk remembers between commands: killed bands and trims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crowdstream.control.decks.deck_manager import RAMP_SECONDS, DeckManager
from crowdstream.control.decks.track import first_buffer
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import OP_LOOKAHEAD
from crowdstream.desk.ramps import RAMP_CEILING, RAMP_TRIM
from crowdstream.settings import Settings

MAX_DB = 12.0
AUTOTRIM_SECONDS = 2.0  # of the ramp: a track that plays already is brought in line unnoticed


def decibel_gain(decibels: float) -> float:
    """Linear gain of so many dB."""
    return float(10.0 ** (decibels / 20.0))


class ChannelStrips:
    """Decks' kills and trims. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        outbox: EngineQueue,
        mixer: DeckManager,
        buffers: TrackTable,
        target_lufs: float,
    ) -> None:
        self._desk = desk
        self._outbox = outbox
        self._mixer = mixer
        self._buffers = buffers
        self._target = target_lufs
        self._automatic: set[int] = set()
        self._killed: dict[int, float] = {}

    def apply_settings(self, request: Request, settings: Settings) -> None:
        """What the settings say of the limiter."""
        frames = round(settings.limiter_lookahead * 1e-3 * self._desk.sample_rate)
        self._outbox.add(OP_LOOKAHEAD, request, x=frames)
        self.ceiling(request, settings.ceiling)

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [sorted(self._automatic), list(self._killed.items())]

    def restore(self, note: list[Any]) -> None:
        """Remember what was noted."""
        self._automatic = set(note[0])
        self._killed = {row: gain for row, gain in note[1]}

    def ceiling(self, request: Request, decibels: float) -> None:
        """True peak of what leaves the limiter, dBTP."""
        self._mixer.ramp(request, RAMP_CEILING, decibel_gain(decibels))

    def kill(self, request: Request, row: int, on: bool) -> None:
        """Send the gain of an EQ band to 0, or back to what it was before.

        One that was set to something else meanwhile stays as it is.
        """
        now = self._mixer.target(row)
        if on and now != 0.0:
            self._killed[row] = now
            self._mixer.ramp(request, row, 0.0)
        elif not on and now == 0.0 and row in self._killed:
            self._mixer.ramp(request, row, self._killed.pop(row))

    def killed(self, row: int) -> float | None:
        """The gain to which an EQ band comes back, if it is 0 because it was killed; else None."""
        return self._killed.get(row)

    def is_automatic(self, deck: int) -> bool:
        """Whether the deck's trim follows the loudness of its tracks."""
        return deck in self._automatic

    def trim(
        self, request: Request, deck: int, decibels: float, seconds: float = RAMP_SECONDS
    ) -> None:
        """Gain of a deck before its EQ, dB. From now on it is set by hand."""
        self._automatic.discard(deck)
        self._mixer.ramp(request, RAMP_TRIM + deck, decibel_gain(decibels), seconds)

    def automatic(self, request: Request, decks: Iterable[int], on: bool) -> None:
        """Have the trims of decks follow their tracks' loudness, or stay where they are."""
        if on:
            self._automatic.update(decks)
            self.follow_loudness(request)
        else:
            self._automatic.difference_update(decks)

    def follow_loudness(self, request: Request) -> None:
        """Bring the decks whose trim is automatic to the target, as far as they are measured.

        By 12 dB at most: what is softer than that is meant to be.
        """
        for deck in sorted(self._automatic):
            track = self._buffers.shown(first_buffer(deck))
            if track is None or track.lufs is None:
                continue
            decibels = min(max(self._target - track.lufs, -MAX_DB), MAX_DB)
            gain = decibel_gain(decibels)
            if gain != self._mixer.target(RAMP_TRIM + deck):
                seconds = AUTOTRIM_SECONDS if track.sounding else RAMP_SECONDS
                self._mixer.ramp(request, RAMP_TRIM + deck, gain, seconds)
