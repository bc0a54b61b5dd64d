"""The deck manager: starts, stops, jumps, gains, rates and ramps of tracks and the mixer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np

from crowdstream.control.clock.clock import BeatClock
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.track import Due, Item, Jump, Start, Track, resident
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import VOICES
from crowdstream.desk.opcodes import OP_RAMP, OP_SEEK, OP_SPIN, OP_START, OP_STOP_ALL, OP_SYNC
from crowdstream.desk.ramps import (
    RAMP_EFFECT,
    VOICE_GAIN,
    VOICE_RATE,
    VOICE_SPIN,
    VOICE_STEM,
    voice_ramp,
)

RAMP_SECONDS = 0.02  # of levels, gains and rates: forty changes a second join without a step
MIN_RAMP_SECONDS = 0.004  # also for a requested 0: a step in a level is audible as a click
START_PATIENCE = 5.0  # seconds that a start waits for its files after it is due


class StartGate(Protocol):
    """Decides on starts, for rooms in step: see `control/rooms/`."""

    def admits(self, start: Start) -> bool:
        """Whether a start that was requested may take place."""

    def restamp(self, start: Start) -> bool:
        """Its files are in memory: whether it still takes place. May change its frame."""

    def issued(self, start: Start) -> None:
        """It is with the engine."""


class DeckManager:
    """Starts, stops and changes tracks and mixer parameters. For the control thread.

    Starts and jumps wait here until their files are in memory. `buffers` is the table of tracks,
    `voices` assigns voices to them. `tick` does the periodic work of all three. Nothing reaches
    the engine before the engine queue is flushed.
    """

    def __init__(
        self,
        desk: Desk,
        outbox: EngineQueue,
        beats: BeatClock,
        buffers: TrackTable,
        voices: VoiceAllocator,
        pitches: PitchSettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._outbox = outbox
        self._beats = beats
        self._buffers = buffers
        self._voices = voices
        self._pitches = pitches
        self._monotonic = monotonic
        self._starts: list[Start] = []
        self._joined: list[tuple[list[Item], int]] | None = None
        self._jumps: list[Jump] = []
        self._targets: dict[int, float] = {}
        self._syncs: list[tuple[list[Track], list[Start], Request, int]] = []
        self.gate: StartGate | None = None
        self.on_ramp: Callable[[int], None] = lambda _row: None
        """Called with the row of each ramp before it is queued."""
        buffers.observer = self

    # Starting and stopping ---------------------------------------------------------------

    def start(self, items: list[Item], frame: int) -> None:
        """Start tracks together at `frame` (0: immediately), as soon as all are in memory.

        If `frame` is that of a request at a beat, they start at that beat.
        """
        if self._joined is not None:
            self._joined.append((items, frame))
            return
        ahead = max(0, frame - self._desk.frame) / self._desk.sample_rate
        request = items[0].request
        beat = request.beat if frame == request.frame else None
        start = Start(items, frame, self._monotonic() + ahead + START_PATIENCE, beat)
        if self.gate is not None and not self.gate.admits(start):
            return
        for item in items:
            if frame == 0:
                self._replace_waiting(item.track)
            self._fetch(item)
        self._starts.append(start)
        self._try_start(start)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all tracks that are started in this context begin on one frame."""
        self._joined = []
        try:
            yield
        finally:
            joined, self._joined = self._joined, None
            by_frame: dict[int, dict[Track, Item]] = {}
            for items, frame in joined:
                by_frame.setdefault(frame, {}).update((item.track, item) for item in items)
            for frame, chosen in by_frame.items():
                self.start(list(chosen.values()), frame)

    def _replace_waiting(self, track: Track) -> None:
        # A second immediate start replaces one that still waits for the same file.
        for start in self._starts:
            if start.frame == 0:
                start.items = [item for item in start.items if item.track is not track]

    def _fetch(self, item: Item) -> None:
        if item.track.state != "loading":
            self._buffers.fetch(item.track, item.start_frame())

    def on_opened(self, track: Track) -> None:
        """After a track was opened, load the positions of waiting starts other than the cue."""
        for item in self._waiting_items(track):
            if item.start_frame() != track.cue_frame:
                self._fetch(item)

    def stop(self, track: Track, request: Request) -> None:
        """Stop a track, and cancel its waiting starts."""
        self.on_unload(track, "")
        self._voices.stop(track, request.frame, request)

    def stop_all(self, request: Request) -> None:
        """Stop every voice and the test tone."""
        self._outbox.add(OP_STOP_ALL, request, frame=request.frame)

    def on_unload(self, track: Track, reason: str) -> None:
        """Cancel waiting starts and jumps of a track; send their senders the reason, if any."""
        for start in self._starts:
            for item in [item for item in start.items if item.track is track]:
                start.items.remove(item)
                if reason:
                    item.request.fail(reason)
        for jump in [jump for jump in self._jumps if jump.track is track]:
            self._jumps.remove(jump)
            if reason:
                jump.request.fail(reason)

    def _waiting_items(self, track: Track) -> list[Item]:
        return [item for start in self._starts for item in start.items if item.track is track]

    def is_waiting(self, track: Track) -> bool:
        """Return whether a start of the track waits for its file."""
        return bool(self._waiting_items(track))

    def waiting_tracks(self, deck: int) -> list[Track]:
        """Return the deck's tracks that are loaded or being loaded and do not play."""
        tracks = [self._buffers.find(buffer) for buffer in self._buffers.loaded_buffers()]
        return [track for track in tracks if track.deck == deck and not track.sounding]

    def _try_start(self, start: Start) -> None:
        missing = []
        for item in list(start.items):
            if resident(self._desk, item.track, item.start_frame()):
                continue
            if item.track.state in ("failed", "broken", "gone"):
                start.items.remove(item)
                item.request.fail(item.track.reason or f"{item.track.name} was unloaded")
            else:
                missing.append(item)
        if missing and self._monotonic() < start.deadline:
            return
        for item in missing:
            start.items.remove(item)
            item.request.fail(f"{item.track.name} was not loaded within {START_PATIENCE:g} s")
        self._starts.remove(start)
        without_voice = {item.track for item in start.items if item.track.voice is None}
        if len(without_voice) > self._voices.free_voices():
            for item in start.items:
                item.request.fail(f"all {VOICES} voices are playing already: stop some tracks")
            return
        if self.gate is not None and not self.gate.restamp(start):
            return
        for item in start.items:
            self._issue(item, Due(start.frame, start.beat))
        if self.gate is not None:
            self.gate.issued(start)

    def _issue(self, item: Item, due: Due) -> None:
        track = item.track
        self._buffers.promote(track)
        voice = self._voices.hold(track)
        first = item.start_frame()
        end, loop_in = track.frames, 0
        if item.seconds is not None:
            loop_in = first
            end = min(end, first + max(1, round(item.seconds * self._desk.sample_rate)))
        track.gain, track.rate = item.volume, item.rate
        serial = self._outbox.add(
            OP_START,
            item.request,
            frame=due.frame,
            beat=due.beat,
            grid=track.grid_slot,
            target=voice,
            index=len(track.sources),
            flags=track.deck << 1 | int(item.loop),
            x=item.rate,
            y=item.volume,
            start=first,
            loop_in=loop_in,
            loop_out=end,
            end=end,
            sources=track.sources,
            gains=track.mix.gains,
        )
        track.pending_starts[serial] = due
        track.mix.send_rows(self._outbox, item.request, voice, *due)
        if track.on_deck:
            self._pitches.at_start(item.request, track, due)
        track.looped, track.loop_begun = item.loop, False
        if item.spin_up:
            self._outbox.add(
                OP_RAMP, item.request, frame=due.frame, beat=due.beat, x=0.0, y=0.0,
                index=voice_ramp(voice, VOICE_SPIN),
            )
            self._outbox.add(
                OP_SPIN, item.request, frame=due.frame, beat=due.beat, target=voice, x=1.0,
                y=round(item.spin_up * self._desk.sample_rate),
            )
        if track.ratio:
            self.send_sync(item.request, track, due)

    def send_sync(self, request: Request, track: Track, due: Due) -> None:
        """Queue a track's sync settings for its voice, for the time `due`."""
        self._outbox.add(
            OP_SYNC, request, frame=due.frame, beat=due.beat, target=track.voice or 0,
            index=int(track.ratio > 0.0), x=track.ratio or 1.0, y=track.quantum,
        )

    # Changing playing tracks -------------------------------------------------------------

    def seek(self, track: Track, position: int, request: Request) -> None:
        """Jump to a file frame as soon as it is in memory; of a stopped track, move the cue."""
        if track.voice is None:
            track.cue_frame = position
            self._buffers.fetch(track, position)
            return
        self.jump(track, position, request, {"op": OP_SEEK, "start": position})

    def jump(
        self,
        track: Track,
        position: int,
        request: Request,
        order: dict[str, Any],
    ) -> None:
        """Send the track's voice a command as soon as `position`, its destination, is in memory.

        `order`: arguments of `EngineQueue.add`. A later jump replaces one that still waits.
        """
        self._buffers.fetch(track, position)
        self._jumps = [jump for jump in self._jumps if jump.track is not track]
        ahead = max(0, request.frame - self._desk.frame) / self._desk.sample_rate
        deadline = self._monotonic() + ahead + START_PATIENCE
        jump = Jump(track, position, request, deadline, order)
        self._jumps.append(jump)
        self._try_jump(jump)

    def _try_jump(self, jump: Jump) -> None:
        track = jump.track
        if not resident(self._desk, track, jump.position):
            if self._monotonic() < jump.deadline and track.state != "broken":
                return
            self._jumps.remove(jump)
            jump.request.fail(
                track.reason or f"this position of {track.name} was not loaded in time"
            )
            return
        self._jumps.remove(jump)
        if track.voice is None:
            return
        # Starts that are with the engine already begin at the new position as well.
        request = jump.request
        later = self._voices.later_starts(track, request.frame)
        for due in (Due(request.frame, request.beat), *later):
            self._outbox.add(
                request=request, target=track.voice, frame=due.frame, beat=due.beat, **jump.order
            )

    def set_gain(self, track: Track, gain: float, request: Request) -> None:
        """Set a track's linear gain, for playback (with a ramp) and for its next start."""
        track.gain = gain
        for item in self._waiting_items(track):
            item.volume = gain
        self.ramp_voice(request, track, VOICE_GAIN, gain)

    def set_rate(self, track: Track, rate: float, request: Request) -> None:
        """Set a track's playback rate, for playback (with a ramp) and for its next start."""
        track.rate = rate
        for item in self._waiting_items(track):
            item.rate = rate
        self.ramp_voice(request, track, VOICE_RATE, rate)

    def speeds(self, bpm: float, base_bpm: float) -> list[tuple[str, float, float]]:
        """Return name, rate and speed at a tempo of each track that plays or is about to."""
        playing = [(t, t.rate) for t in self._voices.tracks() if t.sounding or t.pending_starts]
        waiting = [(item.track, item.rate) for start in self._starts for item in start.items]
        return [
            (track.name, rate, bpm * track.speed_per_bpm(rate, base_bpm))
            for track, rate in playing + waiting
            if track.on_deck
        ]

    def playing(self, deck: int) -> Track:
        """Return the deck's playing track, or else its latest; raise `NotLoaded`."""
        tracks = self._buffers.deck_tracks(deck)
        return next((track for track in tracks if track.sounding), tracks[-1])

    def set_stem_gain(
        self,
        track: Track,
        stem: int,
        gain: float,
        request: Request,
        seconds: float = RAMP_SECONDS,
    ) -> None:
        """Ramp the linear gain of one stem of a track; stems are counted from 0."""
        before = track.mix.gains
        track.mix.own_gains[stem] = gain
        self.change_gains(track, before, request, seconds)

    def set_stem_row(
        self, track: Track, row: int, value: float, request: Request, seconds: float
    ) -> None:
        """Ramp a parameter of a stem to `value`, and keep it for the track's next start.

        `row`: ramp row of the voice, `ramps.VOICE_...`.
        """
        track.mix.rows[row] = value
        self.ramp_voice(request, track, row, value, seconds)

    def change_gains(
        self, track: Track, before: list[float], request: Request, seconds: float = RAMP_SECONDS
    ) -> None:
        """Ramp the stem gains that differ from those `before` a change."""
        for number, gain in enumerate(track.mix.gains):
            if gain != before[number]:
                self.ramp_voice(request, track, VOICE_STEM + number, gain, seconds)

    def ramp_voice(
        self,
        request: Request,
        track: Track,
        which: int,
        target: float,
        seconds: float = RAMP_SECONDS,
    ) -> None:
        """Ramp a parameter of a track's voice (`ramps.VOICE_...`) to `target`, if it has one."""
        if track.voice is None:
            return
        row = voice_ramp(track.voice, which)
        self.ramp(request, row, target, seconds)
        # A start that is with the engine already carries its own value; this one follows it on the
        # same frame.
        for due in self._voices.later_starts(track, request.frame):
            self._outbox.add(
                OP_RAMP, request, index=row, x=target, y=0.0, frame=due.frame, beat=due.beat
            )

    def retime(self) -> None:
        """After a change of the clock, update the expected frames of starts at a beat."""
        frame_of = partial(self._beats.frame_of_command, after=self._desk.frame)
        self._voices.retime(frame_of)
        for start in self._starts:
            if start.beat is not None:
                start.frame = frame_of(start.beat)

    def ramp(
        self,
        request: Request,
        row: int,
        target: float,
        seconds: float = RAMP_SECONDS,
        frame: int | None = None,
    ) -> None:
        """Ramp a parameter linearly to `target` over `seconds`, from `frame` on.

        `frame` defaults to the request's; 0 is immediately. The ramp lasts at least
        `MIN_RAMP_SECONDS`.
        """
        self.on_ramp(row)
        self._targets[row] = target
        frames = max(1, round(max(seconds, MIN_RAMP_SECONDS) * self._desk.sample_rate))
        self._outbox.add(
            OP_RAMP, request, index=row, x=target, y=frames,
            frame=request.frame if frame is None else frame,
        )

    def target(self, row: int) -> float:
        """Return the latest target of a ramped parameter, or else its value in the desk."""
        return self._targets.get(row, float(self._desk.ramps["target"][row]))

    def waiting(self) -> bool:
        """Whether a track is being loaded, or a start or jump waits for one."""
        loading = any(not track.settled for track in self._buffers.tracks())
        return loading or bool(self._starts or self._jumps)

    # Periodic work -------------------------------------------------------------------------

    def sync(self, request: Request, number: int) -> None:
        """Reply `/synced number` once all commands sent before have been carried out."""
        waiting = [track for track in self._buffers.tracks() if not track.settled]
        waiting += self._buffers.leaving()
        self._syncs.append((waiting, list(self._starts), request, number))

    @property
    def busy(self) -> bool:
        """Whether `tick` may have work at any time: starts, jumps, syncs or unloads wait."""
        return bool(self._starts or self._jumps or self._syncs or self._buffers.waiting)

    def tick(self) -> None:
        """Retry waiting starts and jumps, unload tracks that are silent, and reply to syncs."""
        for start in list(self._starts):
            self._try_start(start)
        for jump in list(self._jumps):
            self._try_jump(jump)
        self._buffers.unload_silent()
        for entry in list(self._syncs):
            tracks, starts, request, number = entry
            loading = any(self._buffers.has(t) and self._unfinished(t) for t in tracks)
            if not loading and not any(start in self._starts for start in starts):
                self._syncs.remove(entry)
                state = ["synced", request.to_state(), number]
                self._voices.mark(partial(request.reply, "/synced", number), state=state)
        self._voices.reconcile()
        self._outbox.flush()

    def _unfinished(self, track: Track) -> bool:
        # Not loaded yet, or silenced and not freed yet.
        return not track.settled or not self._buffers.wanted(track)

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return waiting starts, jumps and syncs as JSON-compatible state; see `restore`."""
        return {
            "starts": [start.to_state() for start in self._starts],
            "jumps": [jump.to_state() for jump in self._jumps],
            "syncs": [
                [
                    [track.number for track in tracks],
                    [self._starts.index(start) for start in starts if start in self._starts],
                    request.to_state(),
                    number,
                ]
                for tracks, starts, request, number in self._syncs
            ],
        }

    def restore(
        self,
        state: dict[str, Any],
        tracks: Mapping[int, Track],
        held: np.ndarray,
        request: Callable[[list[Any]], Request],
    ) -> None:
        """Restore the state of an earlier control; `tracks` are by number.

        `held`: commands that the engine has and has not carried out. `request` restores a request
        from its state.
        """
        self._starts += [Start.from_state(one, tracks, request) for one in state["starts"]]
        self._jumps += [Jump.from_state(one, tracks, request) for one in state["jumps"]]
        for numbers, places, one, number in state["syncs"]:
            waited = [tracks[track] for track in numbers if track in tracks]
            starts = [self._starts[place] for place in places]
            self._syncs.append((waited, starts, request(one), number))
        ramps = held[(held["op"] == OP_RAMP) & (held["index"] < RAMP_EFFECT)]
        for order in ramps[np.argsort(ramps["serial"])]:
            self._targets[int(order["index"])] = float(order["x"])
