"""The mixer as control knows it: starts that wait, gains and rates, jumps, syncs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

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

RAMP_SECONDS = 0.02  # of levels, gains, rates: forty changes a second join without a step
MIN_RAMP_SECONDS = 0.004  # also where 0 was asked for: a step in a level is a click
START_PATIENCE = 5.0  # seconds that a start waits for its files, counted from when it is due


class DeckManager:
    """Carries out what commands ask for. All methods are called from the control thread.

    What is to start or jump waits here until its files are in memory: `buffers` says which
    tracks there are, `voices` which of them play. `tick` looks after everything that waits, in
    all three. Nothing is published to the engine before the outbox is flushed.
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
        buffers.observer = self

    # Starting and stopping ---------------------------------------------------------------

    def start(self, items: list[Item], frame: int) -> None:
        """Start tracks together at `frame` (0: at once), as soon as all of them are there.

        At the frame of a command at a beat, they start at that beat.
        """
        if self._joined is not None:
            self._joined.append((items, frame))
            return
        for item in items:
            if frame == 0:
                self._replace_waiting(item.track)
            self._ask_for(item)
        ahead = max(0, frame - self._desk.frame) / self._desk.sample_rate
        request = items[0].request
        beat = request.beat if frame == request.frame else None
        start = Start(items, frame, self._monotonic() + ahead + START_PATIENCE, beat)
        self._starts.append(start)
        self._try_start(start)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all tracks that are started within begin on one frame, once all are there."""
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
        # Of two starts at once that wait for the same file, the later one is meant.
        for start in self._starts:
            if start.frame == 0:
                start.items = [item for item in start.items if item.track is not track]

    def _ask_for(self, item: Item) -> None:
        if item.track.state != "loading":
            self._buffers.fetch(item.track, item.start_frame())

    def opened(self, track: Track) -> None:
        """Have the loader bring in what is to start elsewhere than at the cue."""
        for item in self._waiting_items(track):
            if item.start_frame() != track.cue_frame:
                self._ask_for(item)

    def stop(self, track: Track, request: Request) -> None:
        """Stop a track and what is still to start of it."""
        self.leaves(track, "")
        self._voices.stop(track, request.frame, request)

    def stop_all(self, request: Request) -> None:
        """Stop every voice and the test tone."""
        self._outbox.add(OP_STOP_ALL, request, frame=request.frame)

    def leaves(self, track: Track, reason: str) -> None:
        """Forget starts and jumps of a track that wait; tell their senders the reason, if any."""
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

    def waiting_tracks(self, deck: int) -> list[Track]:
        """Tracks of a deck that are loaded, or being loaded, and do not play."""
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
        wanting = {item.track for item in start.items if item.track.voice is None}
        if len(wanting) > self._voices.free_voices():
            for item in start.items:
                item.request.fail(f"{VOICES} voices sound already: stop some")
            return
        for item in start.items:
            self._issue(item, Due(start.frame, start.beat))

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
        track.coming[serial] = due
        track.mix.send_rows(self._outbox, item.request, voice, *due)
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
        """Tell the engine, for then, whether and how a track is synced."""
        self._outbox.add(
            OP_SYNC, request, frame=due.frame, beat=due.beat, target=track.voice or 0,
            index=int(track.ratio > 0.0), x=track.ratio or 1.0, y=track.quantum,
        )

    # Changing what plays -----------------------------------------------------------------

    def seek(self, track: Track, position: int, request: Request) -> None:
        """Jump to a file frame as soon as it is in memory; move the cue of what does not play."""
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
        """Give the track's voice an order as soon as `position`, where it leads, is in memory.

        `order`: fields of `Outbox.add`.
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
            jump.request.fail(track.reason or f"that place of {track.name} was not loaded in time")
            return
        self._jumps.remove(jump)
        if track.voice is None:
            return
        # A start that the engine already holds begins at the new place as well.
        request = jump.request
        later = self._voices.later_starts(track, request.frame)
        for due in (Due(request.frame, request.beat), *later):
            self._outbox.add(
                request=request, target=track.voice, frame=due.frame, beat=due.beat, **jump.order
            )

    def set_gain(self, track: Track, gain: float, request: Request) -> None:
        """Linear gain of a track, ramped while it plays and kept for its next start."""
        track.gain = gain
        for item in self._waiting_items(track):
            item.volume = gain
        self.ramp_voice(request, track, VOICE_GAIN, gain)

    def set_rate(self, track: Track, rate: float, request: Request) -> None:
        """Playback rate of a track, ramped while it plays and kept for its next start."""
        track.rate = rate
        for item in self._waiting_items(track):
            item.rate = rate
        self.ramp_voice(request, track, VOICE_RATE, rate)

    def speeds(self, bpm: float, base_bpm: float) -> list[tuple[str, float, float]]:
        """Names, rates and speeds at a tempo, of the tracks that play or are to start."""
        playing = [(t, t.rate) for t in self._voices.tracks() if t.sounding or t.coming]
        waiting = [(item.track, item.rate) for start in self._starts for item in start.items]
        return [
            (track.name, rate, bpm * track.speed_per_bpm(rate, base_bpm))
            for track, rate in playing + waiting
        ]

    def playing(self, deck: int) -> Track:
        """The track of a deck that plays, else its latest; raises `NotLoaded`."""
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
        """Linear gain of one stem of a track (0 is the first), after a ramp of so many seconds."""
        before = track.mix.gains
        track.mix.own_gains[stem] = gain
        self.change_gains(track, before, request, seconds)

    def set_stem_row(
        self, track: Track, row: int, value: float, request: Request, seconds: float
    ) -> None:
        """Send a parameter of a stem to `value`, and keep it for the track's next start.

        `row`: of the voice, `layout.VOICE_...`.
        """
        track.mix.rows[row] = value
        self.ramp_voice(request, track, row, value, seconds)

    def change_gains(
        self, track: Track, before: list[float], request: Request, seconds: float = RAMP_SECONDS
    ) -> None:
        """Send those gains that are not what they were `before` something was changed."""
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
        """Send a parameter of a track's voice, `layout.VOICE_...`, to `target`, if it has one."""
        if track.voice is None:
            return
        row = voice_ramp(track.voice, which)
        self.ramp(request, row, target, seconds)
        # A start that the engine already holds brings its own value with it; this one comes
        # after it on the same frame.
        for due in self._voices.later_starts(track, request.frame):
            self._outbox.add(
                OP_RAMP, request, index=row, x=target, y=0.0, frame=due.frame, beat=due.beat
            )

    def retime(self) -> None:
        """The clock runs otherwise from now on: what is to start at a beat starts elsewhere."""
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
        """Send a ramped parameter to `target`, in `seconds`, from `frame` on.

        `frame`: the context's unless given; 0 is at once. Shorter than `MIN_RAMP_SECONDS`
        is taken as that.
        """
        self._targets[row] = target
        frames = max(1, round(max(seconds, MIN_RAMP_SECONDS) * self._desk.sample_rate))
        self._outbox.add(
            OP_RAMP, request, index=row, x=target, y=frames,
            frame=request.frame if frame is None else frame,
        )

    def target(self, row: int) -> float:
        """Where a ramped parameter was last sent to; where it stands if it never was."""
        return self._targets.get(row, float(self._desk.ramps["target"][row]))

    def waiting(self) -> bool:
        """Whether a track is on its way in, or a start or jump waits for one."""
        loading = any(not track.settled for track in self._buffers.tracks())
        return loading or bool(self._starts or self._jumps)

    # Looking after what waits --------------------------------------------------------------

    def sync(self, request: Request, number: int) -> None:
        """Answer `/synced number` when everything said before is done."""
        waiting = [track for track in self._buffers.tracks() if not track.settled]
        waiting += self._buffers.leaving()
        self._syncs.append((waiting, list(self._starts), request, number))

    def tick(self) -> None:
        """Look after starts and jumps that wait, tracks that are leaving, and syncs."""
        for start in list(self._starts):
            self._try_start(start)
        for jump in list(self._jumps):
            self._try_jump(jump)
        self._buffers.see_off()
        for entry in list(self._syncs):
            tracks, starts, request, number = entry
            loading = any(self._buffers.has(t) and self._unfinished(t) for t in tracks)
            if not loading and not any(start in self._starts for start in starts):
                self._syncs.remove(entry)
                note = ["synced", request.to_state(), number]
                self._voices.mark(partial(request.reply, "/synced", number), note=note)
        self._voices.reconcile()
        self._outbox.flush()

    def _unfinished(self, track: Track) -> bool:
        # Not loaded yet, or silenced and not freed yet.
        return not track.settled or not self._buffers.wanted(track)

    # Noted -------------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """As JSON holds it; see `restore`."""
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
        note: dict[str, Any],
        tracks: Mapping[int, Track],
        held: np.ndarray,
        request: Callable[[list[Any]], Request],
    ) -> None:
        """Know what was noted, with `tracks` by their numbers.

        `held`: orders that the engine has; `context` makes a command from its note.
        """
        self._starts += [Start.from_state(one, tracks, request) for one in note["starts"]]
        self._jumps += [Jump.from_state(one, tracks, request) for one in note["jumps"]]
        for numbers, places, one, number in note["syncs"]:
            waited = [tracks[track] for track in numbers if track in tracks]
            starts = [self._starts[place] for place in places]
            self._syncs.append((waited, starts, request(one), number))
        ramps = held[(held["op"] == OP_RAMP) & (held["index"] < RAMP_EFFECT)]
        for order in ramps[np.argsort(ramps["serial"])]:
            self._targets[int(order["index"])] = float(order["x"])
