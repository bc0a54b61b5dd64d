"""Keep the clock in phase with an Ableton Link session, or lead the session.

The Link process (`crowdstream/link/main.py`) reports the session's timeline on the monotonic
clock. A frame is audible one output latency after it is rendered, so the clock's beat at a frame is
compared with the session's beat at the time at which that frame is audible. Decks that are synced
follow the clock exactly; the clock is steered by small changes of its tempo, and never jumps while
a deck plays.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crowdstream.commands.errors import CommandError, NotLoaded, Refused
from crowdstream.commands.registry import DECK_LETTERS
from crowdstream.control.clock.clock import BeatClock, ClockUpdates, FrameClock
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.request import Request, discard_reply
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import LINK_MODULE, ForkServer
from crowdstream.control.processes.supervised import Process, SupervisedProcess
from crowdstream.control.scheduler import Entry, Scheduler
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import MAX_RATE, MIN_RATE
from crowdstream.logs.throttle import LineThrottle
from crowdstream.system.restart_policy import RestartPolicy
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

NAME = "link"  # under which the process is kept for a successor of control

MODES = ("follower", "leader", "peer")
MIN_SESSION_BPM, MAX_SESSION_BPM = 20.0, 999.0  # Link's own range
MIN_BPM, MAX_BPM = 20.0, 400.0  # range of the clock
OCTAVES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5)  # halvings of the session's tempo, in order of choice

STEP_SECONDS = 0.1  # between two corrections while the clock is not in phase
CORRECTION_SECONDS = 0.2  # time constant with which a deviation is corrected
MAX_CORRECTION = 0.04  # of the tempo, to correct the phase: what a DJ's pitch bend does
CORRECTIONS = (-MAX_CORRECTION, 0.0, MAX_CORRECTION)
MAX_SLEW = 0.05  # of the tempo per second, on the way to the tempo of a session that was joined
# A step of the session's tempo is noticed late. That is made up for by as large a step beyond the
# new tempo, if that is more than `MAX_CORRECTION`: the tempo of the music changes anyway.
CATCH_UP_SECONDS = 0.5
MAX_CATCH_UP = 0.5  # of the tempo
LOCK_SECONDS = 0.001  # deviation from which on the clock counts as in phase
UNLOCK_SECONDS = 0.02  # larger deviations count as out of phase
START_SECONDS = 0.00025  # deviation at which a correction begins ...
END_SECONDS = 0.00005  # ... and at which it ends: in between, the tempo is exactly the session's
JUMP_SECONDS = 0.02  # smaller deviations are corrected by tempo even if nothing plays
TEMPO_SECONDS = 0.02  # ramp of a tempo change of a session that the clock is in phase with
SAME_BPM = 1e-6  # relative difference of equal tempi: Link rounds to a microsecond per beat
LEAD_SECONDS = 0.0005  # deviation of the session at which the leader sets its timeline again
FOREIGN_SECONDS = 0.005  # a deviation larger than that was made by another peer
MERGE_SECONDS = 2.0  # within which the peers of a session that was joined are known
CONTEST_SECONDS = 30.0  # without such a change, after which no other peer wants to lead any more
LEAD_BPM = 3e-6  # relative difference of tempi at which it does
SILENT_SECONDS = 5.0  # without a report, after which the Link process counts as hung
MAX_START_SECONDS = 60.0  # until a start or stop: peers command them for now or the next bar
NEAR_BAR = 1e-3  # beats: a start this little after a bar's beginning counts as on it


@dataclass(frozen=True)
class Timeline:
    """A session's beats: `beat` at monotonic time `at` (s), then `bpm` beats per minute."""

    at: float
    beat: float
    bpm: float

    def beat_at(self, at: float) -> float:
        """Return the session's beat at a monotonic time."""
        return self.beat + (at - self.at) * self.bpm / 60.0


def shortest(beats: float, quantum: float) -> float:
    """Return the shortest distance that equals `beats` modulo `quantum`."""
    return beats - quantum * round(beats / quantum)


def octave_of(bpm: float, playable: Callable[[float], bool]) -> int | None:
    """Return how often a session's tempo is halved (negative: doubled) to be playable.

    The smallest number of octaves is chosen, and of two equal ones the halving. None: no octave is
    playable.
    """
    return next((octave for octave in OCTAVES if playable(bpm * 2.0**-octave)), None)


class LinkPeer(Protocol):
    """The Link process, as `SupervisedProcess` provides it."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message, if the process runs."""

    def enable(self, on: bool) -> None:
        """Start the process soon, or stop it."""

    def kill(self) -> None:
        """Kill the process, which hangs; it is restarted."""


class Host(Protocol):
    """The parts of the server that Link acts on, as `Dispatcher` provides them."""

    desk: Desk
    clock: FrameClock
    beat_clock: BeatClock
    deck_manager: DeckManager
    track_table: TrackTable
    voice_allocator: VoiceAllocator
    scheduler: Scheduler
    base_bpm: float
    monotonic: Callable[[], float]

    def publish_clock(self, updates: ClockUpdates, request: Request | None = None) -> None:
        """Send segments of the beat clock to the engine."""

    def perform(
        self, batch: Sequence[Entry], frame: int = 0, beat: float | None = None
    ) -> None:
        """Carry out messages that belong together, at `frame` (0: immediately)."""


class LinkSync:
    """Steers the clock by a Link session, or the session by the clock. For the control thread.

    A **follower** takes tempo and phase from the session. A **leader** sets both. A **peer** takes
    both, and sends its own tempo commands to the session. Without other peers all of them lead:
    there is nobody to follow, and a peer that joins later finds the clock's tempo.
    """

    def __init__(
        self,
        core: Host,
        mode: str,
        notify: Callable[..., None],
        report: Callable[[str, str], None],
    ) -> None:
        """`mode`: one of `MODES`, or "off". `notify` and `report` send and log events."""
        self._core = core
        self._notify = notify
        self._report = report
        self._quiet = LineThrottle(core.monotonic)
        self._process: LinkPeer | None = None
        self.enabled = mode != "off"
        self.mode = mode if self.enabled else MODES[0]
        self.start_stop = False
        self.offset = 0.0  # s, of the output latency beyond what the device reports
        self.decks = "".join(DECK_LETTERS)
        self.faults = 0
        """Unusable reports of the session and losses of the Link process."""
        self._notified: tuple[Any, ...] = ()
        self._reset()

    def _reset(self) -> None:
        self.reason = ""
        self.peers = 0
        self.playing = False
        self.deviation = 0.0  # s; positive: the session is ahead of the clock
        self._timeline: Timeline | None = None
        self._heard_at = 0.0
        self.octave = 0  # how often the session's tempo is halved; negative: doubled
        self._locked = self._correcting = False
        self._arrived = False  # at the tempo of a session that was joined
        self._target = 0.0  # tempo without corrections, BPM
        self._catch_up, self._catch_up_until = 0.0, 0.0
        self._unplayable = self._absurd = False
        self._step_at = self._stepped = 0.0
        self._own_change = False
        self._hold_until = 0.0
        self._contested = False
        self._override_at = self._overridden_at = 0.0
        self._overrides = RestartPolicy(0.5, 8.0, settled=CONTEST_SECONDS)
        self._sent_playing: bool | None = None
        self._sent_quantum = 0.0

    # Commands ----------------------------------------------------------------------------

    def attach(self, process: LinkPeer) -> None:
        """Use the Link process; without one, as in an offline mix, nothing is followed."""
        self._process = process

    def enable(self, on: bool) -> None:
        """Join the session, or leave it; the clock keeps its tempo and its phase."""
        if on == self.enabled:
            return
        self._end_correction()
        self.enabled = on
        self._reset()
        if self._process is not None:
            self._process.enable(on)
        self._notify_state()

    def set_mode(self, mode: str) -> None:
        """Follow the session, lead it, or both; see the class."""
        if mode == self.mode:
            return
        self._end_correction()
        self.mode = mode
        self.octave, self._locked, self._contested = 0, False, False
        self._arrived = False
        self._sent_playing = None
        self._choose_octave()
        self.clock_changed()
        self._notify_state()

    def set_start_stop(self, on: bool, decks: str) -> None:
        """Share starts and stops with the session; those of the session apply to `decks`."""
        self.start_stop, self.decks = on, decks
        self._sent_playing = None
        self._send_settings()

    def set_offset(self, seconds: float) -> None:
        """Set by how much the output is heard later than the device reports."""
        self.offset = seconds
        self.clock_changed()

    def _audible_at(self, frame: float) -> float | None:
        at = self._core.clock.audible_at(frame)
        return None if at is None else at + self.offset

    def _audible_frame(self, at: float) -> float:
        return self._core.clock.audible_frame(at - self.offset)

    def take_tempo(self, request: Request, bpm: float) -> bool:
        """Handle a tempo command; return False if it is for the clock itself.

        A peer sends it to the session. Raises `Refused` for a follower.
        """
        if not self.following:
            return False
        if self.mode == "follower":
            raise Refused(
                "the clock follows a Link session: change the tempo there, or send "
                "/link/mode peer, /link/mode leader or /link/enable 0"
            )
        at = self._audible_at(request.frame) if request.frame else None
        self._send("tempo", at=at or self._core.monotonic(), bpm=self._session_bpm(bpm))
        return True

    def clock_changed(self) -> None:
        """The clock was changed by a command: a leader sets the session's timeline soon."""
        self._own_change = True
        self._step_at = 0.0

    # The Link process ------------------------------------------------------------------------

    def own_timeline(self) -> dict[str, float]:
        """Return the clock's timeline, at which a new Link process begins: at, beat and bpm."""
        now = self._core.monotonic()
        frame, beats = self._audible_frame(now), self._core.beat_clock
        return {"at": now, "beat": beats.beat(frame), "bpm": beats.bpm_at(frame)}

    def started(self) -> None:
        """A new Link process runs: send it the settings."""
        self._send_settings()
        self._sent_playing = None

    def lost(self, reason: str) -> None:
        """The Link process does not run, or has no library; the clock runs on."""
        if self.reason == reason or not self.enabled:
            return
        self._end_correction()
        self._reset()
        self.reason = printable(reason)
        self._fault(f"not available: {self.reason}")
        self._notify_state()

    def handle(self, message: Mapping[str, Any]) -> None:
        """Handle a message of the Link process."""
        if message["event"] == "lost":
            self.lost(str(message["reason"]))
        elif self.enabled:
            self._take_session(message)

    def _take_session(self, message: Mapping[str, Any]) -> None:
        values = [float(message[name]) for name in ("at", "beat", "bpm", "play_at")]
        at, beat, bpm, play_at = values
        usable = all(map(math.isfinite, values))
        if not usable or not MIN_SESSION_BPM <= bpm <= MAX_SESSION_BPM:
            self._ignore(bpm)
            return
        self._absurd = False
        self._heard_at, self.reason = self._core.monotonic(), ""
        before, self._timeline = self._timeline, Timeline(at, beat, bpm)
        octave = self.octave
        peers = int(message["peers"])
        joined = peers > 0 and self.peers == 0
        if (peers > 0) != (self.peers > 0):
            self._peers_changed(peers)
        self.peers = peers
        if before is None or before.bpm != bpm or joined:
            self._choose_octave()
            self._step_at = 0.0
            if before is not None:
                ratio = before.bpm * 2.0**-octave / (bpm * 2.0**-self.octave)
                self._catch_up = min(MAX_CATCH_UP, abs(ratio - 1.0))
                self._catch_up_until = self._core.monotonic() + CATCH_UP_SECONDS
        elif abs(before.beat_at(at) - beat) * 60.0 / bpm > LOCK_SECONDS:
            self._step_at = 0.0
        # A session that plays already when it is joined starts no deck.
        playing, changed = bool(message["playing"]), bool(message["playing"]) != self.playing
        self.playing = playing
        if changed and self.following and self.start_stop and not joined:
            self._transport(playing, play_at)
        self._notify_state()
        self.tick()

    def _fault(self, text: str) -> None:
        # A peer may cause faults as often as it likes; both logs limit how often they are listed.
        self.faults += 1
        self._quiet.log(log.warning, "fault", "Link: %s", text)
        self._report("link", f"Link: {text}")

    def _ignore(self, bpm: float) -> None:
        self._end_correction()
        self._timeline = None
        self._locked = False
        if self._absurd:
            self.faults += 1
            return
        self._absurd = True
        self._fault(f"the session's tempo of {bpm:g} BPM is ignored, the clock runs on")

    def _peers_changed(self, peers: int) -> None:
        self._end_correction()
        self._locked = self._correcting = self._arrived = False
        self._step_at = 0.0
        self._overrides.reset()
        self._own_change = peers > 0  # a leader imposes its own timeline
        self._hold_until = 0.0
        if peers:
            text = f"Link: connected to {peers} other {'peer' if peers == 1 else 'peers'}"
        else:
            text = "Link: no other peers are left; the clock runs on at its tempo"
        self._quiet.log(log.info, "peers", "%s", text)
        self._report("link_peers", text)
        self.peers = peers
        self._notify_state()

    def _send(self, what: str, **values: Any) -> None:
        if self._process is not None:
            self._process.send({"do": what, **values})

    def _send_settings(self) -> None:
        self._send("settings", quantum=self._quantum(), start_stop=self.start_stop)
        self._sent_quantum = self._quantum()

    def _notify_state(self) -> None:
        if self._notified != (self.state, self.mode, self.peers):
            self._notified = self.state, self.mode, self.peers
            self._notify("/link", *self._notified, self.session_bpm)

    # Steering ----------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """Whether the clock takes tempo and phase from a session."""
        return (
            self.enabled and self.mode != "leader" and self.peers > 0
            and self._timeline is not None and not self._unplayable
        )

    @property
    def session_bpm(self) -> float:
        """Tempo of the session; 0 if none is known."""
        return self._timeline.bpm if self._timeline else 0.0

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity if it can wait."""
        if not self.enabled or self._timeline is None or self._process is None:
            return math.inf
        return self._step_at

    def tick(self) -> None:
        """Correct the clock, or the session, if it is time to."""
        if not self.enabled or self._timeline is None:
            return
        now = self._core.monotonic()
        if now > self._heard_at + SILENT_SECONDS:
            self.lost("its process does not answer")
            if self._process is not None:
                self._process.kill()
            return
        if now < self._step_at:
            return
        if self._sent_quantum != self._quantum():
            self._send_settings()
        # Without a reason to look again, the next tick of the loop is early enough.
        self._step_at = math.inf
        before = self.state
        if self._unplayable:  # until other tracks play
            self._choose_octave()
        if self.following:
            self._follow(self._timeline, now)
        elif self.peers == 0 or self.mode == "leader":
            self._lead(self._timeline, now)
        self._stepped = now
        if self.state != before:
            self._notify_state()
        if self._step_at == math.inf:
            self._step_at = now + 2 * STEP_SECONDS

    def _quantum(self) -> float:
        # Link's quantum is a bar, as everywhere in Link: the phase within it is shared.
        return float(self._core.beat_clock.meter)

    def _playable(self, bpm: float) -> bool:
        core = self._core
        speeds = [bpm / core.base_bpm]
        speeds += [speed for _, _, speed in core.deck_manager.speeds(bpm, core.base_bpm)]
        return MIN_BPM <= bpm <= MAX_BPM and all(MIN_RATE <= one <= MAX_RATE for one in speeds)

    def _session_bpm(self, bpm: float) -> float:
        return min(MAX_SESSION_BPM, max(MIN_SESSION_BPM, bpm * 2.0**self.octave))

    def _choose_octave(self) -> None:
        if self._timeline is None or self.mode == "leader" or not self.peers:
            return
        octave = octave_of(
            self._timeline.bpm,
            lambda bpm: all(map(self._playable, (bpm * (1 + share) for share in CORRECTIONS))),
        )
        if octave is None:
            if not self._unplayable:
                self._end_correction()
                self._locked = self._arrived = False
                self._unplayable = True
                self._fault(
                    f"the tracks that play can't follow the session to {self._timeline.bpm:g} BPM "
                    "in any octave, the clock runs on"
                )
            return
        self._unplayable = False
        if octave != self.octave:
            self.octave = octave
            log.debug(
                "Link: the session's %g BPM are played as %g BPM", self._timeline.bpm,
                self._timeline.bpm * 2.0**-octave,
            )

    def _follow(self, timeline: Timeline, now: float) -> None:
        core, beats = self._core, self._core.beat_clock
        frame = core.clock.now() + int(core.desk.header["block_frames"])
        heard = self._audible_at(frame)
        if heard is None or beats.full(core.desk.frame):
            return
        factor = 2.0**-self.octave
        self._target = target = timeline.bpm * factor
        modulus = self._quantum() * min(1.0, factor)  # bars begin together, in either octave
        error = shortest(factor * timeline.beat_at(heard) - beats.beat(frame), modulus)
        self.deviation = seconds = error * 60.0 / target
        current = beats.bpm_at(frame)
        if abs(current - target) <= SAME_BPM * target:
            self._arrived = True
        if abs(seconds) < LOCK_SECONDS and self._arrived:
            self._locked = True
        elif abs(seconds) > UNLOCK_SECONDS:
            self._locked = False
        idle = not core.deck_manager.speeds(target, core.base_bpm)
        if idle and abs(seconds) > JUMP_SECONDS:
            # Nothing is audible that could jump. Forwards: a command at a beat must not recur.
            updates = beats.jump(error % modulus, frame, core.desk.frame)
            core.publish_clock(updates)
            self._change_tempo(target, frame, TEMPO_SECONDS)
            self._step_at = now + STEP_SECONDS
            return
        if abs(seconds) > START_SECONDS:
            self._correcting = True
        elif abs(seconds) < END_SECONDS:
            self._correcting = False
        limit = MAX_CORRECTION
        if self._arrived and now < self._catch_up_until:
            limit = max(limit, self._catch_up)
        share = max(-limit, min(limit, seconds / CORRECTION_SECONDS))
        if not self._arrived and not idle:
            share = 0.0  # the tempo first: on the way there, the phase runs away
        wanted = target * (1.0 + share) if self._correcting else target
        if not self._playable(wanted):
            wanted = target
        ramp = TEMPO_SECONDS if now < self._catch_up_until else STEP_SECONDS
        if not self._arrived and not idle:
            slew = MAX_SLEW * min(now - self._stepped, STEP_SECONDS)
            wanted = max(current * (1.0 - slew), min(current * (1.0 + slew), wanted))
        if max(abs(current - wanted), abs(beats.bpm - wanted)) > SAME_BPM * wanted:
            self._change_tempo(wanted, frame, ramp)
        if self._correcting or not self._locked:
            self._step_at = now + STEP_SECONDS

    def _end_correction(self) -> None:
        # The clock stops to follow: it runs on at the session's tempo, not at a corrected one.
        core = self._core
        if self._correcting and self._arrived and not core.beat_clock.full(core.desk.frame):
            frame = core.clock.now() + int(core.desk.header["block_frames"])
            self._change_tempo(self._target, frame, STEP_SECONDS)
        self._correcting = False

    def _change_tempo(self, bpm: float, frame: int, seconds: float) -> None:
        core = self._core
        frames = round(seconds * core.desk.sample_rate)
        core.publish_clock(
            core.beat_clock.set_tempo(bpm, frame, core.desk.frame, frames=frames)
        )
        self._own_change = False

    def _lead(self, timeline: Timeline, now: float) -> None:
        beats = self._core.beat_clock
        frame = self._audible_frame(now)
        bpm = beats.bpm_at(frame)
        factor = 2.0**self.octave
        beat, session_bpm = beats.beat(frame) * factor, self._session_bpm(bpm)
        ahead = shortest(timeline.beat_at(now) - beat, self._quantum())
        self.deviation = ahead * 60.0 / session_bpm
        same = abs(timeline.bpm - session_bpm) <= LEAD_BPM * session_bpm
        foreign = not same or abs(self.deviation) > FOREIGN_SECONDS
        ramps = bpm != beats.bpm
        own = self._own_change or ramps
        self._send_transport(now)
        if same and abs(self.deviation) <= LEAD_SECONDS:
            self._own_change = ramps
            self._hold_until = 0.0
            if now - self._overridden_at > CONTEST_SECONDS:
                self._contested = False
            return
        self._step_at = now + STEP_SECONDS
        if foreign and not own and not self._may_override(now):
            return
        self._hold_until = 0.0
        self._own_change = ramps
        self._send("timeline", at=now, beat=beat, bpm=session_bpm)

    def _may_override(self, now: float) -> bool:
        if not self.peers:
            # The session is being joined with another one, whose peers are not counted yet.
            self._hold_until = self._hold_until or now + MERGE_SECONDS
            return now >= self._hold_until
        # Another peer has changed the tempo. Two leaders must not change it ten times a second.
        if now < self._override_at:
            return False
        delay = self._overrides.next_delay(now - self._overridden_at)
        self._override_at, self._overridden_at = now + delay, now
        contested = delay >= 4.0
        if contested and not self._contested:
            self._fault("another peer keeps changing the tempo, which this server leads")
        self._contested = contested
        return True

    # Start and stop ------------------------------------------------------------------------

    def _send_transport(self, now: float) -> None:
        if not self.start_stop:
            return
        on = any(track.on_deck for track in self._core.voice_allocator.sounding())
        if on != self._sent_playing:
            if self._sent_playing is not None or on:
                self._send("play", on=on, at=now)
            self._sent_playing = on

    def _transport(self, on: bool, play_at: float) -> None:
        core = self._core
        now = core.clock.now() + int(core.desk.header["block_frames"])
        latest = now + round(MAX_START_SECONDS * core.desk.sample_rate)
        frame = min(max(now, round(self._audible_frame(play_at))), latest)
        bar = self._quantum() * 2.0**-self.octave
        beat = math.ceil((core.beat_clock.beat(frame) - NEAR_BAR) / bar) * bar
        for letter in self.decks:
            if not on:  # the start before may wait for its bar
                core.scheduler.withdraw(f"/deck/{letter}/play")
            try:
                tracks = core.track_table.deck_tracks(DECK_LETTERS.index(letter))
            except NotLoaded:
                continue
            plays = any(track.sounding or track.pending_starts for track in tracks)
            if not on:
                core.perform([(f"/deck/{letter}/stop", (), discard_reply, None)], frame)
            elif not plays:
                try:
                    core.scheduler.schedule_at_beat(
                        beat, (f"/deck/{letter}/play", (), discard_reply, None)
                    )
                except CommandError as error:
                    self._fault(f"the session's start does not start deck {letter}: {error}")

    # Reports -----------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What Link does; see `STATES`."""
        if not self.enabled:
            return "off"
        if self._timeline is None:
            return "failed" if self.reason or self._absurd else "joining"
        if not self.peers:
            return "alone"
        if self.mode == "leader":
            return "contested" if self._contested else "leading"
        if self._unplayable:
            return "unplayable"
        return "locked" if self._locked else "approaching"

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        return {
            "link.state": self.state,
            "link.mode": self.mode,
            "link.peers": self.peers,
            "link.bpm": self.session_bpm,
            "link.deviation_ms": 1000.0 * self.deviation,
            "link.playing": int(self.playing),
            "link.faults": self.faults,
        }

    def value(self) -> dict[str, Any]:
        """Return the value for the state view."""
        return {
            "enabled": int(self.enabled),
            "mode": self.mode,
            "state": self.state,
            "reason": self.reason,
            "peers": self.peers,
            "bpm": round(self.session_bpm, 2),
            "start_stop": int(self.start_stop),
            "decks": self.decks,
            "playing": int(self.playing),
            "offset": round(self.offset, 6),
        }

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> list[Any]:
        """Return the settings and what a successor needs to follow on; see `restore`."""
        return [
            self.enabled, self.mode, self.start_stop, self.decks, self.peers, self.playing,
            self.octave, self._arrived, self.offset,
        ]

    def restore(self, state: list[Any] | None) -> None:
        """Restore the state from `to_state`; None: an earlier version has saved none."""
        if state is not None:
            (
                self.enabled, self.mode, self.start_stop, self.decks, self.peers, self.playing,
                self.octave, self._arrived, self.offset,
            ) = state


STATES = (
    "off", "joining", "failed", "alone", "approaching", "locked", "leading", "contested",
    "unplayable",
)
"""States: off; joining (the process starts); failed (no library, no process, or an unusable tempo);
alone (no other peers); approaching (on the way to the session's tempo and phase); locked (in phase
with it); leading; contested (another peer changes the tempo as well); unplayable (no octave of the
session's tempo can be played)."""


def start_link(fork_server: ForkServer, desk: Desk, link: LinkSync) -> Child:
    """Start the Link process, at the clock's timeline. Raises `ChildError`."""
    return Child(fork_server, LINK_MODULE, json.dumps(link.own_timeline()), desk.fd, NAME)


def link_process(
    link: LinkSync,
    start: Callable[[], Process],
    monotonic: Callable[[], float] = time.monotonic,
) -> SupervisedProcess:
    """Return the supervised Link process; it runs while `link` is enabled."""
    made = SupervisedProcess(
        NAME, start, link.handle, link.lost, link.started, link.enabled, monotonic
    )
    link.attach(made)
    return made
