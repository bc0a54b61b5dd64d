"""The request that handlers receive: one command, and the parts of the server it acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.control.clock.clock import BeatClock, FrameClock, Quantize
from crowdstream.control.clock.midi_ticks import MidiTicks
from crowdstream.control.decks.announcer import Announcer
from crowdstream.control.decks.channel_strip import ChannelStrips
from crowdstream.control.decks.deck_manager import RAMP_SECONDS, DeckManager
from crowdstream.control.decks.effects import Effects
from crowdstream.control.decks.live_inputs import LiveInputs
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.routing import Routing
from crowdstream.control.decks.sampler import Sampler
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.dj_client import DjClient
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request, RequestReporter
from crowdstream.control.load_shedding import LoadShedding
from crowdstream.control.opening_hours import OpeningHours
from crowdstream.control.peers.broadcasts import Broadcasts
from crowdstream.control.peers.jack_ports import JackPorts
from crowdstream.control.peers.lights import Lights
from crowdstream.control.peers.link import LinkSync
from crowdstream.control.peers.midi import Midi
from crowdstream.control.peers.rooms import Rooms
from crowdstream.control.processes.engine_pool import Done
from crowdstream.control.processes.recorder import RecorderClient
from crowdstream.control.publish.change_feed import ChangeFeed
from crowdstream.control.publish.event_log import EventLog
from crowdstream.control.publish.feedback import Feedback
from crowdstream.control.publish.meters import Meters
from crowdstream.control.publish.reply_ports import ReplyPorts
from crowdstream.control.publish.status import Status
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.control.replies import Replies
from crowdstream.control.scheduler import Entry, Scheduler
from crowdstream.control.settings_reload import Reloaded
from crowdstream.desk.block import Desk
from crowdstream.movement.follower import MovementFollower
from crowdstream.settings import Settings


class Parts(RequestReporter, Protocol):
    """The parts of the server that commands act on, as `Dispatcher` provides them."""

    settings: Settings
    desk: Desk
    engine_queue: EngineQueue
    beat_clock: BeatClock
    clock: FrameClock
    track_table: TrackTable
    voice_allocator: VoiceAllocator
    deck_manager: DeckManager
    channel_strips: ChannelStrips
    sampler: Sampler
    announcer: Announcer
    live_inputs: LiveInputs
    jack: JackPorts
    lights: Lights
    midi: Midi
    rooms: Rooms
    opening_hours: OpeningHours
    pitches: PitchSettings
    effects: Effects
    routing: Routing
    load_shedding: LoadShedding
    link: LinkSync
    quantize: Quantize
    follower: MovementFollower
    recordings: RecorderClient
    broadcasts: Broadcasts
    meters: Meters
    midi_ticks: MidiTicks
    scheduler: Scheduler
    replies: Replies
    subscribers: Subscribers
    changes: ChangeFeed
    feedback: Feedback
    events: EventLog
    status: Status
    dj: DjClient
    reply_ports: ReplyPorts
    base_bpm: float
    monotonic: Callable[[], float]
    resize: Callable[[int, Done, Callable[[str], None]], None]
    reload_settings: Callable[[Request], Reloaded]

    def set_tempo(
        self, request: Request, bpm: float, beats: float = 0.0, seconds: float = RAMP_SECONDS
    ) -> None:
        """Ramp the tempo to `bpm` over `beats` beats, or if that is 0, over `seconds`."""

    def reset_clock(self, request: Request) -> None:
        """Set beat 0 and time zero to the frame at which the command acts."""

    def wait_for_next(self, quantum: float, entry: Entry, now: int) -> None:
        """Schedule a message at the clock's next multiple of `quantum` beats."""

    def unsubscribe(self, sender: Any) -> None:
        """End all subscriptions of a sender."""

    def print_clock(self, on: bool) -> None:
        """Start printing beats, from the next one on, or stop."""


class ServerRequest(Request):
    """One command that its handler is carrying out."""

    __slots__ = ()
    core: Parts

    @property
    def track_table(self) -> TrackTable:
        """The loaded tracks."""
        return self.core.track_table

    @property
    def voice_allocator(self) -> VoiceAllocator:
        """The voices that play the tracks."""
        return self.core.voice_allocator

    @property
    def deck_manager(self) -> DeckManager:
        """The decks and mixer parameters."""
        return self.core.deck_manager
