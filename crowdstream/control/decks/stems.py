"""What is kept of a track's stems: gain, mute and solo, EQ, filter, where each is sent."""

from __future__ import annotations

from typing import Any

from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.opcodes import OP_RAMP
from crowdstream.desk.ramps import voice_ramp


class StemMix:
    """The stems of one track. Linear gains; 0 is the first stem.

    Mute and solo leave the gains as they are: a stem is heard where it is not muted and, if
    any stem of the track is solo, it is one of those.
    """

    def __init__(self, count: int = 0) -> None:
        self.own_gains = [1.0] * count
        self.mutes: set[int] = set()
        self.solos: set[int] = set()
        self.rows: dict[int, float] = {}
        """Rows of the voice that were set, `layout.VOICE_...`, and to what."""

    def keep(self, count: int) -> None:
        """The track has no more than `count` stems."""
        del self.own_gains[count:]
        self.mutes = {number for number in self.mutes if number < count}
        self.solos = {number for number in self.solos if number < count}

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `from_note`."""
        return [
            list(self.own_gains), sorted(self.mutes), sorted(self.solos), list(self.rows.items())
        ]

    @classmethod
    def from_state(cls, note: list[Any]) -> StemMix:
        """What was noted."""
        made = cls()
        made.own_gains, mutes, solos, rows = note
        made.mutes, made.solos = set(mutes), set(solos)
        made.rows = {row: value for row, value in rows}
        return made

    @property
    def gains(self) -> list[float]:
        """The gain with which each stem is heard."""
        return [
            gain if number not in self.mutes and (not self.solos or number in self.solos) else 0.0
            for number, gain in enumerate(self.own_gains)
        ]

    def send_rows(
        self, outbox: EngineQueue, request: Request, voice: int, frame: int, beat: float | None
    ) -> None:
        """Tell a voice that starts then what was set: it starts with everything neutral."""
        for row, value in self.rows.items():
            outbox.add(
                OP_RAMP, request, index=voice_ramp(voice, row), x=value, y=0.0, frame=frame,
                beat=beat,
            )
