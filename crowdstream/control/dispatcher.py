"""The dispatcher: from a received packet to commands in the desk, and back to replies.

It contains the whole server except for its processes, sockets and thread, so tests can drive it
block by block.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream import REPORT
from crowdstream.commands.errors import CommandError, Refused
from crowdstream.commands.patterns import PATTERN_COST, is_pattern
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Command, Place
from crowdstream.control.clock.clock import MAX_AHEAD, BeatClock, ClockUpdates, FrameClock, Quantize
from crowdstream.control.clock.midi_ticks import MidiTicks
from crowdstream.control.decks.announcer import Announcer
from crowdstream.control.decks.channel_strip import ChannelStrips
from crowdstream.control.decks.deck_manager import RAMP_SECONDS, DeckManager
from crowdstream.control.decks.effects import Effects
from crowdstream.control.decks.live_inputs import LiveInputs
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.routing import Routing
from crowdstream.control.decks.sampler import Sampler
from crowdstream.control.decks.track import first_buffer
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.dj_client import DjClient
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Reply, Request, discard_reply
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.load_shedding import LoadShedding
from crowdstream.control.opening_hours import OpeningHours
from crowdstream.control.peers.broadcasts import Broadcasts, check_broadcasts
from crowdstream.control.peers.jack_ports import JackPorts
from crowdstream.control.peers.lights import Lights
from crowdstream.control.peers.link import LinkSync
from crowdstream.control.peers.midi import MIDI_SENDER, Midi
from crowdstream.control.peers.rooms import Rooms
from crowdstream.control.processes.engine_pool import REASONS, Done
from crowdstream.control.processes.recorder import RecorderClient
from crowdstream.control.processes.storage_health import StorageHealth
from crowdstream.control.publish.change_feed import ChangeFeed
from crowdstream.control.publish.event_log import EventLog
from crowdstream.control.publish.event_sources import EventSources
from crowdstream.control.publish.feedback import Feedback
from crowdstream.control.publish.meters import Meters
from crowdstream.control.publish.reply_ports import ReplyPorts
from crowdstream.control.publish.state_view import StateView
from crowdstream.control.publish.status import Status
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.control.replies import Replies, once
from crowdstream.control.rooms.following import SENDER as ROOMS_SENDER
from crowdstream.control.scheduler import Entry, Scheduler
from crowdstream.control.settings_reload import Reloaded
from crowdstream.control.state.snapshotter import Snapshotter
from crowdstream.control.state.state_log import StateLog
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import OP_CLOCK
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.desk.rings import pop_events
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.logs.throttle import LineThrottle, LogBurstLimiter, print_line
from crowdstream.monitor.health import Processes
from crowdstream.movement.follower import MOVEMENT, MovementFollower
from crowdstream.movement.map_file import read_map
from crowdstream.opening_hours import Schedule, ScheduleError, read_schedule
from crowdstream.osc.acl import AllowList, is_local
from crowdstream.osc.codec import read
from crowdstream.osc.socket import ReplySocket
from crowdstream.settings import SettingError, Settings
from crowdstream.system.network_address import format_address
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

EVENTS_PER_READ = 512
TICK_SECONDS = 0.01  # between two ticks while something waits
REST_SECONDS = 0.2  # the same if nothing does
MAX_REASON = 1000  # characters: a reply is a single packet
MAX_ADDRESS = 200

Contents = TypeVar("Contents")


def no_device(_frames: int, _done: Done, _fail: Callable[[str], None]) -> None:
    """Refuse a change of the buffer size, because there is no sound device."""
    raise Refused("there is no sound device here: the buffer size can't be changed")


def no_source(_request: Request) -> Reloaded:
    """Refuse a reload, because this server's settings come from a program."""
    raise Refused("the program that runs this server has set its settings: set them there")


def _schedule_of(path: Path) -> Schedule:
    try:
        return read_schedule(path)
    except ScheduleError as error:
        raise SettingError(f"schedule: {error}") from None


class Dispatcher:
    """Carries out commands: clock, decks, effects and subscriptions of one server. For one thread.

    `monotonic` and `wall` are clocks in seconds, as `time.monotonic` and `time.time`.
    """

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        osc: ReplySocket,
        to_loader: Callable[[dict[str, Any]], None],
        info: StreamInfo,
        processes: Processes,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        notes: StateLog | None = None,
        tolerant: bool = False,
    ) -> None:
        """Set up all parts; raise `SettingError` for an invalid movement map or schedule.

        `notes`: the log in which all state is saved. If an earlier control process has saved state
        there, this one takes over a desk that is playing. `tolerant`: go on without a movement map
        or schedule that has become invalid; `unread` names it.
        """
        self.unread: list[str] = []
        self._tolerant = tolerant
        check_broadcasts(settings.broadcast)
        self.settings = settings
        self.desk = desk
        self.osc = osc
        self.replies = Replies(AllowList(settings.osc_allow, settings.osc_host), osc.answer)
        check = self.replies.check_subscription
        self.subscribers = Subscribers(monotonic, check)
        self.notify = self.subscribers.notify
        self.events = EventLog(self.notify, monotonic, wall)
        self.event_sources = EventSources(self)
        self.subscribers.listen(self.event_sources.on_notification)
        self.reply_ports = ReplyPorts(settings.port)
        self.changes = ChangeFeed(osc.answer_packet, monotonic, check)
        self.info = info
        self.processes = processes
        self.base_bpm = settings.base_bpm
        self.watch = settings.print_beats
        self.messages = 0
        self.failures = 0
        self.malformed = 0
        self.engine_readings: Callable[[], dict[str, Any]] = dict
        self.resize: Callable[[int, Done, Callable[[str], None]], None] = no_device
        self.reload_settings: Callable[[Request], Reloaded] = no_source
        self.monotonic = monotonic
        self.follower = MovementFollower(
            self._read(settings.movement_map, lambda path: read_map(path, self.base_bpm))
        )
        self.dj = DjClient(self)
        self.beat_clock = BeatClock(desk.sample_rate, settings.base_bpm, settings.meter)
        if notes is None or not notes.values:
            desk.set_tempo(self.base_bpm)
        self.clock = FrameClock(desk, monotonic, wall)
        self.engine_queue = EngineQueue(desk)
        self.voice_allocator = VoiceAllocator(desk, self.engine_queue, self.notify, monotonic)
        self.track_table = TrackTable(
            desk, self.voice_allocator, to_loader, self.notify, monotonic, settings.media_root
        )
        self.pitches = PitchSettings(self.engine_queue, to_loader, desk.sample_rate)
        self.deck_manager = DeckManager(
            desk,
            self.engine_queue,
            self.beat_clock,
            self.track_table,
            self.voice_allocator,
            self.pitches,
            monotonic,
        )
        self.sampler = Sampler(
            desk, self.engine_queue, self.track_table, self.voice_allocator, self.deck_manager
        )
        self.announcer = Announcer(
            desk, self.track_table, self.deck_manager, self.notify,
            lambda: ServerRequest(self, "/announce"),
        )
        self.live_inputs = LiveInputs(
            desk, self.engine_queue, self.deck_manager, self.notify, self.events.report,
            lambda: ServerRequest(self, "guard"),
        )
        self.jack = JackPorts(
            desk, settings.jack_ports, settings.jack_transport, len(settings.input),
            self.events.report, self._roll, self._follow_tempo,
        )
        self.lights = Lights(
            desk, self.beat_clock, self.voice_allocator, self.notify, self.events.report
        )
        self.midi = Midi(
            self._perform_midi, self._subscribe_midi, self.notify, self.events.report,
            lambda: self.beat_clock.meter, self._jump_idle_clock,
        )
        self.storage_health = StorageHealth(desk, processes, self.notify, monotonic)
        self.meters = Meters(desk)
        self.channel_strips = ChannelStrips(
            desk, self.engine_queue, self.deck_manager, self.track_table, settings.target_lufs
        )
        self.recordings = RecorderClient(desk, self.notify)
        self.opening_hours = OpeningHours(
            self, self._read(settings.schedule, _schedule_of),
            lambda: ServerRequest(self, "schedule"),
        )
        self.recordings.report = self.events.report
        self.broadcasts = Broadcasts(
            desk, self.voice_allocator, self.notify, self.events.report, monotonic,
            settings.broadcast_ca,
        )
        self.effects = Effects(desk, self.engine_queue)
        self.routing = Routing(desk)
        self.load_shedding = LoadShedding(desk, self.engine_queue, self.notify)
        self.status = Status(self)
        self.quantize = Quantize()
        self.scheduler = Scheduler(self)
        self.feedback = Feedback(self)
        self.rooms = Rooms(
            self, settings, StateView(self).values,
            lambda sender, frame, now, beat: ServerRequest(
                self, "rooms", discard_reply, sender, frame, now, beat
            ),
            self.notify, self.events.report,
        )
        self.link = LinkSync(self, settings.link, self.notify, self.events.report)
        self.midi_ticks = MidiTicks(desk, self.beat_clock, self.clock, monotonic, self.reply_to)
        self.subscribers.on_removed = self.midi_ticks.forget
        self._quiet = LineThrottle(monotonic)
        self._burst = LogBurstLimiter(monotonic)
        self._last_beat = -1
        self._ticked = 0.0
        self.restarts = 0  # of control
        self.state_changed = False  # state may have changed and has to be saved
        self.snapshotter = Snapshotter(self, notes) if notes is not None else None
        # None: unknown; an earlier control may have notified subscribers of either state.
        self._device_there: bool | None = True

    def _read(self, path: Path | None, read: Callable[[Path], Contents]) -> Contents | None:
        # The contents of a file that the settings name.
        if path is None:
            return None
        try:
            return read(path)
        except SettingError as error:
            if not self._tolerant:
                raise
            self.unread.append(
                f"{error}: the server plays on without it; correct it and reload the settings"
            )
            return None

    # The engine ------------------------------------------------------------------------

    def engine_changed(self, info: StreamInfo, why: str) -> None:
        """Handle a change of the playing engine, whose stream is `info`.

        `why` is a key of `engine_pool.REASONS`.
        """
        self.info = info
        self._save_engines()
        self.clock.reset_estimate()
        if why in ("resized", "upgraded"):
            gap = int(self.desk.lease["silence_ns"]) / 1e6
            what = REASONS[why]
            if why == "resized":
                what = f"the buffer size is now {info.buffer_size}"
            log.info("%s, after %.1f ms of silence", what, gap)
        else:
            gap = int(self.desk.lease["gap_ns"]) / 1e6 if why != "found" else 0.0
            log.warning(
                "%s: another engine plays on %s; %.1f ms were lost", REASONS[why], info.device, gap
            )
        if info.note:
            log.warning("%s", info.note)
        self.jack.stream_changed(info)
        self.notify("/engine", why, gap, info.driver, info.device)
        if why in ("device", "found"):
            self.notify_device(why == "found")

    def device_lost(self, why: str) -> None:
        """Handle the loss of the sound device; playback stops until it is back."""
        self._save_engines()
        log.warning("%s: playback is interrupted until it is back", REASONS[why])
        self.notify_device(False)

    def _save_engines(self) -> None:
        # At once: the engine's message has been read. A successor of this process that did not know
        # of a loss would neither search for the device nor report its return.
        if self.snapshotter:
            self.snapshotter.save()
        self.state_changed = True

    def notify_device(self, there: bool) -> None:
        """Notify subscribers whether there is a sound device, if this has changed."""
        if there != self._device_there:
            self._device_there = there
            self.notify("/device", int(there))

    def adopted(self) -> None:
        """Take over from an earlier control: report the device state to subscribers once more."""
        self._device_there = None

    def restarted(self, what: str, times: int) -> None:
        """Notify subscribers that this control replaces one that has died, for the n-th time."""
        self.restarts = times
        self.notify("/restarted", what)

    def _roll(self, rolling: bool) -> None:
        # The JACK transport has started or stopped.
        command = "play" if rolling else "stop"
        batch: list[Entry] = []
        for deck, letter in enumerate(DECK_LETTERS):
            track = self.status.track_of(deck)
            if track is not None and track.sounding != rolling and track.state == "ready":
                batch.append((f"/deck/{letter}/{command}", (), discard_reply, None))
        self.perform(batch)

    def _follow_tempo(self, bpm: float) -> None:
        self.perform([("/clock/tempo", (bpm,), discard_reply, None)])

    # Messages --------------------------------------------------------------------------

    def handle_packet(self, packet: bytes, sender: Any) -> None:
        """Handle a received packet: carry out or schedule its messages, and reply to `sender`."""
        sender = self.reply_ports.address_of(sender)
        reply = self.replies.to(packet, sender)
        self.subscribers.mark_alive(sender)
        self.changes.watchers.mark_alive(sender)
        self.feedback.subscribers.mark_alive(sender)
        self.meters.mark_alive(sender, self.monotonic())
        self.state_changed = True
        messages, faults = read(packet)
        for fault in faults:
            self.malformed += 1
            self._log_failure(sender, fault.address, fault.reason, kind="?")
            reply("/fail", fault.address, fault.reason)
        batches: dict[float | None, list[Entry]] = {}
        for moment, message in messages:
            batches.setdefault(moment, []).append((*message, reply, sender))
        for moment, batch in batches.items():
            if moment is None:
                self.perform(batch)
            else:
                self.scheduler.schedule(moment, batch)

    def reply_to(self, sender: Any) -> Reply:
        """Return a reply function for a sender without a packet at hand; trusted senders only."""
        if is_local(sender) or not self.replies.trusts(sender):
            return discard_reply
        return partial(self.osc.answer, sender)

    def unsubscribe(self, sender: Any) -> None:
        """End all subscriptions of a sender."""
        self.subscribers.remove(sender)
        self.changes.watchers.remove(sender)
        self.feedback.unsubscribe(sender)
        self.meters.unsubscribe(sender)
        self.midi_ticks.forget(sender)

    def allow_senders(self, networks: Sequence[str]) -> None:
        """Trust the senders of these networks, and end the subscriptions of all others."""
        self.replies.allow(networks)
        subscribed = [
            sender
            for one in (self.subscribers, self.changes.watchers, self.feedback.subscribers)
            for sender, _reply in one.replies()
        ]
        for sender in {*subscribed, *self.meters.senders(), *self.midi_ticks.senders()}:
            if not self.replies.trusts(sender):
                self.unsubscribe(sender)
        self.dj.check_trust()

    def perform(
        self,
        batch: Sequence[Entry],
        frame: int = 0,
        beat: float | None = None,
        now: int | None = None,
    ) -> None:
        """Carry out messages that belong together, at `frame` (0: immediately).

        They are published to the engine together, so they act on the same frame. With `beat` they
        act at that beat of the clock, and `frame` is its expected frame. `now`: the frame of their
        arrival, by default the present one.
        """
        now = self.clock.now() if now is None else now
        self.state_changed = True
        for entry in batch:
            if beat is None:
                self.messages += 1
            try:
                self._perform(entry, frame, now, beat)
            except CommandError as error:
                ServerRequest(self, entry[0], entry[2], entry[3], frame, now, beat).fail(str(error))
            except Exception as error:
                self._internal_error(ServerRequest(self, entry[0], entry[2], entry[3]), error)
        self.engine_queue.flush()

    def _perform(self, entry: Entry, frame: int, now: int, beat: float | None) -> None:
        # One message. Raises `CommandError` for errors found before anything is carried out.
        address, arguments, reply, sender = entry
        movement = self.follower.reading(address, arguments, self.monotonic)
        if movement is not None:
            found, arguments = TABLE.find_all(MOVEMENT), (movement,)
        else:
            if is_pattern(address):
                self.replies.check_matches(sender, PATTERN_COST, self.monotonic())
            found = TABLE.find_all(address)
            if address == MOVEMENT and self.follower.ignores_total:
                found[0][0].bind(arguments)
                return
        if len(found) > 1:
            self.replies.check_matches(sender, len(found), self.monotonic())
            reply = once(reply)
        bound: list[tuple[Command, Place, dict[str, Any], int, Request]] = []
        for command, place in found:
            request = ServerRequest(self, address, reply, sender, frame, now, beat)
            try:
                # A local caller and a leader are no buttons: their values are arguments.
                called = sender in (None, ROOMS_SENDER)
                pressed = arguments if called else command.pressed(arguments)
                if pressed is not None:
                    values = command.bind(pressed)
                    bound.append((command, place, values, len(pressed), request))
            except CommandError as error:
                request.fail(str(error))
                self.feedback.failed(sender, command.address_at(place))
        if not frame and self._wait_for_beat(bound, entry, now):
            return
        if self.rooms.leads:
            frame = self.rooms.stamp(bound, frame, beat, now)
            for one in bound:
                one[4].frame = frame
        if len(bound) == 1:
            self._carry_out(*bound[0])
            return
        with self.deck_manager.together():
            for one in bound:
                self._carry_out(*one)

    def _carry_out(
        self, command: Command, place: Place, values: dict[str, Any], count: int, request: Request
    ) -> None:
        mark = self.engine_queue.mark()
        try:
            if not command.control_only:
                self.engine_queue.require()
            command.handler(request, **place, **values)
        except CommandError as error:
            self.engine_queue.rollback(mark)
            request.fail(str(error))
        except Exception as error:
            self.engine_queue.rollback(mark)
            self._internal_error(request, error)
        if request.failures:
            self.feedback.failed(request.sender, command.address_at(place))
            return
        self.changes.record(command, place, values, count)
        self.feedback.record(command, place, values, request.sender)

    @staticmethod
    def _internal_error(request: Request, error: Exception) -> None:
        log.exception("internal error in %.80s", printable(request.address))
        request.fail(f"internal error ({type(error).__name__}): {REPORT}")

    def _wait_for_beat(self, bound: Sequence[Any], entry: Entry, now: int) -> bool:
        # Schedules a quantized message for its beat, and returns whether it did. All commands of a
        # pattern wait together, for the longest of their quanta. A `start_at` takes precedence.
        # Raises `Refused`.
        quantum = 0.0
        for command, place, values, _count, _context in bound:
            if command.quantized and not values.get("start_at", 0.0) > 0.0:
                own = self.quantize.beats_at(place, self.beat_clock.meter)
                quantum = max(quantum, own)
        if quantum:
            self.wait_for_next(quantum, entry, now)
        return quantum > 0.0

    def wait_for_next(self, quantum: float, entry: Entry, now: int) -> None:
        """Schedule a message at the clock's next multiple of `quantum` beats.

        Raises `Refused` if too many messages are scheduled.
        """
        earliest = now + int(self.desk.header["block_frames"])  # frame that can still be met
        self.scheduler.schedule_at_beat(self.beat_clock.next_beat(quantum, earliest), entry)

    def failed(self, request: Request, reason: str) -> None:
        """Count a failed command, log it and send its sender `/fail`."""
        self.failures += 1
        self._log_failure(request.sender, request.address, reason)
        address = request.address[:MAX_ADDRESS]
        request.reply("/fail", address, reason[:MAX_REASON])

    def notify_late(self, request: Request, seconds: float) -> None:
        """Log that a command acted late, and send its sender `/late`."""
        data = {"address": printable(request.address), "late_ms": seconds * 1000}
        self._quiet.log(
            partial(log.warning, extra={"data": data}), "late", "%.80s was %.1f ms late",
            printable(request.address), seconds * 1000,
        )
        request.reply("/late", request.address, seconds)

    def _log_failure(
        self, sender: Any, address: str, reason: str, kind: str | None = None
    ) -> None:
        # Failures without a remote sender (settings, the Python object) are always logged.
        if sender and not self._burst.allows(kind or address):
            return
        origin = f" from {format_address(sender)}" if sender else ""
        data = {"address": printable(address)[:80], "sender": origin.removeprefix(" from ")}
        log.warning(
            "%.80s%s: %.300s", printable(address), origin, printable(reason), extra={"data": data}
        )

    def _log_left_out(self) -> None:
        count = self._burst.take_dropped()
        if count:
            log.warning("%d more failure%s not logged", count, "s were" if count > 1 else " was")

    # Periodic work -----------------------------------------------------------------------

    def apply_settings(self) -> None:
        """Apply the settings at the start: limiter, load shedding, tempo, levels, tracks."""
        settings = self.settings
        starter = ServerRequest(self, "start", discard_reply)
        self.channel_strips.apply_settings(starter, settings)
        self.load_shedding.apply_settings(starter, settings)
        self.live_inputs.apply_settings(starter)
        self.broadcasts.set_configured(settings.broadcast)
        self.lights.set_targets(settings.lights)
        self.lights.set_lead(settings.lights_lead)
        self._apply_midi(settings)
        if settings.bpm != settings.base_bpm:
            self.perform([("/set_tempo", (settings.bpm,), discard_reply, None)])
        for deck, level in enumerate(settings.levels):
            self.deck_manager.ramp(starter, deck_level_ramp(deck), level, 0.0)
        paths = (settings.deck_a, settings.deck_b, settings.deck_c, settings.deck_d)
        for deck, path in enumerate(paths):
            if path is not None:
                letter = DECK_LETTERS[deck]
                source = f"deck {letter} (--deck-{letter.lower()})"
                starter = ServerRequest(self, source, discard_reply)
                try:
                    self.track_table.load(starter, first_buffer(deck), str(path))
                except CommandError as error:
                    starter.fail(str(error))
        self.engine_queue.flush()

    def _apply_midi(self, settings: Settings) -> None:
        starter = ServerRequest(self, "MIDI", discard_reply)
        for values in (
            {"clock": settings.midi_clock or "", "follow": settings.midi_follow or ""},
            {"maps": settings.midi_map}, {"api": settings.midi_api},
        ):
            try:
                self.midi.configure(**values)
            except CommandError as error:
                starter.fail(str(error))

    def _perform_midi(self, address: str, arguments: tuple[Any, ...]) -> None:
        self.perform([(address, arguments, discard_reply, MIDI_SENDER)])

    def _jump_idle_clock(self, beats: float) -> None:
        if self.deck_manager.speeds(self.beat_clock.bpm, self.base_bpm):
            return
        frame = self.clock.now() + int(self.desk.header["block_frames"])
        if not self.beat_clock.full(self.desk.frame):
            self.publish_clock(self.beat_clock.jump(beats, frame, self.desk.frame))

    def _subscribe_midi(self, addresses: tuple[str, ...], reply: Reply) -> None:
        self.feedback.unsubscribe(MIDI_SENDER)
        if addresses:
            request = ServerRequest(self, "/feedback", reply, MIDI_SENDER)
            self.feedback.subscribe(request, True, addresses)

    def tick(self) -> None:
        """Do all periodic work: engine events, scheduled messages, ticks and subscriptions.

        Call it when it is `due`, or earlier.
        """
        self._ticked = self.monotonic()
        self.clock.read()
        self.engine_events()
        self.scheduler.release()
        self.opening_hours.tick()
        self.announcer.tick()
        self.deck_manager.tick()
        self.recordings.tick()
        self.broadcasts.tick()
        self.lights.tick()
        self.midi_ticks.send()
        self.meters.tick(self.monotonic())
        self.changes.tick()
        self.feedback.tick()
        self.dj.tick()
        self.link.tick()
        self.rooms.tick()
        self.event_sources.tick()
        self.engine_queue.flush()  # tempo changes must not wait for the next tick
        self._log_left_out()
        if self.watch:
            self._print_beat()

    def due(self, wanted: float = math.inf) -> float:
        """Return when the next `tick` is due (monotonic seconds).

        Every `REST_SECONDS`, and more often only while there is a reason; `wanted` is the time at
        which the caller has one.
        """
        if (
            self.deck_manager.busy or self.engine_queue.waiting or self.announcer.active
            or self.recordings.pending or self.watch
        ):
            return self._ticked + TICK_SECONDS
        wanted = min(
            wanted, self.scheduler.due(), self.meters.due(), self.changes.due(),
            self.feedback.due(), self.link.due(), self.rooms.due(),
        )
        # Not at once: work that can't be done yet must not keep the processor busy.
        return min(max(wanted, self._ticked + TICK_SECONDS), self._ticked + REST_SECONDS)

    def engine_events(self) -> None:
        """Handle the engine's events, and publish the commands that result from them.

        This includes those that messages of other processes have led to, such as the mute of an
        input that feeds back.
        """
        events = pop_events(self.desk, EVENTS_PER_READ)
        while len(events):
            self.state_changed = True
            self.voice_allocator.engine_events(events)
            self.effects.engine_events(events)
            self.load_shedding.engine_events(events)
            events = pop_events(self.desk, EVENTS_PER_READ)
        self.engine_queue.flush()

    def loader_event(self, event: dict[str, Any]) -> None:
        """Handle an event from the loader."""
        self.state_changed = True
        if event["event"] == "inventory" and self.snapshotter:
            self.snapshotter.inventory(event)
        elif not self.storage_health.event(event):
            self.track_table.loader_event(event)
            if event["event"] == "loudness":
                self.channel_strips.follow_loudness(ServerRequest(self, "autotrim", discard_reply))
            self.deck_manager.tick()

    def _print_beat(self) -> None:
        beat = self.beat_clock.beat(self.desk.frame)
        if math.floor(beat) != self._last_beat and beat >= 0:
            self._last_beat = math.floor(beat)
            bar, number = divmod(self._last_beat, self.beat_clock.meter)
            print_line(
                f"bar {bar + 1} beat {number + 1} phase {beat % 1:.3f} "
                f"{self.beat_clock.bpm_at(self.desk.frame):.2f} bpm"
            )

    def print_clock(self, on: bool) -> None:
        """Start printing beats, from the next one on, or stop."""
        if on and not self.watch:
            # A beat that begins right now counts as the next one.
            self._last_beat = math.ceil(self.beat_clock.beat(self.desk.frame)) - 1
        self.watch = on

    # The clock -----------------------------------------------------------------------------

    def set_tempo(
        self, request: Request, bpm: float, beats: float = 0.0, seconds: float = RAMP_SECONDS
    ) -> None:
        """Ramp the tempo to `bpm` over `beats` beats, or if that is 0, over `seconds`.

        Decks that are not synced follow at `bpm / base_bpm`. Raises `Refused` if too many changes
        of the clock are pending, or if the clock follows a Link session.
        """
        if self.link.take_tempo(request, bpm):
            return
        if self.beat_clock.full(self.desk.frame):
            raise Refused(f"{MAX_AHEAD} tempo changes are pending already: send this one later")
        # An immediate change also needs a definite frame.
        frame = request.frame or request.now + int(self.desk.header["block_frames"])
        frames = 0 if beats else round(seconds * self.desk.sample_rate)
        updates = self.beat_clock.set_tempo(
            bpm, frame, self.desk.frame, frames=frames, beats=beats, beat=request.beat
        )
        self.link.clock_changed()
        self.publish_clock(updates, request)

    def reset_clock(self, request: Request) -> None:
        """Set beat 0 and time zero to the frame at which the command acts.

        Raises `Refused` as `set_tempo` does.
        """
        if self.beat_clock.full(self.desk.frame):
            raise Refused(f"{MAX_AHEAD} tempo changes are pending already: send this one later")
        updates = self.beat_clock.reset(request.frame or request.now, self.desk.frame)
        self.link.clock_changed()
        # An immediate reset is not late, even if the frame of its arrival is already rendered.
        self.publish_clock(updates, request if request.frame else None)

    def publish_clock(self, updates: ClockUpdates, request: Request | None = None) -> None:
        """Send segments of the beat clock to the engine, so that its clock runs as control's."""
        for frame, segment in updates:
            own = request is not None and frame == request.frame
            self.engine_queue.add(
                OP_CLOCK, request if own else None, start=segment.frame,
                frame=frame if own or frame > self.desk.frame else 0,
                x=segment.beat, y=segment.rate, z=segment.end, loop_out=segment.frames,
                fixed=True,
            )
        self.deck_manager.retime()
        self.rooms.clock_changed()
