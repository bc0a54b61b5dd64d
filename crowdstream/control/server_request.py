"""What handlers of commands are given: the command, and the parts of the server it acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.control.answers import Answers
from crowdstream.control.buffers import Buffers
from crowdstream.control.changes import Changes
from crowdstream.control.clock import BeatClock
from crowdstream.control.context import Answering, Context
from crowdstream.control.dj import Dj
from crowdstream.control.effects import Effects
from crowdstream.control.feedback import Feedback
from crowdstream.control.meters import Meters
from crowdstream.control.mixer import RAMP_SECONDS, Mixer
from crowdstream.control.mixing import Mixing
from crowdstream.control.movement import Follower
from crowdstream.control.outbox import Outbox
from crowdstream.control.patches import Patches
from crowdstream.control.pitch import Pitches
from crowdstream.control.quality import Quality
from crowdstream.control.quantize import Quantize
from crowdstream.control.recordings import Recordings
from crowdstream.control.reply_ports import ReplyPorts
from crowdstream.control.resizing import Done
from crowdstream.control.status import Status
from crowdstream.control.subscribers import Subscribers
from crowdstream.control.ticks import Ticks
from crowdstream.control.voices import Voices
from crowdstream.control.waiting import Entry, Waiting
from crowdstream.desk.block import Desk
from crowdstream.settings import Settings


class Parts(Answering, Protocol):
    """The parts of the server that commands act on (see `Core`)."""

    settings: Settings
    desk: Desk
    outbox: Outbox
    beats: BeatClock
    buffers: Buffers
    voices: Voices
    mixer: Mixer
    mixing: Mixing
    pitches: Pitches
    effects: Effects
    patches: Patches
    quality: Quality
    quantize: Quantize
    follower: Follower
    recordings: Recordings
    meters: Meters
    ticks: Ticks
    waiting: Waiting
    answers: Answers
    subscribers: Subscribers
    changes: Changes
    feedback: Feedback
    status: Status
    dj: Dj
    reply_ports: ReplyPorts
    base_bpm: float
    monotonic: Callable[[], float]
    resize: Callable[[int, Done, Callable[[str], None]], None]

    def set_tempo(
        self, context: Context, bpm: float, beats: float = 0.0, seconds: float = RAMP_SECONDS
    ) -> None:
        """Move the tempo to `bpm` while `beats` pass, or (0) within `seconds`."""

    def reset_clock(self, context: Context) -> None:
        """Beat 0 and time zero are where the command acts."""

    def wait_for_next(self, quantum: float, entry: Entry, now: int) -> None:
        """Carry out a message at the next multiple of `quantum` beats."""

    def unsubscribe(self, sender: Any) -> None:
        """Send nothing more to somebody who has not just asked for it."""

    def print_clock(self, on: bool) -> None:
        """Print each beat, from the next one on, or no longer."""


class ServerRequest(Context):
    """One command being carried out by its handler."""

    __slots__ = ()
    core: Parts

    @property
    def buffers(self) -> Buffers:
        """The tracks that it is about."""
        return self.core.buffers

    @property
    def voices(self) -> Voices:
        """The voices that play them."""
        return self.core.voices

    @property
    def mixer(self) -> Mixer:
        """The mixer it acts on."""
        return self.core.mixer
