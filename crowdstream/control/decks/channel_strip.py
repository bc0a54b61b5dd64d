"""Mixer state that outlives a command: killed EQ bands and automatic trims."""

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
AUTOTRIM_SECONDS = 2.0  # ramp time: slow enough that the trim of a playing track is not noticed


def decibel_gain(decibels: float) -> float:
    """Convert dB to a linear gain."""
    return float(10.0 ** (decibels / 20.0))


class ChannelStrips:
    """Kills and trims of all decks, and the limiter's settings. For the control thread."""

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
        mixer.on_ramp = self._forget_kill

    def apply_settings(self, request: Request, settings: Settings) -> None:
        """Apply the limiter's settings."""
        frames = round(settings.limiter_lookahead * 1e-3 * self._desk.sample_rate)
        self._outbox.add(OP_LOOKAHEAD, request, x=frames)
        self.ceiling(request, settings.limiter_ceiling)

    def to_state(self) -> list[Any]:
        """Return kills and automatic trims as JSON-compatible state; see `restore`."""
        return [sorted(self._automatic), list(self._killed.items())]

    def restore(self, state: list[Any]) -> None:
        """Restore kills and automatic trims from `to_state`."""
        self._automatic = set(state[0])
        self._killed = {row: gain for row, gain in state[1]}

    def ceiling(self, request: Request, decibels: float) -> None:
        """Set the limiter's ceiling, a true peak in dBTP."""
        self._mixer.ramp(request, RAMP_CEILING, decibel_gain(decibels))

    def kill(self, request: Request, row: int, on: bool) -> None:
        """Ramp the gain of an EQ band to 0, or back to its previous value.

        A gain that was set while the band was killed is kept.
        """
        now = self._mixer.target(row)
        if on and now != 0.0:
            self._mixer.ramp(request, row, 0.0)
            self._killed[row] = now
        elif not on and now == 0.0 and row in self._killed:
            self._mixer.ramp(request, row, self._killed[row])

    def _forget_kill(self, row: int) -> None:
        # A gain that is set ends the kill: a fader that is lowered to 0 later is no kill.
        self._killed.pop(row, None)

    def killed(self, row: int) -> float | None:
        """Return the gain that a killed EQ band will be restored to; None if it is not killed."""
        return self._killed.get(row)

    def is_automatic(self, deck: int) -> bool:
        """Whether the deck's trim follows the loudness of its tracks."""
        return deck in self._automatic

    def trim(
        self, request: Request, deck: int, decibels: float, seconds: float = RAMP_SECONDS
    ) -> None:
        """Set a deck's pre-EQ gain in dB, and switch its automatic trim off."""
        self._automatic.discard(deck)
        self._mixer.ramp(request, RAMP_TRIM + deck, decibel_gain(decibels), seconds)

    def automatic(self, request: Request, decks: Iterable[int], on: bool) -> None:
        """Switch automatic trim of decks on, or off, which keeps the present trims."""
        if on:
            self._automatic.update(decks)
            self.follow_loudness(request)
        else:
            self._automatic.difference_update(decks)

    def set_target(self, request: Request, lufs: float) -> None:
        """Set the target loudness of automatic trim in LUFS, and trim again."""
        self._target = lufs
        self.follow_loudness(request)

    def follow_loudness(self, request: Request) -> None:
        """Trim the decks with automatic trim to the target loudness, if their track is measured.

        The trim is at most 12 dB: a track that is even softer is meant to be.
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
