"""Settings of a track's stems: gain, mute and solo, EQ, filter and sends."""

from __future__ import annotations

from typing import Any

from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.desk.ramps import voice_ramp


class StemMix:
    """The stem settings of one track. Gains are linear; stems are counted from 0.

    Mute and solo do not change the gains. A stem is audible if it is not muted and, if any stem of
    the track is soloed, is one of those.
    """

    def __init__(self, count: int = 0) -> None:
        self.own_gains = [1.0] * count
        self.mutes: set[int] = set()
        self.solos: set[int] = set()
        self.rows: dict[int, float] = {}
        """Values of the voice's ramp rows (`ramps.VOICE_...`) that were set."""

    def keep(self, count: int) -> None:
        """Drop the settings of all stems but the first `count`."""
        del self.own_gains[count:]
        self.mutes = {number for number in self.mutes if number < count}
        self.solos = {number for number in self.solos if number < count}

    def to_state(self) -> list[Any]:
        """Return the settings as JSON-compatible state; see `from_state`."""
        return [
            list(self.own_gains), sorted(self.mutes), sorted(self.solos), list(self.rows.items())
        ]

    @classmethod
    def from_state(cls, state: list[Any]) -> StemMix:
        """Restore the settings from `to_state`."""
        made = cls()
        made.own_gains, mutes, solos, rows = state
        made.mutes, made.solos = set(mutes), set(solos)
        made.rows = {row: value for row, value in rows}
        return made

    @property
    def gains(self) -> list[float]:
        """The effective gain of each stem, with mute and solo applied."""
        return [
            gain if number not in self.mutes and (not self.solos or number in self.solos) else 0.0
            for number, gain in enumerate(self.own_gains)
        ]

    def send_rows(
        self, outbox: EngineQueue, request: Request, voice: int, frame: int, beat: float | None
    ) -> None:
        """Queue the settings for a voice that starts at `frame`, which it does with defaults."""
        for row, value in self.rows.items():
            outbox.add(
                OP_RAMP, request, index=voice_ramp(voice, row), x=value, y=0.0, frame=frame,
                beat=beat,
            )
